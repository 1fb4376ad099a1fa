"""Base experts of a mixture: which object of its cluster each is trained on (Sec. 4.3), and the report on them."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from resdex_tasks.shapes.clusters import Cluster
from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.tables import markdown_table
from runners.evaluation import tables
from runners.evaluation.summary import SuccessRow
from runners.pipeline.alike import check_alike, spec_of
from runners.pipeline.objects import SOURCE
from runners.pipeline.report import Outcome
from runners.pipeline.settings import SCRATCH, STARTER, PipelineSettings
from runners.pipeline.trainings import LAST, PolicySteps, Training
from runners.pipeline.workspace import Artifact

BASE = "ResDexBase"
"""The task of a base policy."""


@dataclass
class Expert:
    """A base expert, and how it came to be the one of its cluster."""

    cluster: int
    cluster_size: int
    name: str
    """Name of the object that it was trained on."""
    artifact: Artifact
    success: SuccessRow
    """Of the expert, with that object."""
    reached: bool
    """The success that was asked for."""
    tried: List["Expert"] = field(default_factory=list)
    """Those of the cluster, this one among them, the nearest to the centre first."""

    @property
    def success_at_end(self) -> float:
        return self.success.success_at_end.value


def base_lots(steps: PolicySteps) -> List[Tuple[str, str, int]]:
    """For `PolicySteps.plan`.

    Raises:
        UserError: the experts cannot begin from what `base_start` says.
    """
    settings, name = steps.settings, steps.settings.base_start
    expert = spec_of(settings, "base", BASE)
    if name == STARTER:
        check_alike(settings, {"start": BASE, "base": BASE}, "base_start=scratch")
        if expert.observation != "base" and settings.encoder == SOURCE:
            raise UserError("encoder=source has no code of the starter's box, which 'start' sees: base_start=scratch")
    elif name != SCRATCH:
        steps.read(name).check_fits(expert)
    return [*([("start", BASE, 1)] if name == STARTER else []), ("base", BASE, settings.k)]


@dataclass(frozen=True)
class Start:
    """What every base expert begins from."""

    keys: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Artifact] = ()
    decides: Mapping[str, Any] = field(default_factory=dict)


def _start(steps: PolicySteps) -> Start:
    """The policy that `base_start` names or asks for."""
    name = steps.settings.base_start
    if name == SCRATCH:
        return Start()
    if name == STARTER:
        title = "a base policy for the starter's box, from which the base experts begin"
        keys: Dict[str, Any] = {"task": BASE}
        if spec_of(steps.settings, "start", BASE).observation != "base":
            keys["objects.codes"] = steps.objects.codes_setting
        (made,) = steps.train(Training("start", title, "start", keys, everything=False))
        return Start({"weights": str(made / LAST)}, [made])
    return Start({"weights": name}, decides={"start": steps.read(name).id})


def base_experts(steps: PolicySteps, clusters: Sequence[Cluster]) -> List[Expert]:
    """The expert of each cluster: of the object nearest to its centre that can be learned, else of the best tried.

    With a budget, of the nearest, whatever becomes of it: others would cost what the mixture needs.
    """
    settings, start = steps.settings, _start(steps)
    tried: List[List[Expert]] = [[] for _ in clusters]
    for attempt in range(settings.tries if settings.budget is None else 1):
        open_ = [
            (i, cluster.ranking[attempt])
            for i, cluster in enumerate(clusters)
            if attempt < cluster.size and not any(expert.reached for expert in tried[i])
        ]
        if not open_:
            break
        made = steps.train(*(_training(steps, name, f"cluster {i + 1} of {len(clusters)}", start) for i, name in open_))
        for (i, name), artifact in zip(open_, made):
            success = _own_success(steps, artifact, name)
            reached = success.success_at_end.value >= settings.threshold
            tried[i].append(Expert(i, clusters[i].size, name, artifact, success, reached))
            if not reached:
                at_end, asked = 100 * success.success_at_end.value, 100 * settings.threshold
                print(f"{name}: success at the end {at_end:.1f} %, less than {asked:.1f} %", flush=True)
    return [_chosen(i, of_cluster) for i, of_cluster in enumerate(tried)]


def _chosen(index: int, tried: List[Expert]) -> Expert:
    best = max(tried, key=lambda expert: (expert.reached, expert.success_at_end))
    if not best.reached:
        print(f"no object of cluster {index + 1} reached it; its expert is the best one, of {best.name}", flush=True)
    best.tried = tried
    return best


def _training(steps: PolicySteps, name: str, of: str, start: Start) -> Training:
    decides = {"shape": steps.objects.shape_of(name), **start.decides}
    keys = {"task": BASE, "objects.codes": steps.objects.codes_setting, **steps.objects.only([name]), **start.keys}
    title = f"{of}: the base expert of {name}"
    return Training(f"expert_{slug(name)}", title, "base", keys, start.inputs, decides, everything=False)


def _own_success(steps: PolicySteps, expert: Artifact, name: str) -> SuccessRow:
    """The row of an evaluation: how the expert does with the object that it was trained on."""
    episodes = steps.settings.expert_episodes
    title = f"{episodes} episodes of it with its own object"
    keys = {"task": BASE, "episodes_per_object": episodes}
    return steps.test_trained_on(f"own_{slug(name)}", title, expert, [name], keys).result.summary.all


def zero_shot(steps: PolicySteps, experts: Sequence[Expert]) -> Dict[str, Outcome]:
    """Each expert alone on the test objects."""
    return {f"expert of {e.name}": steps.test(e.artifact, f"zero_shot_{slug(e.name)}") for e in experts}


def slug(name: str) -> str:
    """An object's name as part of a folder's."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)
    return (
        plain if plain == name and len(name) <= 60 else f"{plain[:50]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


# What the report says


def margin(tests: Mapping[str, Outcome], final_name: str) -> List[str]:
    """How far the final policy is above the best single expert, where the experts were tested."""
    alone = {
        name: t.result.summary.all.success_at_end.value for name, t in tests.items() if not t.result.summary.all.weights
    }
    if not alone:
        return []
    best = max(alone, key=lambda name: alone[name])
    final = tests[final_name].result.summary.all.success_at_end.value
    return [
        f"Over all test objects, {final_name} succeeds at the end in {100 * final:.1f} % of the episodes, its best "
        f"single expert ({best}) in {100 * alone[best]:.1f} %: {100 * (final - alone[best]):+.1f} points."
    ]


def experts_table(experts: Sequence[Expert]) -> str:
    rows: List[Tuple[str, ...]] = [
        ("cluster", "object", "", "objects", "episodes", *(f"success {words} %" for words in tables.MEASURES.values()))
    ]
    for expert in experts:
        for one in expert.tried:
            chosen = "w" + str(expert.cluster + 1) if one.name == expert.name else "tried"
            measured = (str(one.success.episodes), *(tables.percent(getattr(one.success, m)) for m in tables.MEASURES))
            rows.append((str(expert.cluster + 1), one.name, chosen, str(expert.cluster_size), *measured))
    return "Each on its own object, the nearest to its cluster's centre that could be learned.\n\n" + markdown_table(
        rows, texts=3
    )


def unreached(experts: Sequence[Expert], settings: PipelineSettings) -> List[str]:
    short = [expert for expert in experts if not expert.reached]
    return [
        f"Cluster {expert.cluster + 1}: none of the {len(expert.tried)} tried objects reaches a success at the end of "
        f"{100 * settings.threshold:g} %; the best was taken."
        for expert in short
    ]
