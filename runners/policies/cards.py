"""What policies are and how good they are, out of their files alone.

python -m runners.policies.cards                            # of the shipped ones
python -m runners.policies.cards --write docs/models.md     # into a page, between its two marks
"""

import argparse
import sys
from pathlib import Path
from typing import Optional, Sequence

from resdex_tasks.observations import CLOUD
from resdex_tasks.utils.errors import UserError, exit_status
from resdex_tasks.utils.files import write_text
from resdex_tasks.utils.printing import for_a_reader
from resdex_tasks.utils.safetensors_file import SUFFIX
from resdex_tasks.utils.tables import markdown_table
from runners.policies.checkpoint import Checkpoint, shipped_policies
from runners.policies.records import Measured, MeasuredRow

BEGINS, ENDS = "<!-- cards -->", "<!-- end of cards -->"
"""Marks of a page."""
UNKNOWN = "-"
DEFINITIONS = (
    "*At the end*: within 5 cm of the goal at the last step. *Once*: at any step, the official protocol. "
    "D = -sum of r_proposal over an episode, lower is better. In brackets: 95 % intervals, over objects where there "
    "are several."
)


def what(checkpoint: Checkpoint) -> str:
    """What a policy is, in one line."""
    spec, stage = checkpoint.spec, checkpoint.task.get("stage")
    sees = spec.observation_size
    if spec.experts is not None:
        return f"hyper-policy over {spec.experts.count} experts, stage {stage}: sees the state, {sees} numbers"
    if CLOUD in spec.observation_layout:
        cloud = spec.observation_layout[CLOUD]
        seen = f"{sees - cloud} numbers and {cloud // 3} points ({_vision_source(checkpoint)} clouds)"
        teacher = checkpoint.made_by.teacher.get("name")
        learned = "by PPO" if teacher is None else f"imitates {teacher}"
        return f"vision policy, {learned}: sees {seen}"
    if "object_code" in spec.observation_layout:
        return f"policy without experts: sees the state, {sees} numbers"
    return f"base expert: sees no shape, {sees} numbers"


def _vision_source(checkpoint: Checkpoint) -> str:
    return str(checkpoint.task["env"].get("vision", {}).get("source", "unknown"))


def trained_on(checkpoint: Checkpoint) -> str:
    """Its objects, in few words."""
    names, source = checkpoint.objects, checkpoint.object_source
    shown = ", ".join(names) if len(names) <= 3 else f"{len(names):,} objects"
    sizes = f", sizes={source['sizes']}" if len(names) > 3 and source.get("sizes", "small") != "small" else ""
    return f"{source.get('source', 'unknown')}: {shown}{sizes}"


def _training_time(checkpoint: Checkpoint) -> str:
    made_by = checkpoint.made_by
    where = f" ({made_by.machine})" if made_by.machine else ""
    return f"{made_by.minutes:.0f} min{where}" if made_by.minutes else UNKNOWN


def policy_table(checkpoints: Sequence[Checkpoint]) -> str:
    """What each is, as a Markdown table."""
    rows = [("policy", "what", "trained on", "steps of the last training", "its wall time")]
    for one in checkpoints:
        steps = f"{one.made_by.steps / 1e6:.2f} M"
        rows.append((one.name, what(one), trained_on(one), steps, _training_time(one)))
    return markdown_table(rows, texts=3)


def success_table(checkpoints: Sequence[Checkpoint]) -> str:
    """How good each was found to be, as a Markdown table; '' where none was measured."""
    rows = [("policy", "tested on", "episodes", "at the end %", "once %", "D")]
    for one in checkpoints:
        if one.measured is None:
            continue
        shown = one.measured.rows
        splits = [name for name in shown if name != "all"]
        for name in splits if len(splits) == 1 else shown:
            row = shown[name]
            success = row.success_at_end.text(100), row.success_once.text(100)
            tested = _tested_on(one.measured, name, row)
            rows.append((one.name, tested, str(row.episodes), *success, row.quality.text() if row.quality else UNKNOWN))
    return markdown_table(rows, texts=2) if len(rows) > 1 else ""


def _tested_on(measured: Measured, split: str, row: MeasuredRow) -> str:
    source, names = measured.object_source.get("source", "unknown"), measured.object_source.get("names") or []
    return f"{source}: {', '.join(map(str, names)) if row.objects == len(names) == 1 else f'{row.objects} of {split}'}"


def commands(checkpoint: Checkpoint) -> str:
    """How a policy was made and measured, as a block of a shell's lines."""
    made_by, measured = checkpoint.made_by, checkpoint.measured
    lines = [f"# {checkpoint.name}: trained by, seed {made_by.seed}", made_by.command]
    if measured is not None:
        lines += [f"# measured by, seed {measured.seed}, on {measured.machine}", measured.command]
    return "\n".join(["```sh", *lines, "```"])


def cards(names: Optional[Sequence[str]] = None) -> str:
    """The cards of policies, by name or path, as Markdown; default: of the shipped ones."""
    checkpoints = [Checkpoint.read(name) for name in (shipped_policies() if names is None else names)]
    parts = [policy_table(checkpoints), success_table(checkpoints), DEFINITIONS, *map(commands, checkpoints)]
    return "\n\n".join(part for part in parts if part)


def write_into(page: Path, text: str) -> None:
    """Put a text between the two marks of a page.

    Raises:
        UserError: the page has no such marks, or cannot be written.
    """
    try:
        before, rest = page.read_text(encoding="utf-8").split(BEGINS)
        after = rest.split(ENDS)[1]
    except OSError as error:
        raise UserError(f"cannot read {page}: {error.strerror or error}") from error
    except (ValueError, IndexError):
        raise UserError(f"{page} has no place for the cards: a line {BEGINS} and a line {ENDS}") from None
    write_text(page, f"{before}{BEGINS}\n\n{text}\n\n{ENDS}{after}")


def model_card(checkpoint: Checkpoint, repository: str = "OWNER/NAME") -> str:
    """README.md of a policy at a hub: what it is, how good, how it is played."""
    head = ["---", "library_name: resdex", "license: bsd-3-clause", "pipeline_tag: robotics", "tags:",
            "- reinforcement-learning", "- dexterous-grasping", "- shadow-hand", "---"]  # fmt: skip
    versions = ", ".join(f"{name} {number}" for name, number in checkpoint.made_by.versions.items())
    use = "\n".join([
        "```sh",
        f"python -m runners.policies.hub pull {repository} policy{SUFFIX}",
        f"python train.py test=True checkpoint=policy{SUFFIX}",
        "```",
    ])  # fmt: skip
    success = success_table([checkpoint])
    parts = [
        "\n".join(head),
        f"# {checkpoint.name}",
        f"A policy of ResDex, open (universal dexterous grasping with a ShadowHand): {what(checkpoint)}.",
        policy_table([checkpoint]),
        f"{success}\n\n{DEFINITIONS}" if success else "Nobody measured yet how good it is.",
        "## Play it",
        use,
        "## How it was made",
        commands(checkpoint),
        f"With {versions}; weights {checkpoint.id}.",
    ]
    return "\n\n".join(parts) + "\n"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, or 2 after bad input."""
    parser = argparse.ArgumentParser(prog="python -m runners.policies.cards", description=__doc__.split("\n\n")[0])
    parser.add_argument("policies", nargs="*", help="files, or names of shipped ones; default: all shipped ones")
    parser.add_argument("--write", type=Path, help=f"a page: goes between its {BEGINS} and {ENDS}")
    args = parser.parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    text = cards(args.policies or None)
    if args.write is not None:
        write_into(args.write, text)
    with for_a_reader():
        print(text if args.write is None else f"written into {args.write}")


if __name__ == "__main__":
    sys.exit(main())
