"""What is said while episodes run."""

import torch
from helpers.scripted import DIVERGES, DROPS, MISSES, SUCCEEDS, Still, scripted_task

from runners.evaluation.run import evaluate


def test_without_a_terminal_lines_report_the_progress(monkeypatch, capsys):
    monkeypatch.setattr("runners.evaluation.progress.LINE_INTERVAL", -1.0)
    evaluate(scripted_task(2), Still(), torch.tensor([SUCCEEDS, DROPS, MISSES, DIVERGES]), seed=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("episode 4/4: success once 0.50, at end 0.25, 0 min left")
    done = [int(line.split()[1].split("/")[0]) for line in lines]
    assert done == sorted(done) and len(set(done)) > 2
