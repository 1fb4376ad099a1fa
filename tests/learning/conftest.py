"""Tiny experts, for every test of what is learned from them."""

import pytest
from helpers.command_line import STAGE1, train


@pytest.fixture(scope="session")
def experts(tmp_path_factory):
    """Folder with two tiny experts, e0.pth and e1.pth, a third of another size and a hyper-policy of stage 1."""
    folder = tmp_path_factory.mktemp("experts")
    for i, more in enumerate([(), (), ("train.params.network.mlp.units=[8]",)]):
        run = train(folder, f"experiment=e{i}", f"seed={i + 1}", "max_iterations=1", *more)
        (run.parent / f"e{i}" / "nn" / "last.pth").rename(folder / f"e{i}.pth")
    train(folder, *STAGE1, "experts=[e0.pth,e1.pth]", "experiment=hyper")
    return folder


@pytest.fixture()
def at_experts(experts, tmp_path):
    """A fresh folder with the same checkpoints; the hyper-policy is stage1.pth."""
    for name in ("e0.pth", "e1.pth", "e2.pth"):
        (tmp_path / name).write_bytes((experts / name).read_bytes())
    (tmp_path / "stage1.pth").write_bytes((experts / "runs" / "hyper" / "nn" / "last.pth").read_bytes())
    return tmp_path
