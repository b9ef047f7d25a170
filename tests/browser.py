"""A real browser for tests: Debian's Chromium without a window, driven over its debugging protocol.

    with browser() as page:
        page.goto("http://127.0.0.1:8000/")
        page.click("#send")
        page.wait_for("document.querySelector('#log').textContent.includes('Hello')")

Commands and events go through a pipe, so no package is needed. Tests with a browser have the mark `browser`; where no
Chromium is installed, they are not selected (see `tests/conftest.py`).
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60.0
"""The timeout in seconds for everything that waits for the browser; the machine may be busy."""

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-dev-shm-usage", "--force-color-profile=srgb", "--remote-debugging-pipe", "about:blank"),
)
# Chromium reads commands from the descriptor 3 and writes to 4.
_WITH_PIPES = """
import fcntl, os, sys
read, write = [fcntl.fcntl(int(text), fcntl.F_DUPFD, 10) for text in sys.argv[1:3]]
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "Backspace": (8, ""), " ": (32, " ")} | {
    name: (code, "")
    for code, name in enumerate(
        ("PageUp", "PageDown", "End", "Home", "ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"), 33
    )
}


class Page:
    """The one page of a browser.

    `problems` are what went wrong in it: uncaught exceptions, errors on the console, refusals of the content security
    policy, and requests that failed.
    """

    def __init__(self, read: int, write: int) -> None:
        self.problems: list[str] = []
        self._read, self._write = read, write
        self._buffer = b""
        self._number = 0
        self._session = ""
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Performance.enable", timeDomain="threadTicks")
        self.set_width(1100)

    def send(self, method: str, **params: Any) -> Json:
        """Send a command of the protocol, and return its result."""
        self._number += 1
        command: Json = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                result: Json = message["result"]
                return result

    def _receive(self) -> Json:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], PATIENCE)[0], "the browser does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser is gone"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: Json = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, params: Json) -> None:
        if event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.problems.append(" ".join(str(argument.get("value")) for argument in params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())

    def goto(self, url: str | Path) -> None:
        """Open an address, or a file, and wait until it is loaded."""
        address = url.absolute().as_uri() if isinstance(url, Path) else url
        answer = self.send("Page.navigate", url=address)
        assert "errorText" not in answer, answer
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, of a promise what it comes to."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        ends = time.monotonic() + PATIENCE
        while True:
            if value := self.evaluate(expression):
                return value
            assert time.monotonic() < ends, f"{expression} did not come true: {self.problems}"
            self.evaluate("new Promise(requestAnimationFrame)")

    def text(self, selector: str = "body") -> str:
        """Return the visible text of an element."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def seconds(self) -> float:
        """Return how long the page has kept its thread busy since it was opened, in seconds of the processor."""
        metrics = self.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "ThreadTime"))

    def click(self, selector: str) -> None:
        """Click on the middle of the first element that a CSS selector finds."""
        found = json.dumps(selector)
        self.wait_for(f"document.querySelector({found}) !== null")
        at = self.evaluate(
            f"(() => {{ const e = document.querySelector({found}); e.scrollIntoView({{block: 'nearest'}});"
            "const b = e.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.send("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], **button)

    def type(self, text: str) -> None:
        """Insert a text where the focus is."""
        self.send("Input.insertText", text=text)

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key, by its name as `KeyboardEvent.key` has it; modifiers: 1 Alt, 2 Ctrl, 4 Meta, 8 Shift."""
        code, text = _KEYS.get(key, (ord(key.upper()[0]), key))
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def set_width(self, width: int, height: int = 800, *, dark: bool = False) -> None:
        """Set the size of the window, and whether the person likes it dark. Up to 600 pixels, it is a phone."""
        phone = width <= 600
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.send("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the window as PNG."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        path.write_bytes(b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser() -> Generator[Page]:
    """Start a browser with a profile of its own, and end it."""
    assert EXECUTABLE, "there is no Chromium: apt-get install chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        commands, to_browser = os.pipe()
        from_browser, events = os.pipe()
        command = [sys.executable, "-S", "-c", _WITH_PIPES, str(commands), str(events), EXECUTABLE, *_OPTIONS]
        with (Path(folder) / "log").open("wb") as log:
            program = subprocess.Popen(  # noqa: S603 (the tests' own)
                [*command, f"--user-data-dir={folder}/profile"], stdout=log, stderr=log, pass_fds=(commands, events)
            )
        os.close(commands)
        os.close(events)
        try:
            page = Page(from_browser, to_browser)
            yield page
            page._session = ""
            page.send("Browser.close")
        finally:
            os.close(to_browser)
            os.close(from_browser)
            try:
                program.wait(PATIENCE / 6)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
