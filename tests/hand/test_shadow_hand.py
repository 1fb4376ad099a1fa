"""Where the hand's files are found."""

import importlib.util
import shutil

import pytest

from resdex_tasks.hand.shadow_hand import asset_root
from resdex_tasks.utils.errors import UserError


@pytest.fixture()
def without_gymnasium_robotics(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gymnasium_robotics" else real(name))


def test_isaacgymenvs_has_them_too(tmp_path, monkeypatch, request):
    (tmp_path / "isaacgymenvs").mkdir()
    (tmp_path / "isaacgymenvs" / "__init__.py").touch()
    there = tmp_path / "assets" / "mjcf" / "open_ai_assets"
    shutil.copytree(str(asset_root() / "hand"), str(there / "hand"))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert asset_root().resolve() != there  # gymnasium-robotics first
    request.getfixturevalue("without_gymnasium_robotics")
    assert asset_root().resolve() == there


def test_where_nobody_has_them_one_sentence_says_what_to_install(without_gymnasium_robotics):
    with pytest.raises(UserError, match="pip install gymnasium-robotics"):
        asset_root()
