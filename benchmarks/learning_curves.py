"""Success over steps and minutes of one or more trainings, as a picture and as a Markdown table.

    python benchmarks/learning_curves.py runs/box_seed42 runs/box_seed1 --out docs/images/curve.png

Reads the runs' TensorBoard files. The rates are of the noisy policy that collects the data, a running mean over the
last episodes; an evaluation of the deterministic policy (test=True) comes out higher. Needs matplotlib.
"""

import argparse
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SCALARS = ("success/latched", "success/held")


def read_run(folder: Path) -> Dict[str, np.ndarray]:
    """Columns of a run: steps, minutes (time stopped between a stop and its resume left out), and the success rates."""
    events = EventAccumulator(str(folder / "summaries"), size_guidance={"scalars": 0})
    events.Reload()
    rows = {name: events.Scalars(name) for name in SCALARS}
    held = rows["success/held"]
    gaps = np.diff([e.wall_time for e in held], prepend=held[0].wall_time)
    gaps[gaps > 60 * max(np.median(gaps), 1e-3)] = 0
    out = {"steps": np.array([e.step for e in held]), "minutes": np.cumsum(gaps) / 60}
    out.update({name.split("/")[1]: np.array([e.value for e in rows[name]]) for name in SCALARS})
    return out


def plot(runs: Dict[str, Dict[str, np.ndarray]], path: Path) -> None:
    """Latched and held success over steps, a colour a run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.2, 3.6), constrained_layout=True)
    for index, (name, run) in enumerate(runs.items()):
        colour = f"C{index}"
        axis.plot(run["steps"] / 1e6, run["held"], colour, label=f"{name}, {run['minutes'][-1]:.0f} min")
        axis.plot(run["steps"] / 1e6, run["latched"], colour, linestyle=":", linewidth=1)
    axis.set(xlabel="million environment steps", ylabel="success of the noisy policy", ylim=(0, 1))
    axis.legend(title="held (dotted: latched)", frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


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
    plot(runs, args.out)
    lines: List[str] = [
        "| run | steps | minutes | held 0.5 after | held 0.8 after | last held |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, run in runs.items():
        lines.append(
            f"| {name} | {run['steps'][-1] / 1e6:.2f} M | {run['minutes'][-1]:.1f} | {first_reach(run, 0.5)} | "
            f"{first_reach(run, 0.8)} | {run['held'][-1]:.2f} |"
        )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
