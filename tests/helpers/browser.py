"""A real browser without a screen: Chromium as Qt's wheel brings it along, or the system's own, driven by Playwright.

Run as a program, it is a window of Qt's that shows one page: `python browser.py URL WIDTH HEIGHT`.
"""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from typing import Any, Iterator, Tuple

import pytest

SYSTEMS_OWN = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SOFTWARE_GRAPHICS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
PATIENCE = 120.0
"""s: without a graphics card and beside other tests, a page takes its time."""


@contextlib.contextmanager
def opened(url: str, size: Tuple[int, int] = (900, 560)) -> Iterator[Any]:
    """A Playwright page that shows `url`; skips the test where there is no browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="drives the browser: pip install playwright")
    own = next(filter(None, map(shutil.which, SYSTEMS_OWN)), None)
    qt = importlib.util.find_spec("PySide6") and importlib.util.find_spec("PySide6.QtWebEngineWidgets")
    if not (qt or own):
        pytest.skip("no browser: pip install pyside6-webengine brings one along, and so does the system's chromium")
    with playwright.sync_playwright() as driver, contextlib.ExitStack() as stack:
        if qt:
            page = stack.enter_context(_in_qt(driver.chromium, url, size))
        else:
            browser = driver.chromium.launch(executable_path=own, args=list(SOFTWARE_GRAPHICS))
            stack.callback(browser.close)
            page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(url)
        yield page


@contextlib.contextmanager
def _in_qt(chromium: Any, url: str, size: Tuple[int, int]) -> Iterator[Any]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, __file__, "about:blank", *map(str, size)],
        env={
            **os.environ,
            "QT_QPA_PLATFORM": "offscreen",
            "QTWEBENGINE_DISABLE_SANDBOX": "1",
            "QTWEBENGINE_REMOTE_DEBUGGING": f"127.0.0.1:{port}",
            "QTWEBENGINE_CHROMIUM_FLAGS": " ".join(SOFTWARE_GRAPHICS),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield _connected(chromium, port, process).contexts[0].pages[0]
    finally:
        process.kill()
        process.communicate()


def _connected(chromium: Any, port: int, process: "subprocess.Popen[bytes]") -> Any:
    """Playwright's browser, as soon as Qt's listens; skips the test where Qt's cannot run."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return chromium.connect_over_cdp(f"http://127.0.0.1:{port}", no_defaults=True, timeout=1000 * PATIENCE)
        time.sleep(0.2)
    process.kill()
    last = process.communicate()[1].decode(errors="replace").strip().splitlines()[-1:]
    return pytest.skip(f"Qt's browser does not start here: {' '.join(last)}")


def _show(url: str, width: int, height: int) -> None:
    from PySide6.QtCore import QUrl
    from PySide6.QtWebEngineWidgets import QWebEngineView
    from PySide6.QtWidgets import QApplication

    application = QApplication([])
    view = QWebEngineView()
    view.resize(width, height)
    view.load(QUrl(url))
    view.show()
    application.exec()


if __name__ == "__main__":
    _show(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
