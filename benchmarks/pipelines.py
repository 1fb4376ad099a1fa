"""Several runs of the pipeline, each in a folder of its own, by a launcher; and what they came to.

Run again, each goes on where it was.
"""

import argparse
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from resdex_tasks.utils.files import read_json
from resdex_tasks.utils.overrides import yaml_value
from runners.evaluation.summary import EvaluationResult
from runners.pipeline.launchers import LAUNCHERS, Job, make_launcher
from runners.pipeline.run import RESULTS


def arguments(description: str) -> argparse.ArgumentParser:
    """The command line that these benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and the tables")
    parser.add_argument("--budget", type=int, default=3_000_000, help="environment steps of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local")
    parser.add_argument("--jobs", type=int, help="runs at once on this machine; default: one a GPU, else one a core")
    parser.add_argument("--submitit", nargs="*", default=[], metavar="KEY=VALUE", help="of submitit's executor")
    parser.add_argument("overrides", nargs="*", help="as for the pipeline; RUN:key=value is for one run alone")
    return parser


class PipelineRun:
    """A finished run of the pipeline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: Dict[str, Any] = read_json(folder / RESULTS)

    def evaluation(self, place: Mapping[str, str]) -> EvaluationResult:
        """What a test came to that `results` names."""
        return EvaluationResult.from_json(read_json(self.folder / place["evaluation"] / "evaluation.json"))

    @property
    def final(self) -> EvaluationResult:
        """Of the last policy that knows the state."""
        return self.evaluation(list(self.results["tests"].values())[-1])

    @property
    def students(self) -> Dict[str, EvaluationResult]:
        """Of the vision policies."""
        return {name: self.evaluation(place) for name, place in self.results["students"].items()}

    @property
    def steps(self) -> int:
        """Environment steps of all its trainings."""
        return sum(one["steps"] for one in self.results["trained"])

    @property
    def ends(self) -> Dict[str, int]:
        """Training -> environment steps of the run when it was over, one training after the other."""
        out, total = {}, 0
        for one in self.results["trained"]:
            total += one["steps"]
            out[one["name"]] = total
        return out


def run_all(runs: Mapping[str, Sequence[str]], args: argparse.Namespace) -> Dict[Tuple[str, int], PipelineRun]:
    """Run `python -m runners.pipeline` for each name and seed: (name, seed) -> what it came to.

    Args:
        runs: name -> the pipeline's arguments.
        args: as `arguments` reads them.

    Raises:
        UserError: one cannot be done.
    """
    args.out.mkdir(parents=True, exist_ok=True)
    parameters = {key: yaml_value(value) for key, value in (text.split("=", 1) for text in args.submitit)}
    launcher = make_launcher(args.launcher, args.jobs, parameters, 2, args.out / "jobs")
    keys = ("sim.numThreads", "train.params.torch_threads")
    threads = [] if launcher.threads is None else [f"{key}={launcher.threads}" for key in keys]
    jobs: List[Job] = []
    for name, own in runs.items():
        common = [text for text in args.overrides if ":" not in text.split("=", 1)[0]]
        alone = [text.split(":", 1)[1] for text in args.overrides if text.startswith(f"{name}:")]
        for seed in args.seeds:
            folder = args.out / f"{name}_seed{seed}"
            seeds = [f"seed={seed}", f"cluster_seed={seed}", f"budget={args.budget}", "jobs=1"]
            given = [f"out={folder}", *seeds, *threads, *own, *common, *alone]
            jobs.append(Job(folder.name, "pipeline", tuple(given), str(args.out / "jobs" / f"{folder.name}.log")))
    launcher.run(jobs)
    return {(name, seed): PipelineRun(args.out / f"{name}_seed{seed}") for name in runs for seed in args.seeds}
