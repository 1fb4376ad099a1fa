"""The command and its page, as a person uses them: in a real browser, by its pictures."""

import io
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.browser import PATIENCE, opened
from helpers.viewing import write_box
from PIL import Image

from resdex_tasks.rendering import colours
from runners.viewer.__main__ import free_port

pytestmark = pytest.mark.slow
pytest.importorskip("viser", reason="the page is viser's: pip install 'resdex[viewer]'")


@pytest.fixture
def viewer():
    """`python -m runners.viewer` at work, and the address that it prints."""
    port = free_port("localhost", 8500 + os.getpid() % 1000)
    command = [sys.executable, "-m", "runners.viewer", "checkpoint=hyper_stage2", "objects=zoo", "sim=mujoco"]
    process = subprocess.Popen(
        [*command, "objects.names=[mug-0003]", "sim.numThreads=1", f"port={port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert f"http://localhost:{port}" in line, line + process.stdout.read()
        assert f"ssh -L {port}:localhost:{port}" in process.stdout.readline()
        yield process, f"http://localhost:{port}"
    finally:
        process.kill()
        process.communicate()


def scene_of(page, path) -> np.ndarray:
    """(H, W, 3) uint8: the picture of the scene; a file of it stays for whoever wants to look."""
    page.screenshot(path=str(path))
    with Image.open(io.BytesIO(page.locator("canvas").first.screenshot())) as picture:
        return np.asarray(picture.convert("RGB"))


def share_of(picture: np.ndarray, colour) -> float:
    """The fraction of a picture that has a colour's hue, in light or in shadow: its order of red, green and blue, and a
    third of what lies between the strongest and the weakest of them."""
    channels = picture.reshape(-1, 3).astype(int)
    low, middle, high = (channels[:, i] for i in np.argsort(colour))
    vivid = high - low > 255 * (max(colour) - min(colour)) / 3
    return float(((low < middle) & (middle < high) & vivid).mean())


def steps_on(page, seconds: float) -> float:
    """Play until the episode's time is beyond `seconds`, and pause there; returns that time, s."""
    page.get_by_label("Pause").uncheck(force=True)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        shown = re.search(r"([\d.]+) s of the episode", page.inner_text("body"))
        if shown and float(shown[1]) > seconds:
            page.get_by_label("Pause").check(force=True)
            page.get_by_text("paused").wait_for()
            return float(shown[1])
    raise AssertionError(page.inner_text("body"))


def test_the_hand_lifts_an_object_in_the_browser(viewer, tmp_path):
    process, address = viewer
    with opened(address) as page:
        page.get_by_label("Pause").check(force=True)
        page.get_by_text("paused").wait_for()
        page.get_by_role("button", name="Start again").click()
        page.get_by_text("0.0 s of the episode").wait_for()
        for note in page.locator(".mantine-Notification-closeButton").all():  # that the browser has no graphics card
            note.click(force=True)
        before = scene_of(page, tmp_path / "before.png")
        steps_on(page, 1.0)
        after = scene_of(page, tmp_path / "after.png")
        assert share_of(after, colours.HAND) > 0.01 and share_of(after, colours.OBJECT) > 0.002
        moved = np.abs(after.astype(int) - before).max(axis=2) > 20
        assert 0.01 < moved.mean() < 0.9
        assert "mixture weights" in page.inner_text("body") and "bottle-0035" in page.inner_text("body")

        page.get_by_label("Category", exact=True).click()
        page.get_by_role("option", name="bottle", exact=True).click()
        page.wait_for_function("() => /^bottle-/.test(document.querySelectorAll('input[role=combobox]')[5].value)")
        assert page.get_by_label("Object", exact=True).input_value().startswith("bottle-")
        page.get_by_label("Pause").uncheck(force=True)

        write_box(tmp_path / "own.stl")
        page.locator("input[type=file]").set_input_files(str(tmp_path / "own.stl"))
        page.wait_for_function("() => [...document.querySelectorAll('input')].some(i => i.value === 'own.stl')")
        (tmp_path / "letter.stl").write_text("dear reader")
        page.locator("input[type=file]").set_input_files(str(tmp_path / "letter.stl"))
        page.get_by_text("refused: letter.stl").wait_for()

    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 0
    assert process.stdout.read().strip() == "Ctrl-C ends it"
