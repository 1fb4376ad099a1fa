"""The page in the browser: a viser server that draws a session and hands it what a person chooses."""

import contextlib
import html
import io
import queue
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Callable, List, Optional, Sequence

import viser

from resdex_tasks.objects.meshes.sizes import DEFAULT_SIZE
from resdex_tasks.sims.base import CONTROL_HZ
from resdex_tasks.utils.errors import UserError, one_line
from resdex_tasks.utils.threads import simulator_first
from runners.viewer.frame import frame_of
from runners.viewer.pace import Pace
from runners.viewer.readout import BAD, PLAIN, bars_html, block, reading_html
from runners.viewer.scene import Scene
from runners.viewer.session import UPLOADED, Cast, Choice, Session

FRAMES_PER_SECOND, READINGS_PER_SECOND = 30, 6
SLOW_MOTION = 0.1
"""Times real time."""


class Page:
    """A page that shows a session to everybody who opens it.

    What they do is queued, and obeyed between two steps by the thread that plays. What takes its time, such as another
    policy or another object, is prepared beside it, so that the hand never stops.

    Args:
        session: what is played; nobody else may use it.
        host, port: where the page is served.
    """

    def __init__(self, session: Session, host: str, port: int) -> None:
        self.session, self.pace = session, Pace(CONTROL_HZ)
        with contextlib.redirect_stdout(io.StringIO()):  # viser's own banner
            self._server = viser.ViserServer(host, port, label="ResDex", verbose=False)
        self._server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
        self._server.gui.main_panel.dock_right()
        self._scene = Scene(self._server)
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._worker = ThreadPoolExecutor(1)
        self._prepared: List[Future[Cast]] = []
        self._next_frame = self._next_reading = 0.0
        self._add_controls()
        self._wanted = session.cast.choice
        self._show_choice(self._wanted)
        self._scene.show(session.cast)

    @property
    def port(self) -> int:
        """Where it is served."""
        return self._server.get_port()

    def close(self) -> None:
        """Stop serving, after what is being prepared."""
        for waiting in self._prepared:
            waiting.cancel()
        self._worker.shutdown(wait=True)
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    # What the page has

    def _add_controls(self) -> None:
        gui = self._server.gui
        self._message = gui.add_html("")
        with gui.add_folder("Play"):
            self._restart = gui.add_button("Start again")
            self._paused = gui.add_checkbox("Pause", False)
            self._slow = gui.add_checkbox("Slow motion", False, hint=f"{SLOW_MOTION:g} times real time")
            self._speed = gui.add_slider("Speed", 0.1, 4.0, 0.1, 1.0, hint="times real time")
            self._readout = gui.add_html("")
            self._weights = gui.add_html("")
            self._terms = gui.add_html("")
        with gui.add_folder("Policy"):
            self._agent = gui.add_dropdown("Policy", self.session.agents())
            self._file = gui.add_text("File", "", hint="path of another checkpoint")
            self._load = gui.add_button("Load the file")
        with gui.add_folder("Object"):
            self._source = gui.add_dropdown("Source", [""])
            self._split = gui.add_dropdown("Split", [""])
            self._category = gui.add_dropdown("Category", [""])
            self._object = gui.add_dropdown("Object", [""])
            self._upload = gui.add_upload_button("Your own mesh", mime_type=".obj,.stl,.ply,.glb")
            self._length = gui.add_number(
                "Its length, cm", 100 * DEFAULT_SIZE, min=0, max=100, step=0.5, hint="0: its file is in metres"
            )
        with gui.add_folder("Show"):
            self._forces = gui.add_checkbox("Contact forces", True, hint="on the fingertips")
            self._cloud = gui.add_checkbox("Point cloud", True, hint="what a vision policy sees")

        ask = self._asked.put
        self._restart.on_click(lambda _: ask(self.session.restart))
        self._load.on_click(lambda _: ask(self._choose_file))
        self._agent.on_update(lambda _: ask(self._choose_agent))
        for menu in (self._source, self._split, self._category, self._object):
            menu.on_update(lambda _: ask(self._choose_object))
        self._length.on_update(lambda _: ask(self._choose_length))
        self._upload.on_upload(lambda event: ask(lambda: self._take_mesh(event.target.value)))

    def _show_choice(self, choice: Choice) -> None:
        """Make the menus say it. Their own events, which follow, ask for what is wanted already."""
        session, obj = self.session, choice.object
        listed = session.listed(choice.source)
        in_split = [other for other in listed if other.split == obj.split]
        names = [other.name for other in in_split if other.category == obj.category]
        _set(self._agent, session.agents(), choice.agent)
        _set(self._source, session.sources(), choice.source)
        _set(self._split, [other.split for other in listed], obj.split)
        _set(self._category, sorted(other.category for other in in_split), obj.category)
        _set(self._object, names, obj.name)
        if choice.source == UPLOADED:
            _put(self._length, round(100 * (choice.size or 0.0), 2))

    # What a person chooses

    def _choose_file(self) -> None:
        if self._file.value.strip():
            self._want(replace(self._wanted, agent=self._file.value.strip()), again=True)

    def _choose_agent(self) -> None:
        self._want(replace(self._wanted, agent=self._agent.value))

    def _choose_object(self) -> None:
        """The object that the menus name; where a menu leaves one below it without an entry, the first."""
        try:
            found = self.session.listed(self._source.value)
        except UserError as error:
            return self._refuse(str(error))
        for menu, of in ((self._split, "split"), (self._category, "category"), (self._object, "name")):
            found = [obj for obj in found if getattr(obj, of) == menu.value] or [
                obj for obj in found if getattr(obj, of) == getattr(found[0], of)
            ]
        wanted = replace(self._wanted, source=self._source.value, object=found[0])
        self._want(replace(wanted, size=self._size) if wanted.source == UPLOADED else wanted)

    @property
    def _size(self) -> Optional[float]:
        """Of uploaded meshes, see `Choice`."""
        return round(self._length.value / 100, 4) or None

    def _choose_length(self) -> None:
        if self._wanted.source == UPLOADED:
            self._want(replace(self._wanted, size=self._size))

    def _want(self, choice: Choice, again: bool = False) -> None:
        if choice != self._wanted or again:
            self._wanted = choice
            self._show_choice(choice)
            self._prepare(f"{choice.agent} with {choice.object.name}", lambda: self.session.prepare(choice))

    def _take_mesh(self, file: viser.UploadedFile) -> None:
        self._prepare(file.name, lambda: self.session.upload(file.name, file.content, self._size))

    def _prepare(self, what: str, cast: Callable[[], Cast]) -> None:
        self._say(f"preparing {what} ...", PLAIN)
        self._prepared.append(self._worker.submit(cast))

    def _take_prepared(self) -> None:
        while self._prepared and self._prepared[0].done():
            prepared = self._prepared.pop(0)
            try:
                self.session.take(prepared.result())
            except UserError as error:
                self._refuse(str(error))
                continue
            except Exception as error:  # of a file that nobody has tried yet: what plays shall play on
                traceback.print_exc()
                self._refuse(f"{one_line(error)} (the terminal has more)")
                continue
            self._scene.show(self.session.cast)
            if not self._prepared:
                self._settle()
                self._say("", PLAIN)

    def _refuse(self, sentence: str) -> None:
        if not self._prepared:
            self._settle()
        self._say(f"refused: {sentence}", BAD)

    def _settle(self) -> None:
        self._wanted = self.session.cast.choice
        self._show_choice(self._wanted)

    def _say(self, text: str, colour: str) -> None:
        self._message.content = block(f'<b style="color:{colour}">{html.escape(text)}</b>') if text else ""

    # Playing

    def run(self) -> None:
        """Play until the process is interrupted."""
        with simulator_first():
            while True:
                self.turn()

    def turn(self) -> None:
        """Do what was asked, one control step unless it pauses, and show it when it is time to."""
        while not self._asked.empty():
            self._asked.get()()
        self._take_prepared()
        if not self._paused.value:
            self.session.step()
        self._draw()
        self.pace.speed = SLOW_MOTION if self._slow.value else self._speed.value
        self.pace.wait()

    def _draw(self) -> None:
        now = time.monotonic()
        if now >= self._next_frame:
            self._next_frame = now + 1 / FRAMES_PER_SECOND
            frame = frame_of(self.session.cast.task)
            self._scene.draw(frame, self.session.reading.success, self._forces.value, self._cloud.value)
        if now >= self._next_reading:
            self._next_reading = now + 1 / READINGS_PER_SECOND
            reading, rate = self.session.reading, None if self._paused.value else self.pace.rate
            self._readout.content = reading_html(reading, self.session.score, rate)
            self._weights.content = bars_html("mixture weights", reading.weights)
            self._terms.content = bars_html("reward", reading.terms)


def _set(menu: Any, options: Sequence[str], value: str) -> None:
    """Entries and value of a dropdown menu."""
    menu.options = tuple(dict.fromkeys([*options, value]))
    _put(menu, value)


def _put(handle: Any, value: Any) -> None:
    """The value of what a person may change, which viser types as read-only."""
    handle.value = value
