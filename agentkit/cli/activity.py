"""The sign of life: what a command waits for, and for how long. Only a terminal shows it."""

from collections.abc import Generator
from contextlib import contextmanager
from threading import Event, RLock, Thread
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.text import Text

from agentkit.core.printable import one_line

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SECONDS_OF_A_FRAME = 0.2
_SECONDS_TO_SHOW = 0.3  # what ends before is not worth a flicker
_LONGEST_LABEL = 60
_ERASED = "\r\x1b[2K"
_KEPT = 4_000


def is_animated(console: Console) -> bool:
    """Whether a console is a terminal that can erase a line: no pipe, even with `FORCE_COLOR`."""
    return console.file.isatty() and console.is_interactive and not console.legacy_windows


class Activity:
    """The last line of a terminal while something is waited for, such as `⠙ get_weather 3 s`.

    A thread draws it, so it moves even while a tool blocks the event loop. What prints to the terminal does so within
    `above`. The cursor stays at the beginning of the line, so that others write over it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._waits: dict[str, tuple[str, float]] = {}  # the label and the start, by a key
        self._lock = RLock()
        self._held = 0
        self._is_drawn = False
        self._over = Event()
        self._over.set()

    def begin(self, key: str, label: str) -> None:
        with self._lock:
            self._waits[key] = one_line(label, _LONGEST_LABEL), perf_counter()
            if self._over.is_set() and is_animated(self._console):
                self._over = Event()
                Thread(target=self._redraw, args=(self._over,), daemon=True).start()

    def end(self, key: str) -> None:
        with self.above():
            self._waits.pop(key, None)
            if not self._waits:
                self._over.set()

    def clear(self) -> None:
        with self.above():
            self._waits.clear()
            self._over.set()

    @contextmanager
    def above(self) -> Generator[None]:
        """Erase the line, and draw none until the end of the block."""
        with self._lock:
            if self._is_drawn:
                self._console.file.write(_ERASED)
                self._console.file.flush()
                self._is_drawn = False
            yield

    @contextmanager
    def held(self) -> Generator[None]:
        """Show nothing while somebody is asked."""
        with self.above():
            self._held += 1
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1

    def draw(self) -> None:
        """Draw the line as it is now."""
        now, waits = perf_counter(), list(self._waits.values())
        seconds = now - min([start for _, start in waits], default=now)
        if self._held or seconds < _SECONDS_TO_SHOW:
            return
        frame = _FRAMES[int(now / _SECONDS_OF_A_FRAME) % len(_FRAMES)]
        labels = ", ".join([label for label, _ in waits])
        with self.above():
            line = Text(f"{frame} {labels} {seconds:.0f} s", "dim")
            line.truncate(self._console.width - 1, overflow="ellipsis")
            self._console.print(line, end="\r", soft_wrap=True)
            self._is_drawn = True

    def _redraw(self, over: Event) -> None:
        while not over.wait(_SECONDS_OF_A_FRAME):
            with self._lock:
                if not over.is_set():
                    self.draw()


class ProgramOutput:
    """Takes the place of stdout: what tools and observers print goes to stderr, above the sign of life.

    `taken` tells which of it came since the last event: an agent's own observer may show a tool call already.
    """

    def __init__(self, console: Console, activity: Activity) -> None:
        self._activity = activity
        self._file = console.file
        self._recent = ""

    def write(self, text: str, /) -> int:
        self._recent = (self._recent + text)[-_KEPT:]
        with self._activity.above():
            return self._file.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def taken(self) -> str:
        """Return what was printed since the last call."""
        recent, self._recent = self._recent, ""
        return recent
