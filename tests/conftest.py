import os
from pathlib import Path

import pytest


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
