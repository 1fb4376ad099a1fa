"""The page, driven over its web socket as a browser drives it."""

import contextlib
import time

import numpy as np
import pytest
from helpers.viewing import session, write_box

pytest.importorskip("viser", reason="the page is viser's: pip install 'resdex[viewer]'")
from helpers.page_client import PageClient

from runners.viewer.__main__ import free_port
from runners.viewer.page import Page

PATIENCE = 60.0
"""s"""


class Visit:
    """A page and a client of it in one thread: the page takes a turn, the client reads."""

    def __init__(self):
        self.session = session()
        self.page = Page(self.session, "localhost", free_port("localhost", 8300))
        self.client = PageClient(self.page.port)
        self.until(lambda: "Object" in self.client.labels and "/object" in self.client.nodes)

    def until(self, reached):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.page.turn()
            self.client.read()
            if reached():
                return
        raise AssertionError(f"it never came to that; the panel says {self.client.texts()}")

    def says(self, *words):
        return any(all(word in text for word in words) for text in self.client.texts())

    def close(self):
        self.client.close()
        self.page.close()
        self.session.close()


@pytest.fixture
def visit():
    with contextlib.closing(Visit()) as made:
        yield made


def test_the_scene_follows_the_simulator(visit):
    client = visit.client
    first = np.array(client.nodes["/hand/palm"]["position"])
    visit.until(lambda: np.abs(np.array(client.nodes["/hand/palm"]["position"]) - first).max() > 1e-3)
    assert {"/table", "/goal", "/object", "/hand/thdistal"} <= set(client.nodes)
    assert visit.says("of the episode") and visit.says("reward", "reach")
    client.set("Pause", True)
    visit.until(lambda: visit.says("paused"))
    seconds = visit.session.reading.seconds
    visit.page.turn()
    assert visit.session.reading.seconds == seconds
    client.set("Start again", True)
    visit.until(lambda: visit.session.reading.seconds == 0)


def test_another_object_and_another_source_are_chosen(visit):
    client = visit.client
    assert client.element("Object")["value"] == "box"
    client.set("Category", "mug")
    visit.until(lambda: visit.session.cast.task.objects.names == ["mug"] and not visit.says("preparing"))
    assert client.element("Object")["value"] == "mug"
    client.set("Source", "zoo")
    visit.until(lambda: visit.session.cast.choice.source == "zoo" and not visit.says("preparing"))
    assert client.element("Split")["options"] == ["train", "unseen_object", "unseen_category"]
    assert client.element("Object")["value"] == visit.session.cast.task.objects[0].name


def test_what_is_refused_is_said_and_what_played_plays_on(visit):
    client, before = visit.client, visit.session.cast
    client.set("File", "nowhere.pth")
    client.set("Load the file", True)
    visit.until(lambda: visit.says("refused", "no checkpoint nowhere.pth"))
    assert visit.session.cast is before and client.element("Policy")["value"] == "base_box"
    client.set("Policy", "random")
    visit.until(lambda: visit.session.cast.choice.agent == "random" and not visit.says("refused"))


def test_a_mesh_is_handed_in(visit, tmp_path):
    visit.client.upload("Your own mesh", "own.stl", write_box(tmp_path / "own.stl"))
    visit.until(lambda: visit.session.cast.task.objects.names == ["own.stl"])
    visit.until(lambda: visit.client.element("Source")["value"] == "uploaded")
    longest = lambda: np.ptp(visit.session.cast.task.objects[0].vertices, axis=0).max()  # noqa: E731
    assert longest() == pytest.approx(0.10, abs=1e-3)
    visit.client.set("Its length, cm", 7)
    visit.until(lambda: visit.session.cast.choice.size == 0.07 and not visit.says("preparing"))
    assert longest() == pytest.approx(0.07, abs=1e-3)
    visit.client.upload("Your own mesh", "letter.stl", b"dear reader")
    visit.until(lambda: visit.says("refused", "letter.stl"))
    assert visit.session.cast.task.objects.names == ["own.stl"]
