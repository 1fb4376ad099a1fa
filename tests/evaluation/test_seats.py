"""Environments that keep their objects, through all rounds of an evaluation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runners.evaluation.summary import seats


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(0, 30))
def test_every_object_has_its_episodes_and_every_round_the_same_objects(counts, room):
    index = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    seating = seats(index, len(counts), len(counts) + room)
    assert seating.shape[1] <= len(counts) + room
    assert (seating == seating[0]).all()
    assert (torch.bincount(seating.flatten(), minlength=len(counts)) >= torch.tensor(counts)).all()


def test_one_round_plays_exactly_what_is_asked_for():
    assert seats(torch.tensor([0, 1, 2, 0, 1, 0]), 3, 6).tolist() == [[0, 1, 2, 0, 1, 0]]


def test_more_objects_than_environments_are_refused():
    with pytest.raises(ValueError, match="cannot hold 3"):
        seats(torch.tensor([0, 1, 2]), 3, 2)
