"""The steps of any method that make and test policies."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from resdex_tasks.objects.object_set import ObjectSet
from resdex_tasks.objects.sources import ObjectsConfig
from resdex_tasks.utils.files import read_json
from resdex_tasks.utils.overrides import Overrides
from runners.config import RunConfig, load_config
from runners.evaluation.run import evaluate_checkpoint
from runners.evaluation.summary import EvaluationResult
from runners.learning.train import train
from runners.pipeline.budget import Budget, Lot, with_share
from runners.pipeline.launchers import Job, make_launcher
from runners.pipeline.objects import ObjectSteps
from runners.pipeline.report import Outcome, Trained
from runners.pipeline.settings import SEEING
from runners.pipeline.workspace import Artifact, Step, clear_all_but_record, made_by, with_file_hashes
from runners.policies.checkpoint import Checkpoint, CheckpointReader

LAST = "nn/last.pth"
VISION, TEST = "ResDexVision", "ResDexHyperStage2"
"""The tasks of tests: of policies that see, and of those that know the state."""
JOBS = "jobs"
"""Folder of what the launchers write."""
SHARED = ("task", "sim", "objects", "seed", "num_envs")
"""Parts of the configuration that decide what comes out, of a training and of a test."""
MACHINE = (
    ("sim", "numThreads"),
    ("train", "params", "torch_threads"),
    *(("train", "params", "config", key) for key in ("device", "device_name", "full_experiment_name")),
)
"""Keys in them that only say where and how fast."""
NO_KEYS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Training:
    """A training that a method asks for."""

    name: str
    """Of its step."""
    title: str
    section: str
    """Of the settings that it reads."""
    keys: Mapping[str, Any]
    """train.py's keys that the method sets, `task` among them."""
    inputs: Sequence[Artifact] = ()
    """What it builds on, beside the objects."""
    decides: Mapping[str, Any] = field(default_factory=dict)
    """More that decides its result."""
    everything: bool = True
    """Whether it meets all training objects."""


class PolicySteps:
    """Trainings, within the budget and by the launcher that the settings name, and tests."""

    def __init__(self, objects: ObjectSteps) -> None:
        self.objects, self.settings, self.workspace = objects, objects.settings, objects.workspace
        self.read = CheckpointReader()
        self.budget: Optional[Budget] = None
        """None: every training is as long as it is configured."""
        self.trained: List[Trained] = []
        """What each training took, in their order."""
        s = self.settings
        self._launcher = make_launcher(s.launcher, s.jobs, s.submitit, s.retries, self.workspace.folder / JOBS)

    def plan(self, *lots: Tuple[str, str, int]) -> None:
        """Say what will be trained, in this order, so that a budget can be split.

        Args:
            lots: (section, task, how many trainings at once).

        Raises:
            UserError: the budget is too small.
        """
        if self.settings.budget is None:
            return
        planned = []
        for section, task, count in lots:
            config = load_config(self.settings.overrides(section, {"task": task}))
            params = config.params["config"]
            per_iteration = config.command.num_envs * params["horizon_length"]
            planned.append(Lot(section, count, per_iteration, params["max_epochs"]))
        self.budget = Budget(self.settings.budget, with_share(planned, SEEING, self.settings.vision_share))

    def skip(self, lots: Sequence[Tuple[str, str, int]]) -> None:
        """The next lots of the plan are not needed: what they would have taken is for those after them."""
        for section, _, _ in lots if self.budget is not None else ():
            self.budget.skip(section)  # type: ignore[union-attr]

    # Trainings

    def train(self, *trainings: Training) -> List[Artifact]:
        """Trainings of which none needs another: with a budget, the next that were planned."""
        iterations = [None] * len(trainings) if self.budget is None else self.budget.open(trainings[0].section)
        made = [self._step(training, n) for training, n in zip(trainings, iterations)]
        commands = {step.name: overrides for step, overrides in made}

        def launch(pending: Sequence[Tuple[Step, Path]]) -> None:
            self._launcher.run([self._job(step.name, commands[step.name]) for step, _ in pending])

        together = launch if self._launcher.takes(len(trainings)) else None
        artifacts = self.workspace.steps([step for step, _ in made], together)
        for training, artifact in zip(trainings, artifacts):
            steps = Checkpoint.read(artifact / LAST).made_by.steps
            if self.budget is not None:
                self.budget.spend(steps)
            self.trained.append(Trained(artifact.name, training.title, steps, training.everything))
        return artifacts

    def _step(self, training: Training, iterations: Optional[int]) -> Tuple[Step, Overrides]:
        """A training as a step, and its command line."""
        own = {"runs_dir": str(self.workspace.folder), "experiment": training.name, "follow_up": False}
        forced = {**training.keys, **own}
        if iterations is not None:
            forced["max_iterations"] = iterations
        overrides = self.settings.overrides(training.section, forced)
        config = load_config(overrides, self.read)
        settings = {**_deciding(config.plain, (*SHARED, "train", "torch_deterministic")), **training.decides}
        inputs = list(training.inputs)
        if config.task.env.observation != "base":  # which sees no codes
            settings["codes"] = self.objects.encoder_id
            inputs.insert(0, self.objects.codes)

        def fill(folder: Path) -> None:
            train_or_resume(config, folder, self.objects.set_of)

        about = made_by(overrides.command())
        return Step(training.name, training.title, fill, [LAST], settings, inputs, about), overrides

    def _job(self, name: str, overrides: Overrides) -> Job:
        threads = self._launcher.threads
        config = load_config(overrides, self.read)
        if threads is not None and config.plain["sim"].get("numThreads") == 0:
            overrides = overrides.having({"sim.numThreads": threads})
        if threads is not None and config.params["torch_threads"] == "auto":
            overrides = overrides.having({"train.params.torch_threads": threads})
        return Job(name, "train", tuple(overrides), str(self.workspace.folder / JOBS / f"{name}.log"))

    # Tests

    def test(
        self,
        policy: Artifact,
        name: Optional[str] = None,
        more: Mapping[str, Any] = NO_KEYS,
        inputs: Sequence[Artifact] = (),
    ) -> Outcome:
        """A policy on the test objects of every split. All policies meet the same starts.

        Args:
            name: of the step; None: after the policy.
            more: of train.py's keys.
            inputs: what they name.
        """
        objects = self.objects
        forced: Dict[str, Any] = {"task": TEST, "objects.codes": objects.codes_setting, **more}
        if not any(key.startswith("objects") for key in self.settings.sections["test"]):
            forced.update(objects.only([name for chosen in objects.tested_on.values() for name in chosen]))
            if objects.config.source == "zoo":
                forced["objects.split"] = "all"
        title = f"test of {policy.name} on every split"
        return self._evaluate(name or f"test_{policy.name}", title, policy, forced, [objects.testing, *inputs])

    def test_trained_on(
        self, name: str, title: str, policy: Artifact, objects: Sequence[str], more: Mapping[str, Any]
    ) -> Outcome:
        """A policy on objects that it was trained on, whatever else policies are tested on.

        Args:
            objects: their names.
            more: of train.py's keys.
        """
        own = {"objects.codes": self.objects.codes_setting, **self.objects.only(objects), "num_episodes": None}
        return self._evaluate(name, title, policy, {**own, **more}, [], own_objects=False)

    def _evaluate(
        self,
        name: str,
        title: str,
        policy: Artifact,
        forced: Mapping[str, Any],
        inputs: Sequence[Artifact],
        own_objects: bool = True,
    ) -> Outcome:
        own = {"test": True, "checkpoint": str(policy / LAST), "runs_dir": str(self.workspace.folder)}
        overrides = self.settings.overrides("test", {**forced, **own, "experiment": name}, own_objects)
        config = load_config(overrides, self.read)
        settings = _deciding(config.plain, (*SHARED, "episodes_per_object", "num_episodes"))

        def fill(folder: Path) -> None:
            clear_all_but_record(folder)
            evaluate_checkpoint(config, self.objects.set_of(config.objects))

        about = made_by(overrides.command())
        made = self.workspace.step(name, title, fill, ["evaluation.json"], settings, [policy, *inputs], about)
        return Outcome(made, EvaluationResult.from_json(read_json(made / "evaluation.json")), policy)

    # The vision policy (Sec. 3.2, A.2), the same for every method

    def vision_lots(self, task: str = VISION) -> List[Tuple[str, str, int]]:
        """For `plan`: a student for each source of clouds, where there are any."""
        students = len(self.settings.students)
        return [("vision", task, students)] if students else []

    def students(
        self, method: str, teachers: Sequence[Artifact], beside: Artifact, task: str = VISION
    ) -> Dict[str, Outcome]:
        """Policies that see clouds and imitate the teachers, tested.

        Args:
            method: its name in tables.
            teachers: several: each teaches the objects that it was trained on.
            beside: the policy that knows the state, which plays the students' episodes too.
            task: of the trainings.
        """
        codes = self.objects.codes_setting
        names = [str(teacher / LAST) for teacher in teachers]
        sources = {source: {"task.env.vision.source": source} for source in self.settings.students}
        if not sources:
            return {}
        by = ", ".join(teacher.name for teacher in teachers)
        common = {"task": task, "objects.codes": codes, "teacher": names[0] if len(names) == 1 else names}
        students = self.train(
            *(
                Training(
                    f"vision_{source}",
                    f"the vision policy, {source} clouds, from {by}",
                    "vision",
                    {**common, **keys},
                    teachers,
                )
                for source, keys in sources.items()
            )
        )
        return {
            f"{method}, vision ({source} clouds)": self.test_student(student, beside, keys)
            for student, (source, keys) in zip(students, sources.items())
        }

    def test_student(self, student: Artifact, beside: Artifact, keys: Mapping[str, Any]) -> Outcome:
        """See `students`.

        Args:
            keys: what it sees.
        """
        more = {"task": VISION, **keys, "teacher": str(beside / LAST)}
        return self.test(student, more=more, inputs=[beside])


def train_or_resume(config: RunConfig, folder: Path, set_of: Callable[[ObjectsConfig], ObjectSet]) -> None:
    """Do a training in its folder, or go on with what is there.

    Args:
        set_of: makes the objects.
    """
    last = folder / LAST
    if not last.is_file():
        clear_all_but_record(folder)
    else:
        checkpoint = config.read(last)
        reached = bool((checkpoint.training or {}).get("reached"))
        if reached or checkpoint.made_by.iterations >= config.params["config"]["max_epochs"]:
            return  # cut between its last iteration and the end of the step
        config = config.changed({"checkpoint": str(last)})
    train(config, set_of(config.objects))


def _deciding(config: Mapping[str, Any], keys: Sequence[str]) -> Dict[str, Any]:
    """The part of a configuration that decides what comes out of it, with the content of files for their names."""
    out = json.loads(json.dumps({key: config[key] for key in keys}))
    for *path, last in MACHINE:
        inside = out
        for key in path:
            inside = inside.get(key, {})
        inside.pop(last, None)
    out["objects"] = with_file_hashes(out["objects"])
    return out
