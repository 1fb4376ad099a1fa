"""Which objects a curriculum admits, and in which order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resdex_tasks.utils.errors import UserError
from runners.pipeline.curriculum import geo_curriculum, object_curriculum

ROWS = [{"name": f"{c}{i}", "category": c} for i in range(3) for c in ("mug", "can", "pen", "box", "car")]


def category(name):
    return name[:3]


@given(st.integers(0, 2**32 - 1))
def test_one_object_then_its_category_then_several_then_all(seed):
    one, own, several, everything = object_curriculum(ROWS, 3, seed)
    assert len(one.names) == 1
    assert sorted(own.names) == sorted(r["name"] for r in ROWS if r["category"] == category(one.names[0]))
    categories = {category(name) for name in several.names}
    assert len(categories) == 3 and category(one.names[0]) in categories and len(several.names) == 9
    assert list(everything.names) == [row["name"] for row in ROWS]
    assert object_curriculum(ROWS, 3, seed) == [one, own, several, everything]


def test_the_draw_depends_on_the_seed():
    assert len({object_curriculum(ROWS, 3, seed)[0].names for seed in range(20)}) > 3


def test_stages_that_admit_nothing_new_are_left_out():
    assert [len(s.names) for s in object_curriculum(ROWS, 5, 0)] == [1, 3, 15]
    assert [len(s.names) for s in object_curriculum(ROWS[:1], 3, 0)] == [1]


def line(*places):
    """Objects whose codes lie on a line."""
    codes = np.zeros((len(places), 64))
    codes[:, 0] = places
    return [f"at{place}" for place in places], codes


def test_the_most_central_object_comes_first_then_those_of_the_sub_clusters():
    """The centre of all is 5. Two clusters, around 1 and 9.25; split in two each."""
    names, codes = line(0, 1, 2, 6, 9, 10, 12)
    one, few, everything = geo_curriculum(names, codes, [1, 2], 0)
    assert one.names == ("at6",)
    assert few.names == ("at6", "at9", "at1")
    assert everything.names == tuple(names)


@settings(max_examples=10)
@given(st.integers(0, 100), st.integers(8, 40))
def test_every_level_keeps_the_one_before(seed, count):
    random = np.random.default_rng(seed)
    names, codes = [f"o{i}" for i in range(count)], random.normal(size=(count, 64))
    stages = geo_curriculum(names, codes, [1, 3, 6], seed)
    assert [len(stages[0].names), stages[-1].names] == [1, tuple(names)]
    for before, after in zip(stages, stages[1:]):
        assert set(before.names) < set(after.names)
    assert all(len(stage.names) <= 1 + 3 + 6 for stage in stages[:-1])


def test_levels_as_large_as_the_set_are_left_out():
    names, codes = line(0, 1, 2, 6)
    assert [len(s.names) for s in geo_curriculum(names, codes, [1, 300, 900], 0)] == [1, 4]


def test_objects_of_one_shape_are_not_split():
    names, codes = [f"o{i}" for i in range(6)], np.zeros((6, 64))
    assert [len(s.names) for s in geo_curriculum(names, codes, [1, 4], 0)] == [1, 6]


def test_sizes_that_do_not_rise_are_refused():
    with pytest.raises(UserError, match=r"curriculum_sizes is \[1, 4, 4\]"):
        geo_curriculum(*line(0, 1, 2, 3, 4, 5), [1, 4, 4], 0)
