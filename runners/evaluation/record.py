"""Writes into a policy's file how good an evaluation found it to be, for its card (`runners.policies.cards`).

python -m runners.evaluation.record runs/evaluation_vision/evaluation.json checkpoints/vision.pth
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence, Tuple

from resdex_tasks.utils.errors import UserError, exit_status, one_line
from resdex_tasks.utils.files import read_json
from runners.evaluation.summary import EvaluationResult, SuccessRow
from runners.policies.checkpoint import Checkpoint, find_checkpoint
from runners.policies.records import Measured, MeasuredRow


def record(evaluation: Path, policy: str) -> Measured:
    """Put an evaluation.json into the file of the policy that it is of; its weights stay as they are.

    Raises:
        UserError: a file cannot be read or written, or the evaluation is of other weights.
    """
    (measured, policy_id), path = _read(evaluation), find_checkpoint(policy)
    checkpoint = Checkpoint.read(path)
    if policy_id != checkpoint.id:
        theirs = f"the policy {policy_id}" if policy_id else "a policy that it does not name"
        raise UserError(f"{evaluation} is of {theirs}, and {path} holds {checkpoint.id}: evaluate it")
    replace(checkpoint, measured=measured).write(path)
    return measured


def measured_of(result: EvaluationResult) -> Measured:
    """What a policy's file keeps of an evaluation."""
    objects = result.summary.objects
    counts = {row.name: sum(obj.split == row.name for obj in objects) for row in result.summary.splits}
    rows = {row.name: _row(row, counts[row.name]) for row in result.summary.splits}
    return Measured(
        command=result.command,
        seed=result.seed,
        machine=result.machine,
        versions=result.versions,
        object_source=result.settings["objects"],
        rows={**rows, "all": _row(result.summary.all, len(objects))},
    )


def _row(row: SuccessRow, objects: int) -> MeasuredRow:
    return MeasuredRow(row.episodes, objects, row.success_at_end, row.success_once, row.quality)


def _read(path: Path) -> Tuple[Measured, str]:
    """What an evaluation.json says, and of which weights."""
    try:
        result = EvaluationResult.from_json(read_json(path))
        return measured_of(result), result.policy_id
    except FileNotFoundError:
        raise UserError(f"no file {path}; python train.py test=True writes an evaluation.json") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not an evaluation.json: {one_line(error)}") from error


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command-line entry. Returns the exit status: 0, or 2 after bad input."""
    parser = argparse.ArgumentParser(prog="python -m runners.evaluation.record", description=__doc__.split("\n\n")[0])
    parser.add_argument("evaluation", type=Path, help="evaluation.json")
    parser.add_argument("policy", help="the file of the policy, or the name of a shipped one")
    args = parser.parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    row = record(args.evaluation, args.policy).rows["all"]
    print(f"noted in {args.policy}: at the end {row.success_at_end.text(100)} %, {row.episodes} episodes")


if __name__ == "__main__":
    sys.exit(main())
