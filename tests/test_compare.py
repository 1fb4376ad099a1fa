"""benchmarks/compare.py: its files, its budget, its intervals."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from resdex_tasks.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the checkout, installed or not

from benchmarks.compare import Comparison, Training, half_width, iterations  # noqa: E402

FILES = sorted((ROOT / "benchmarks" / "comparisons").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_variant_spends_the_budget_within_one_iteration(path):
    comparison = Comparison.read(path)
    for name, trainings in comparison.variants.items():
        assert sum(training.share for training in trainings) == 1, name
        for training in trainings:
            overrides = [*comparison.common, *training.overrides]
            batch = comparison.steps / iterations(comparison.steps, overrides)
            wanted = training.share * comparison.steps
            assert abs(iterations(wanted, overrides) * batch - wanted) <= batch


def test_jobs_count_their_iterations_at_the_same_time():
    comparison = Comparison.read(FILES[0])
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: iterations(500_000, (*comparison.common, "task=ResDexHyper")), range(4)))
    assert len(set(counts)) == 1


def test_a_variant_is_a_list_of_overrides_or_of_trainings(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        "steps: 1_000\ncommon: [follow_up=false]\ntest: []\nvariants:\n  a: []\n  b: [seed=3]\n"
        "  c: [{share: 0.25, task: ResDexHyper}, {share: 0.75, task: ResDexHyperStage2, overrides: [num_envs=8]}]\n"
    )
    comparison = Comparison.read(file)
    assert comparison.steps == 1000 and comparison.variants == {
        "a": (Training(1.0, ()),),
        "b": (Training(1.0, ("seed=3",)),),
        "c": (
            Training(0.25, ("task=ResDexHyper",)),
            Training(0.75, ("task=ResDexHyperStage2", "num_envs=8")),
        ),
    }


@pytest.mark.parametrize("text", ["", "[1]", "steps: 1", "steps: x\ncommon: []\ntest: []\nvariants: {a: []}", "a: ["])
def test_what_is_no_comparison_is_named(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=r"c\.yaml is no comparison"):
        Comparison.read(tmp_path / "c.yaml")
    with pytest.raises(UserError, match=r"no\.yaml is no comparison"):
        Comparison.read(tmp_path / "no.yaml")


def test_the_interval_is_students_with_the_variance_of_all_variants():
    # two variants of two seeds: variances 2 and 8, their mean 5; t(0.975, 2 degrees of freedom) = 4.303
    assert half_width([[1.0, 3.0], [10.0, 14.0]]) == pytest.approx(4.303 * np.sqrt(5 / 2), rel=1e-3)
    assert np.isnan(half_width([[1.0], [2.0]]))
