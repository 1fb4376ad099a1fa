"""Sections of the settings whose policies begin as one another's, and so have to shape them alike."""

from typing import Any, Dict, Mapping

from resdex_tasks.utils.errors import UserError
from resdex_tasks.utils.mappings import flat
from runners.config import RunConfig, load_config
from runners.pipeline.settings import PipelineSettings
from runners.policies.checkpoint import first_difference
from runners.policies.records import PolicySpec


def spec_of(settings: PipelineSettings, section: str, task: str) -> PolicySpec:
    """Of the policies that a section's trainings make."""
    return _config(settings, section, task).policy_spec


def check_alike(settings: PipelineSettings, tasks: Mapping[str, str], instead: str) -> None:
    """Check that the policies of all sections see the same, through the same network.

    Args:
        tasks: section -> task of its trainings.
        instead: the setting without which they may differ.

    Raises:
        UserError: two do not.
    """
    (first, theirs), *others = ((section, _config(settings, section, task)) for section, task in tasks.items())
    for section, ours in others:
        different = first_difference(theirs.policy_spec, ours.policy_spec)
        seen, other = _seen(theirs), _seen(ours)
        for key in sorted({*seen, *other}):
            if seen.get(key) != other.get(key):
                different = (key, seen.get(key), other.get(key))
        if different is not None:
            key, one, two = different
            raise UserError(f"{key} is {one} for '{first}' and {two} for '{section}': alike, or {instead}")


def _config(settings: PipelineSettings, section: str, task: str) -> RunConfig:
    return load_config(settings.overrides(section, {"task": task}))


def _seen(config: RunConfig) -> Dict[str, Any]:
    env: Mapping[str, Any] = config.plain["task"]["env"]
    vision = flat(env["vision"], "task.env.vision.") if env["observation"] == "vision" else {}
    return {"task.env.observation": env["observation"], **vision}
