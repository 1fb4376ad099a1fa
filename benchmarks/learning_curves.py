"""Success over steps and minutes of one or more trainings, as a picture and as a Markdown table.

    python benchmarks/learning_curves.py runs/box_seed42 runs/box_seed1 --out docs/images/curve.png

Reads the runs' TensorBoard files. The rates are of the noisy policy that collects the data, a running mean over the
last episodes; an evaluation of the deterministic policy (test=True) comes out higher.
"""

import argparse
import sys
from pathlib import Path
from typing import Mapping, Optional, Sequence

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from benchmarks.report import run, table
from runners.evaluation.plots import learning_curves, read_run

RATES = (0.5, 0.8)


def first_reach(curve: Mapping[str, np.ndarray], rate: float) -> str:
    """Steps and minutes until the rate of success at the end is first reached."""
    reached = np.flatnonzero(curve["at_end"] >= rate)
    if not len(reached):
        return "not reached"
    i = reached[0]
    return f"{curve['steps'][i] / 1e6:.2f} M, {curve['minutes'][i]:.1f} min"


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="PNG")
    args = parser.parse_args(argv)
    runs = {folder.name: read_run(folder) for folder in args.runs}
    learning_curves(runs, args.out)
    rows = [("run", "steps", "minutes", *(f"success at end {rate} after" for rate in RATES), "last success at end")]
    for name, curve in runs.items():
        size = f"{curve['steps'][-1] / 1e6:.2f} M", f"{curve['minutes'][-1]:.1f}"
        rows.append((name, *size, *(first_reach(curve, rate) for rate in RATES), f"{curve['at_end'][-1]:.2f}"))
    print(table(rows))


if __name__ == "__main__":
    run(main)
