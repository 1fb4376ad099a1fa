"""Success over steps and minutes of one or more trainings, as a picture and as a Markdown table.

    python benchmarks/learning_curves.py runs/box_seed42 runs/box_seed1 --out docs/images/curve.png

Reads the runs' TensorBoard files. The rates are of the noisy policy that collects the data, a running mean over the
last episodes; an evaluation of the deterministic policy (test=True) comes out higher.
"""

import argparse
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import run
from runners.evaluation.plots import learning_curves, read_run


def first_reach(run: Dict[str, np.ndarray], rate: float) -> str:
    """Steps and minutes until the held rate is first reached."""
    reached = np.flatnonzero(run["held"] >= rate)
    if not len(reached):
        return "not reached"
    i = reached[0]
    return f"{run['steps'][i] / 1e6:.2f} M, {run['minutes'][i]:.1f} min"


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="PNG")
    args = parser.parse_args(argv)
    runs = {folder.name: read_run(folder) for folder in args.runs}
    learning_curves(runs, args.out)
    lines: List[str] = [
        "| run | steps | minutes | held 0.5 after | held 0.8 after | last held |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, curve in runs.items():
        lines.append(
            f"| {name} | {curve['steps'][-1] / 1e6:.2f} M | {curve['minutes'][-1]:.1f} | {first_reach(curve, 0.5)} | "
            f"{first_reach(curve, 0.8)} | {curve['held'][-1]:.2f} |"
        )
    print("\n".join(lines))


if __name__ == "__main__":
    run(main)
