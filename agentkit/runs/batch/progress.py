"""The progress of a batch on stderr: a bar, or a line of counts if the extra `cli` is not installed."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from time import monotonic
from typing import Any, TextIO, TypeAlias

ShowProgress: TypeAlias = Callable[[int, int], None]
"""Takes how many inputs ended, and how many of them failed."""


def _ignore(ended: int, failed: int) -> None:
    """Show nothing."""


_TERMINAL_SECONDS, _LOG_SECONDS = 0.1, 5.0  # between two updates


@contextmanager
def progress_shown(wanted: bool | None, total: int | None) -> Generator[ShowProgress, None, None]:  # noqa: FBT001 (it has three values)
    """Show the progress until the block ends; with `wanted=None`, if stderr is a terminal.

    Yields a function to call after every input. It shows the counts at most ten times a second, or once in five seconds
    if stderr is not a terminal.
    """
    terminal = sys.stderr.isatty()
    if not (terminal if wanted is None else wanted):
        yield _ignore
        return
    with _bar(total) if terminal and find_spec("rich") is not None else _lines(sys.stderr, total, terminal) as show:
        counts, due = (0, 0), 0.0

        def update(ended: int, failed: int) -> None:
            nonlocal counts, due
            counts = (ended, failed)
            if (now := monotonic()) >= due:
                due = now + (_TERMINAL_SECONDS if terminal else _LOG_SECONDS)
                show(ended, failed)

        try:
            yield update
        finally:
            show(*counts)


def _counts_text(ended: int, failed: int, total: int | None) -> str:
    of = "" if total is None else f" of {total:,}"
    return f"{ended:,}{of} inputs" + (f", {failed:,} failed" if failed else "")


@contextmanager
def _lines(stderr: TextIO, total: int | None, terminal: bool) -> Generator[ShowProgress, None, None]:  # noqa: FBT001 (as above)
    """Count in one line on a terminal, and in one line after the other elsewhere."""

    def show(ended: int, failed: int) -> None:
        text = _counts_text(ended, failed, total)
        stderr.write(f"\r{text}" if terminal else f"{text}\n")
        stderr.flush()

    try:
        yield show
    finally:
        if terminal:
            stderr.write("\n")


@contextmanager
def _bar(total: int | None) -> Generator[ShowProgress, None, None]:
    console: Any = import_module("rich.console")
    rich: Any = import_module("rich.progress")
    columns = [rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TimeElapsedColumn()]
    if total is not None:
        columns.append(rich.TimeRemainingColumn())
    with rich.Progress(*columns, console=console.Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task(_counts_text(0, 0, total), total=total)

        def show(ended: int, failed: int) -> None:
            bar.update(task, completed=ended, description=_counts_text(ended, failed, total), refresh=True)

        yield show
