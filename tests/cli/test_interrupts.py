import asyncio
import signal

import anyio
import pytest

from agentkit.cli.interrupts import wake_on_ctrl_c


def wakes() -> bool:
    """Whether signals write to a socket that the event loop waits for."""
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    return descriptor != -1


def test_the_loop_is_woken_and_the_handler_called() -> None:
    signals: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    async def go() -> None:
        within = signal.getsignal(signal.SIGINT)
        with wake_on_ctrl_c(lambda number, _: signals.append(number)):
            assert wakes()
            signal.raise_signal(signal.SIGINT)
            assert signals == [signal.SIGINT]
            await anyio.wait_all_tasks_blocked()  # the loop reads what the signal wrote
        assert not wakes()
        assert signal.getsignal(signal.SIGINT) is within

    anyio.run(go)
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_handler_the_runner_cancels_the_task() -> None:
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


def test_a_loop_without_signal_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[int] = []

    def refuse(*_: object) -> None:
        raise NotImplementedError

    async def go() -> None:
        for name in ("add_signal_handler", "remove_signal_handler"):
            monkeypatch.setattr(asyncio.get_running_loop(), name, refuse)
        with wake_on_ctrl_c(lambda number, _: signals.append(number)):
            signal.raise_signal(signal.SIGINT)

    anyio.run(go)
    assert signals == [signal.SIGINT]
