"""The functions that the peers make tools of, and a count of how they were called."""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

Function = Callable[..., Any]

SECONDS = 0.05
"""How long `work` takes."""


@dataclass
class Window:
    """An area on a map."""

    north: float
    west: float


class Calls:
    """Counts the calls of all tools, so that a run which left some out is noticed.

    Reading the processor's clock may take longer than a turn does, so it is read at some calls only.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.marks: Collection[int] = ()
        self.clock: dict[int, float] = {}

    def begin(self, marks: Collection[int] = ()) -> None:
        """Forget what was counted; read the clock at these calls."""
        self.count, self.total, self.marks, self.clock = 0, 0, marks, {}

    def add(self, value: int) -> None:
        """Count one."""
        if self.count in self.marks:
            self.clock[self.count] = time.process_time()
        self.count += 1
        self.total += value


CALLS = Calls()


def adding(*, sync: bool = False) -> Function:
    """Make a quick tool."""

    async def add(a: int, b: int) -> int:
        """Add two integers.

        Args:
            a: The first.
            b: The second.
        """
        CALLS.add(a + b)
        return a + b

    def add_sync(a: int, b: int) -> int:
        """Add two integers.

        Args:
            a: The first.
            b: The second.
        """
        CALLS.add(a + b)
        return a + b

    add_sync.__name__ = add_sync.__qualname__ = "add"
    return add_sync if sync else add


def saving() -> Function:
    """Make a tool that takes a long text."""

    async def save(text: str) -> str:
        """Save a text.

        Args:
            text: The text.
        """
        CALLS.add(len(text))
        return "saved"

    return save


def working(*, sync: bool) -> Function:
    """Make a tool that waits."""

    def work(i: int) -> int:
        """Do a slow job.

        Args:
            i: Its number.
        """
        time.sleep(SECONDS)
        CALLS.add(i)
        return i

    async def work_async(i: int) -> int:
        """Do a slow job.

        Args:
            i: Its number.
        """
        await asyncio.sleep(SECONDS)
        CALLS.add(i)
        return i

    work_async.__name__ = work_async.__qualname__ = "work"
    return work if sync else work_async


_SOURCES = (
    '''
async def find_{i}(query: str, limit: int = {i}, order: Literal["new", "old"] = "new") -> str:
    """Find documents of kind {i} that match a query.

    The best match comes first.

    Args:
        query: What to look for.
        limit: How many to give.
        order: Which come first.
    """
    return query
''',
    '''
async def paint_{i}(area: Window, colours: list[str], width: float | None = None, fill: bool = False) -> str:
    """Paint an area of map {i}.

    Args:
        area: Its corner.
        colours: The colours to use.
        width: How wide the lines are.
        fill: Whether to fill it.
    """
    return str(area)
''',
    '''
async def note_{i}(text: str, about: str | None = None) -> str:
    """Write note {i} down.

    Args:
        text: What to write.
        about: What it is about.
    """
    return text
''',
)


def generated(number: int) -> list[Function]:
    """Make many different functions, as a large application has them."""
    scope: dict[str, Any] = {"Literal": Literal, "Window": Window, "__name__": __name__}
    for i in range(number):
        exec(_SOURCES[i % len(_SOURCES)].format(i=i), scope)  # noqa: S102 (the sources stand above)
    return [value for name, value in scope.items() if name.startswith(("find_", "paint_", "note_"))]
