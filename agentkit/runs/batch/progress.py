"""How far a batch is, on stderr: a bar, or a line that counts where the extra `cli` is not installed."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from time import monotonic
from typing import Any, TextIO, TypeAlias

Tell: TypeAlias = Callable[[int, int], None]
"""Takes how many inputs are at their end, and how many of them failed."""

_OFTEN = 0.1
_SELDOM = 5.0


@contextmanager
def shown(wanted: bool | None, total: int | None) -> Generator[Tell, None, None]:  # noqa: FBT001 (it has three values)
    """Show how far a batch is, until the block is left.

    Args:
        wanted: Whether to show it; `None` where stderr is a terminal.
        total: How many inputs there are, if that is known.

    Returns:
        What is to be told, as often as one likes: it is shown ten times a second at most, and where stderr is no
        terminal, once in five seconds.
    """
    terminal = sys.stderr.isatty()
    if not (terminal if wanted is None else wanted):
        yield _untold
        return
    with _bar(total) if terminal and find_spec("rich") is not None else _lines(sys.stderr, total, terminal) as show:
        counts, due = (0, 0), 0.0

        def tell(ended: int, failed: int) -> None:
            nonlocal counts, due
            counts = (ended, failed)
            if (now := monotonic()) >= due:
                due = now + (_OFTEN if terminal else _SELDOM)
                show(ended, failed)

        try:
            yield tell
        finally:
            show(*counts)


def _untold(_ended: int, _failed: int) -> None:
    """Tell nobody."""


def _said(ended: int, failed: int, total: int | None) -> str:
    of = "" if total is None else f" of {total:,}"
    return f"{ended:,}{of} inputs" + (f", {failed:,} failed" if failed else "")


@contextmanager
def _lines(stderr: TextIO, total: int | None, terminal: bool) -> Generator[Tell, None, None]:  # noqa: FBT001 (as above)
    """Count in one line on a terminal, and in one after the other elsewhere."""

    def show(ended: int, failed: int) -> None:
        stderr.write(f"\r{_said(ended, failed, total)}" if terminal else f"{_said(ended, failed, total)}\n")
        stderr.flush()

    try:
        yield show
    finally:
        if terminal:
            stderr.write("\n")


@contextmanager
def _bar(total: int | None) -> Generator[Tell, None, None]:
    console: Any = import_module("rich.console")
    rich: Any = import_module("rich.progress")
    columns = [rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TimeElapsedColumn()]
    if total is not None:
        columns.append(rich.TimeRemainingColumn())
    with rich.Progress(*columns, console=console.Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task(_said(0, 0, total), total=total)

        def show(ended: int, failed: int) -> None:
            bar.update(task, completed=ended, description=_said(ended, failed, total), refresh=True)

        yield show
