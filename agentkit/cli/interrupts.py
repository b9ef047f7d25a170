"""Ctrl-C that takes effect while the event loop is idle."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def wake_on_ctrl_c(handler: Callable[[int, FrameType | None], None] | None = None) -> Generator[None]:
    """Make Ctrl-C wake the event loop at once, and call the handler, or the current one.

    Python runs a signal handler between two of its own instructions. If the signal arrives just before the loop starts
    to wait, the handler would run only when the wait ends. `add_signal_handler` makes the signal write to a socket that
    the loop waits for. The handler itself stays Python's, so that it also runs while the loop is busy.
    """
    before = signal.getsignal(signal.SIGINT)
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # on Windows, the loop always wakes up
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the handler does the work
    signal.signal(signal.SIGINT, handler or before)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
