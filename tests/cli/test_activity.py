import io
import threading

import pytest
from rich.console import Console

from agentkit.cli import activity as activities
from agentkit.cli.activity import Activity, ProgramOutput, is_animated


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 10.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that a test sets, and no drawing by itself."""
    clock = Clock()
    monkeypatch.setattr(activities, "perf_counter", clock)

    def wait(_: Activity, over: threading.Event) -> None:
        over.wait()

    monkeypatch.setattr(Activity, "_redraw", wait)
    return clock


def console(file: io.StringIO, width: int = 40) -> Console:
    return Console(file=file, force_terminal=True, width=width, color_system=None, legacy_windows=False)


def test_the_line_says_what_is_waited_for_and_how_long(clock: Clock) -> None:
    screen = Screen()
    activity = Activity(console(screen))
    activity.draw()
    activity.begin("1", "get\x1b_weather")
    activity.draw()
    assert screen.getvalue() == ""  # nothing takes long yet
    clock.now += 3
    activity.begin("2", "book_table")
    activity.draw()
    assert screen.getvalue() == "⠴ get\\u001b_weather, book_table 3 s\r"
    activity.end("1")
    assert screen.getvalue().endswith("s\r\r\x1b[2K")
    clock.now += 1
    with activity.held():
        activity.draw()
    assert screen.getvalue().endswith("\x1b[2K")
    activity.draw()
    assert screen.getvalue().endswith("book_table 1 s\r")
    activity.end("2")
    activity.end("2")
    activity.begin("3", "x" * 99)
    clock.now += 1
    activity.draw()
    assert screen.getvalue().endswith("…\r")
    assert len(screen.getvalue().rpartition("\x1b[2K")[2]) == 40
    activity.clear()


def test_a_thread_draws_it_until_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities, "_SECONDS_OF_A_FRAME", 0.001)
    monkeypatch.setattr(activities, "_SECONDS_TO_SHOW", 0)
    drawn, screen = threading.Event(), Screen()
    activity = Activity(console(screen))
    draw = activity.draw

    def noted() -> None:
        draw()
        drawn.set()

    monkeypatch.setattr(activity, "draw", noted)
    activity.begin("1", "model")
    assert drawn.wait(60)
    others = [thread for thread in threading.enumerate() if "(_redraw)" in thread.name]
    activity.clear()
    for thread in others:
        thread.join()
    assert "model 0 s" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[2K")


def test_what_ended_meanwhile_is_not_drawn() -> None:
    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            over = self.is_set()
            self.set()
            return over

    screen = Screen()
    Activity(console(screen))._redraw(Ended())
    assert screen.getvalue() == ""


def test_a_pipe_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    assert not is_animated(console(pipe))
    Activity(console(pipe)).begin("1", "model")
    assert pipe.getvalue() == ""
    monkeypatch.setenv("TERM", "dumb")
    assert not is_animated(console(Screen()))


def test_what_the_program_prints_stands_above(clock: Clock) -> None:
    screen = Screen()
    activity = Activity(console(screen))
    printed = ProgramOutput(activity._console, activity)
    activity.begin("1", "model")
    clock.now += 2
    activity.draw()
    printed.write("Hello\n")
    assert screen.getvalue() == "⠋ model 2 s\r\r\x1b[2KHello\n"
    assert (printed.taken(), printed.taken()) == ("Hello\n", "")
    assert printed.isatty()
    activity.clear()
