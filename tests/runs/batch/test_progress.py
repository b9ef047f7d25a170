import io
import sys

import pytest

from agentkit.runs.batch import progress
from agentkit.runs.batch.progress import progress_shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def counted(clock: list[float], wanted: bool | None, total: int | None, seconds: float = 0.01) -> None:
    with progress_shown(wanted, total) as tell:
        for ended in range(1, 101):
            tell(ended, ended // 50)
            clock[0] += seconds


def test_nothing_is_shown_in_a_pipe_unless_asked(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    counted(clock, None, 100)
    assert pipe.getvalue() == ""
    counted(clock, True, 100, seconds=0.11)
    assert pipe.getvalue().splitlines() == [
        "1 of 100 inputs",
        "47 of 100 inputs",
        "93 of 100 inputs, 1 failed",
        "100 of 100 inputs, 2 failed",
    ]


def test_a_terminal_without_rich_has_a_line_that_counts(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    monkeypatch.setattr(progress, "find_spec", dict[str, None]().get)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    counted(clock, False, None)
    assert terminal.getvalue() == ""
    counted(clock, None, None)
    shown_lines = terminal.getvalue().split("\r")
    assert shown_lines[-1] == "100 inputs, 2 failed\n"
    assert 10 <= len(shown_lines) <= 13  # ten times a second, and at the end


@pytest.mark.parametrize(("total", "said"), [(None, "100 inputs, 2 failed"), (100, "100 of 100 inputs, 2 failed")])
def test_a_terminal_has_a_bar(
    total: int | None, said: str, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    counted(clock, None, total)
    assert said in terminal.getvalue()
    assert "━" in terminal.getvalue()
    assert terminal.getvalue().count(" inputs") <= 14
