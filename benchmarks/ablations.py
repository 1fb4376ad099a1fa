"""The paper's ablations of mixture and base policies, each at one budget of environment steps a run. Table 4 has a
benchmark of its own, residual.py.

    python benchmarks/ablations.py stages --out runs/ablation_stages --ks 1 2 3 4 5 6
    python benchmarks/ablations.py bases --out runs/ablation_bases --objects 6

`stages`: success after stage 1 and after stage 2 (Tables 1 and 2), and the grasps' quality D after stage 2 (Table 5),
by the number of experts. `bases`: zero-shot success on the training objects of base policies that were trained on one
object each (Figure 2): the geometry-unaware ones, those that see everything, those paid for the full grasp proposal.
Run again, it goes on.
"""

import shlex
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.pipelines import PipelineRun, arguments, run_all
from benchmarks.report import machine, run, table
from runners.evaluation.summary import EvaluationResult
from runners.evaluation.tables import DEFINITIONS, MEASURES, percent, quality_table, success_table

TRAINED = ("start", "base")
BASES = {
    "unaware": ("Ours", []),
    "full_obs": ("Full Obs", [f"{s}.task.env.observation=full" for s in TRAINED]),
    "full_pose": ("Full Pose", [f"{s}.task.env.reward.terms=[proposal,reach,lift,move,bonus]" for s in TRAINED]),
}
"""Figure 2: run -> its name there, and what is different, also in the policy from which they begin."""
Runs = Dict[Tuple[str, int], PipelineRun]


def stages(runs: Runs, seeds: Sequence[int]) -> List[str]:
    """Tables 1 and 2 for every k, and Table 5."""
    success: Dict[str, List[EvaluationResult]] = {}
    by_k: Dict[int, List[EvaluationResult]] = {}
    for (name, _), one in runs.items():
        k = int(name[1:])
        for title, place in one.results["tests"].items():
            if title.startswith("ResDex"):
                success.setdefault(f"k = {k}, {title.split(', ')[1]}", []).append(one.evaluation(place))
        by_k.setdefault(k, []).append(one.final)
    return ["## Stage 1 and stage 2", success_table(success), "## Quality of the grasps", quality_table(by_k)]


def bases(runs: Runs, seeds: Sequence[int]) -> List[str]:
    """Figure 2 as a table: an object a row, a kind of base policy a column."""
    rows = [("trained on", "success %", *(title for title, _ in BASES.values()))]
    objects = {name: None for one in runs.values() for name in one.results["tests"]}
    for seed in seeds:
        for name in objects:
            for measure, head in MEASURES.items():
                cells = []
                for kind in BASES:
                    place = runs[kind, seed].results["tests"].get(name)
                    split = (
                        {} if place is None else {r.name: r for r in runs[kind, seed].evaluation(place).summary.splits}
                    )
                    cells.append(percent(getattr(split["train"], measure)) if "train" in split else "-")
                title = name.replace("expert of ", "") + (f", seed {seed}" if len(seeds) > 1 else "")
                rows.append((title if measure == next(iter(MEASURES)) else "", head, *cells))
    return ["## Base policies, zero-shot on the training objects", table(rows)]


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--ks", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6], help="stages: numbers of experts")
    parser.add_argument("--objects", type=int, default=6, help="bases: objects, the centres of so many clusters")
    known = {"stages": stages, "bases": bases}
    arguments_ = list(sys.argv[1:] if argv is None else argv)
    if not arguments_ or arguments_[0] not in known:
        parser.error(f"first comes what is compared: {' or '.join(known)}")
    what, args = arguments_[0], parser.parse_args(arguments_[1:])
    if what == "stages":
        chosen = {f"k{k}": ["method=resdex", f"k={k}", "students=[]", "test_experts=false"] for k in args.ks}
    else:
        common = ["method=base", f"k={args.objects}"]
        chosen = {name: [*common, *different] for name, (_, different) in BASES.items()}
    print(machine(), flush=True)
    runs = run_all(chosen, args)
    command = f"python benchmarks/ablations.py {shlex.join(arguments_)}"
    parts = [f"```sh\n{command}\n```", machine(), DEFINITIONS, *known[what](runs, args.seeds)]
    text = "\n\n".join(parts) + "\n"
    (args.out / f"{what}.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nwritten to {args.out / f'{what}.md'}")


if __name__ == "__main__":
    run(main)
