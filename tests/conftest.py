import importlib.util
import os
from pathlib import Path
from typing import Any, Generator

import pytest
from hypothesis import settings

from resdex_tasks.utils.errors import UserError

# a test runs on every core already: more threads of torch's, which is not imported yet, only wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

# how long an example takes says more of the machine than of the code; and what passed once passes everywhere
settings.register_profile("resdex", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)  # HYPOTHESIS_PROFILE=explore: examples that nobody has tried yet
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "resdex"))


NOT_ON_3_8 = {"mujoco.batch": "mujoco", "manifold3d": "manifold3d"}
"""Module that Python 3.8 cannot have -> what an error says that comes of it."""


def _skipping_what_cannot_be_here() -> Generator[None, Any, None]:
    outcome = yield
    error = outcome.excinfo[1] if outcome.excinfo else None
    if isinstance(error, (UserError, ImportError)):  # what is missing; no assertion
        for module, named in NOT_ON_3_8.items():
            if named in str(error) and not _installed(module):
                outcome.force_exception(pytest.skip.Exception(str(error)))


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup():
    yield from _skipping_what_cannot_be_here()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call():
    yield from _skipping_what_cannot_be_here()


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder with real DexGraspNet samples, which may not be distributed with the code: without it the test is skipped.

    The environment variable RESDEX_SAMPLE_DATA names it; otherwise it is looked for beside the repository.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "dexgraspnet_sample"
    folder = Path(os.environ.get("RESDEX_SAMPLE_DATA", str(beside)))
    if not folder.is_dir():
        pytest.skip(f"no DexGraspNet sample at {folder}; RESDEX_SAMPLE_DATA may name another folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Caches of the tests' own instead of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
