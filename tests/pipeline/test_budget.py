"""One budget for all trainings of a method."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resdex_tasks.utils.errors import UserError
from runners.pipeline.budget import Budget, Lot, with_share

LOTS = st.lists(st.builds(Lot, st.sampled_from("abc"), st.integers(1, 5), st.integers(1, 50), st.integers(1, 40)),
                min_size=1, max_size=5)  # fmt: skip


@given(LOTS, st.integers(0, 100_000))
def test_the_budget_is_kept_within_one_iteration(lots, total):
    try:
        budget = Budget(total, lots)
    except UserError:
        return
    for lot in lots:
        shares = budget.open(lot.section)
        assert len(shares) == lot.count and min(shares) >= 1 and max(shares) - min(shares) <= 1
        for share in shares:
            budget.spend(share * lot.per_iteration)
    assert total - lots[-1].per_iteration < budget.spent <= total


def test_it_is_split_by_the_configured_lengths():
    """1:3 of 400 steps, in iterations of 10 and 20."""
    budget = Budget(400, [Lot("base", 2, 10, 5), Lot("stage1", 1, 20, 15)])
    assert budget.open("base") == [5, 5]
    budget.spend(100)
    assert budget.open("stage1") == [15]


def test_what_a_training_leaves_is_for_those_after_it():
    budget = Budget(300, [Lot("a", 1, 10, 10), Lot("b", 1, 10, 10), Lot("c", 1, 10, 10)])
    assert budget.open("a") == [10]
    budget.spend(40)  # it ended early
    assert budget.open("b") == [13]
    budget.spend(130)
    assert budget.open("c") == [13]
    skipping = Budget(300, [Lot("a", 1, 10, 10), Lot("b", 1, 10, 10), Lot("c", 1, 10, 10)])
    skipping.skip("a")
    assert skipping.open("b") == [15]


@given(st.floats(0.01, 0.9), st.integers(1, 3))
def test_a_share_for_one_section_whatever_the_lengths(share, count):
    lots = with_share([Lot("a", 1, 10, 30), Lot("b", 2, 5, 7), Lot("vision", count, 8, 3)], "vision", share)
    a, b, vision = (lot.steps for lot in lots)
    assert float(vision / (a + b + vision)) == pytest.approx(share, abs=1e-3)
    assert (a, b) == (300, 70)
    assert with_share(lots[:2], "vision", share) == lots[:2]


def test_a_budget_for_less_than_an_iteration_is_refused():
    with pytest.raises(UserError, match=r"leave the 4 training\(s\) of 'base' less than an iteration of 100 steps"):
        Budget(399, [Lot("base", 4, 100, 10)])


def test_trainings_come_in_the_order_of_the_plan():
    with pytest.raises(ValueError, match="those of a, not of b"):
        Budget(300, [Lot("a", 1, 10, 10), Lot("b", 1, 10, 10)]).open("b")
