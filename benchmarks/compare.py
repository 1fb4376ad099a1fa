"""Controlled comparisons: settings of a training, each with several seeds at one equal budget of environment steps.

    python benchmarks/compare.py benchmarks/comparisons/stage1.yaml --out runs/stage1 --seeds 1 2 3

A file of `comparisons/` names the budget, what all variants share, and each variant's overrides: a list, or a list of
trainings that begin where the one before ended, each with its `share` of the steps and its `task`. Every variant then
plays the same episodes of the same objects. What is done is kept: run again, it goes on.

The table gives means over the seeds. Their intervals (95 %, Student's t) take the variance between seeds as the same
for all variants, so that a few seeds of many variants tell it.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

import numpy as np
import yaml
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import machine, run, table
from benchmarks.trainings import ONE_CORE, tested, trained
from resdex_tasks.utils.errors import UserError
from runners.config import load_config
from runners.evaluation.plots import read_run
from runners.evaluation.summary import EvaluationResult

COMPOSING = Lock()
"""Hydra composes one configuration at a time; jobs ask for theirs from threads."""


@dataclass(frozen=True)
class Training:
    """One training of a variant: its share of the budget and its overrides."""

    share: float
    overrides: Tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A file of `comparisons/`."""

    steps: int
    common: Tuple[str, ...]
    test: Tuple[str, ...]
    variants: Mapping[str, Tuple[Training, ...]]

    @classmethod
    def read(cls, path: Path) -> "Comparison":
        """
        Raises:
            UserError: there is no such file, or it has other keys.
        """
        try:
            content: Dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
            variants = {name: _trainings(rows) for name, rows in content.pop("variants").items()}
            return cls(int(content.pop("steps")), tuple(content.pop("common")), tuple(content.pop("test")), variants)
        except (OSError, KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{path} is no comparison: {error}") from error


def _trainings(rows: Sequence[Any]) -> Tuple[Training, ...]:
    if not rows or isinstance(rows[0], str):
        return (Training(1.0, tuple(rows)),)
    return tuple(Training(float(row["share"]), (f"task={row['task']}", *row.get("overrides", ()))) for row in rows)


def iterations(steps: float, overrides: Sequence[str]) -> int:
    """PPO iterations that come nearest to so many environment steps; at least one."""
    with COMPOSING:
        config = load_config(overrides)
    return max(1, round(steps / (config.command.num_envs * config.params["config"]["horizon_length"])))


def run_name(variant: str, seed: int, part: Union[int, str]) -> str:
    """The folder of a variant's training (its number, from 1) or `test`."""
    return f"{''.join(c if c.isalnum() else '_' for c in variant)}.{seed}.{part}"


def train_and_test(comparison: Comparison, name: str, seed: int, out: Path) -> EvaluationResult:
    """A variant with one seed: its trainings, then its test."""
    common = [f"runs_dir={out}", f"seed={seed}", *ONE_CORE, *comparison.common]
    begin: List[str] = []
    for number, training in enumerate(comparison.variants[name], 1):
        overrides = [*common, *training.overrides, *begin]
        overrides.append(f"max_iterations={iterations(training.share * comparison.steps, overrides)}")
        run_folder = run_name(name, seed, number)
        last = trained(out, run_folder, overrides, [f"experiment={run_folder}"])
        begin = [f"stage1={last}"]
    test = run_name(name, seed, "test")
    own = ["test=True", f"checkpoint={last}", f"experiment={test}", f"runs_dir={out}", "seed=1"]
    result = tested(out, test, [*own, *ONE_CORE, *comparison.test])
    print(f"{name}, seed {seed}: success at end {100 * result.summary.all.success_at_end.value:.1f} %", flush=True)
    return result


def own_reward(folder: Path) -> Tuple[float, float]:
    """The exploring policy's reward of an episode, over the second and the last fifth of a training."""
    reward = read_run(folder)["reward"]
    fifth = max(1, len(reward) // 5)
    return float(reward[fifth : 2 * fifth].mean()), float(reward[-fifth:].mean())


def half_width(values: Sequence[Sequence[float]]) -> float:
    """Half the 95 % interval of a variant's mean, from every variant's values by seed (as many of each)."""
    rows = np.array(values, dtype=float)
    variants, seeds = rows.shape
    if seeds < 2:
        return float("nan")
    freedom = variants * (seeds - 1)
    return float(stats.t.ppf(0.975, freedom) * np.sqrt(rows.var(axis=1, ddof=1).mean() / seeds))


def report(
    comparison: Comparison, results: Mapping[str, Sequence[EvaluationResult]], out: Path, seeds: Sequence[int]
) -> str:
    """The Markdown table of all variants."""
    rates = {
        title: {n: [100 * getattr(r.summary.all, key).value for r in rows] for n, rows in results.items()}
        for title, key in (("at end %", "success_at_end"), ("once %", "success_once"))
    }
    rows = [["", *(f"{title} +- {half_width(list(v.values())):.1f}" for title, v in rates.items()), "by seed, at end"]]
    rows[0].append("own reward, exploring: second -> last fifth")
    for name in results:
        by_seed = rates["at end %"][name]
        cells = [name, *(f"{np.mean(values[name]):.1f}" for values in rates.values())]
        cells.append(", ".join(f"{value:.1f}" for value in by_seed))
        last = len(comparison.variants[name])
        rewards = np.array([own_reward(out / run_name(name, seed, last)) for seed in seeds])
        cells.append("{:.0f} -> {:.0f}".format(*rewards.mean(axis=0)))
        rows.append(cells)
    return table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path, help="a file of comparisons/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, one core each")
    parser.add_argument("--variants", nargs="+", help="only these")
    args = parser.parse_args()
    comparison = Comparison.read(args.comparison)
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = args.variants or list(comparison.variants)
    unknown = sorted(set(chosen) - set(comparison.variants))
    if unknown:
        raise UserError(f"{args.comparison} has no variant '{unknown[0]}'; it has {', '.join(comparison.variants)}")
    print(f"{machine()}\n{comparison.steps:,} environment steps each, seeds {args.seeds}", flush=True)
    results: Dict[str, List[EvaluationResult]] = {name: [] for name in chosen}
    with ThreadPoolExecutor(args.jobs) as pool:
        # all variants with one seed before the next seed
        jobs = [(name, seed) for seed in args.seeds for name in chosen]
        for (name, _), result in zip(jobs, pool.map(lambda job: train_and_test(comparison, *job, args.out), jobs)):
            results[name].append(result)
    text = report(comparison, results, args.out, args.seeds)
    (args.out / "table.md").write_text(text + "\n")
    print(f"\n{text}")


if __name__ == "__main__":
    run(main)
