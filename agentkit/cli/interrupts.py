"""Ctrl-C, heard while nothing else happens."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], None]


@contextmanager
def told_of_ctrl_c(handler: Handler | None = None) -> Generator[None]:
    """Have Ctrl-C wake the event loop at once, and call a function.

    Python runs a handler between two of its own instructions. A signal that comes after the last one before the loop
    begins to wait is therefore heard when the wait ends, unless the signal itself writes to what the loop waits for,
    as it does where the loop knows of it. The handler stays one of Python's, so that it is called in a busy loop too.

    Args:
        handler: What is called, in the place of what is called now.
    """
    before = signal.getsignal(signal.SIGINT)
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # Windows, whose loops always listen
        loop.add_signal_handler(signal.SIGINT, _heard)
    signal.signal(signal.SIGINT, handler or before)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


def _heard() -> None:
    """Do no more: the handler has done it."""
