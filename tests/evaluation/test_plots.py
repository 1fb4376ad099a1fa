"""Plots of an evaluation and of a training."""

import pytest
from helpers.results import result, write_run
from torch.utils.tensorboard import SummaryWriter

from resdex_tasks.utils.errors import UserError
from runners.evaluation import plots


def test_learning_curve_is_read_from_tensorboard_files(tmp_path):
    write_run(tmp_path, [0.0, 0.25, 0.5])
    run = plots.read_run(tmp_path)
    assert run["steps"].tolist() == [1000, 2000, 3000] and run["minutes"].tolist() == [0, 1, 2]
    assert run["at_end"].tolist() == run["once"].tolist() == [0.0, 0.25, 0.5]


def test_run_without_success_has_no_learning_curve(tmp_path):
    writer = SummaryWriter(str(tmp_path / "summaries"))
    writer.add_scalar("losses/a_loss", 0.0, 1)
    writer.close()
    with pytest.raises(UserError, match="no success curve"):
        plots.read_run(tmp_path)


def test_heat_map_needs_mixture_weights(tmp_path):
    with pytest.raises(ValueError, match="no experts"):
        plots.weights_heat_map(result().summary, tmp_path / "weights.png")
