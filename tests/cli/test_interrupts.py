"""Ctrl-C, heard while nothing else happens."""

import asyncio
import signal

import anyio
import pytest

from agentkit.cli.interrupts import wake_on_ctrl_c


def wakes() -> bool:
    """Say whether signals write to what an event loop waits for."""
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    return descriptor != -1


def test_the_loop_is_woken_and_the_handler_called() -> None:
    heard: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    async def go() -> None:
        within = signal.getsignal(signal.SIGINT)
        with wake_on_ctrl_c(lambda number, _: heard.append(number)):
            assert wakes()
            signal.raise_signal(signal.SIGINT)
            assert heard == [signal.SIGINT]
            await anyio.wait_all_tasks_blocked()  # what was written is read
        assert not wakes()
        assert signal.getsignal(signal.SIGINT) is within

    anyio.run(go)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_called_now_is_called() -> None:
    """The handler of the runner cancels the task; Ctrl-C ends the run as it does without."""

    async def go() -> None:
        with wake_on_ctrl_c():
            assert wakes()
            signal.raise_signal(signal.SIGINT)
            await anyio.sleep_forever()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            anyio.run(go)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_loop_that_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []

    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def go() -> None:
        loop = asyncio.get_running_loop()
        for name in ("add_signal_handler", "remove_signal_handler"):
            monkeypatch.setattr(loop, name, refuse)
        with wake_on_ctrl_c(lambda number, _: heard.append(number)):
            signal.raise_signal(signal.SIGINT)

    anyio.run(go)
    assert heard == [signal.SIGINT]
