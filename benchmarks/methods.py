"""ResDex, its rivals and plain PPO at one budget of environment steps, on the same objects and test: Tables 1-3.

Every run is `python -m runners.pipeline method=METHOD budget=N`, which splits the budget as the method does, vision
included. Writes methods.md (tables), methods.png (success over steps) and each run's own report. Run again, it goes on.

    python benchmarks/methods.py --out runs/methods --budget 10000000 --seeds 42
    python benchmarks/methods.py --out runs/methods_tiny --budget 30000 pipeline=tiny       # to see how it goes
"""

import shlex
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.pipelines import PipelineRun, arguments, run_all
from benchmarks.report import machine, run
from resdex_tasks.utils.tables import markdown_table
from runners.evaluation import paper_results
from runners.evaluation.plots import read_run, success_by_steps
from runners.evaluation.summary import EvaluationResult
from runners.evaluation.tables import DEFINITIONS, Results, success_table

METHODS: Dict[str, Tuple[str, List[str]]] = {
    "resdex": ("ResDex", ["k=1"]),
    "unidexgrasp": ("UniDexGrasp", []),
    "unidexgrasp_pp": ("UniDexGrasp++", ["specialists=4", "rounds=1", "vision_rounds=0"]),
    "ppo": ("PPO", []),
}
"""`method` -> its name in tables, and its settings: a few million steps learn one base policy (docs/training.md), not
four experts or three rounds of twenty specialists."""
VISION_SHARE = 0.1
"""Of every budget is for the policy that sees: it learns in the same way in all methods."""
PUBLISHED = ("UniDexGrasp", "UniDexGrasp++", "ResDex (k = 4)")


def points(run: PipelineRun) -> List[Tuple[float, float]]:
    """(steps, success at the end on the training objects) of every policy of a run that knows the state."""
    out = []
    for place in run.results["tests"].values():
        rows = {row.name: row for row in run.evaluation(place).summary.splits}
        if "train" in rows:
            out.append((run.ends[place["policy"]], rows["train"].success_at_end.value))
    return out


def last_students(run: PipelineRun) -> Dict[str, EvaluationResult]:
    """`vision (SOURCE clouds)` -> the test of the last policy that sees them: runs may end after different rounds."""
    return {name.split(", ")[1]: result for name, result in run.students.items()}


def curves(run: PipelineRun) -> List[Dict[str, object]]:
    """The trainings of a run on all objects, over the steps of the whole run."""
    out = []
    for one in run.results["trained"]:
        if one["everything"] and not one["name"].startswith("vision_"):
            curve = read_run(run.folder / one["name"])
            curve["steps"] = curve["steps"] + run.ends[one["name"]] - one["steps"]
            out.append(curve)
    return out


def report(names: Sequence[str], runs: Dict[Tuple[str, int], PipelineRun], seeds: Sequence[int], command: str) -> str:
    """methods.md."""
    titles = {name: METHODS[name][0] for name in names}
    settings = "; ".join(f"{METHODS[name][0]} {', '.join(METHODS[name][1])}" for name in names if METHODS[name][1])
    state: Dict[str, Results] = {titles[n]: [runs[n, seed].final for seed in seeds] for n in names}
    vision: Dict[str, List[EvaluationResult]] = {}
    for name in names:
        for seed in seeds:
            for cloud, result in last_students(runs[name, seed]).items():
                vision.setdefault(f"{titles[name]}, {cloud}", []).append(result)
    steps = [("run", "training", "steps")]
    for (name, seed), one in runs.items():
        rows = [(f"{name}, seed {seed}", t["name"], f"{t['steps']:,}") for t in one.results["trained"]]
        steps += [*rows, (f"{name}, seed {seed}", "**all**", f"**{one.steps:,}**")]
    parts = [
        "# The methods at one budget",
        f"```sh\n{command}\n```",
        machine(),
        f"{DEFINITIONS} Seeds: {', '.join(map(str, seeds))}. Of several seeds: mean and sample standard deviation.",
        f"Settings of single methods, unless the command says others: {settings}.",
        "## Policies that know the state",
        success_table(state, {name: paper_results.STAGE_2[name] for name in PUBLISHED}, with_quality=True),
        *(["## Policies that see", success_table(vision, paper_results.VISION, with_quality=True)] if vision else []),
        "## Success over steps",
        "![success over steps](methods.png)",
        "## Environment steps",
        markdown_table(steps, texts=2),
    ]
    return "\n\n".join(parts) + "\n"


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = parser.parse_args(argv)
    print(machine(), flush=True)
    common = [f"vision_share={VISION_SHARE}"]
    runs = run_all({name: [f"method={name}", *common, *METHODS[name][1]] for name in args.methods}, args)
    given = shlex.join(sys.argv[1:] if argv is None else argv)
    text = report(args.methods, runs, args.seeds, f"python benchmarks/methods.py {given}")
    (args.out / "methods.md").write_text(text, encoding="utf-8")
    first = {METHODS[name][0]: runs[name, args.seeds[0]] for name in args.methods}
    drawn = {name: curves(one) for name, one in first.items()}
    success_by_steps(drawn, {name: points(one) for name, one in first.items()}, args.out / "methods.png")
    print(f"\n{text}\nwritten to {args.out / 'methods.md'}")


if __name__ == "__main__":
    run(main)
