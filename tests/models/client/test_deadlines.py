import inspect
from math import inf

import anyio
import pytest
from anyio import current_time

from agentkit.models.client import timeouts as file
from agentkit.models.client.timeouts import Deadlines, Timeouts

pytestmark = pytest.mark.anyio


async def test_what_ends_in_time_passes_nothing() -> None:
    deadlines = Deadlines(Timeouts())
    with deadlines:
        await anyio.lowlevel.checkpoint()
    assert not deadlines.passed


@pytest.mark.parametrize(
    ("timeouts", "phase", "seconds", "said"),
    [
        (Timeouts(first_byte=0.05), "first_byte", 0.05, "x: the first data took more than 0.05 s"),
        (Timeouts(total=0.05), "total", 0.05, "x: the whole reply took more than 0.05 s"),
        (Timeouts(first_byte=0.05, total=0.05), "total", 0.05, "x: the whole reply took more than 0.05 s"),
        (Timeouts(first_byte=0.1, total=0.05), "total", 0.05, "x: the whole reply took more than 0.05 s"),
    ],
)
async def test_a_deadline_that_passes(timeouts: Timeouts, phase: str, seconds: float, said: str) -> None:
    deadlines = Deadlines(timeouts)
    with anyio.fail_after(60), deadlines:
        await anyio.sleep_forever()
    assert deadlines.passed
    error = deadlines.error("x")
    assert (error.phase, error.seconds, str(error)) == (phase, seconds, said)


async def test_between_data_the_time_begins_anew() -> None:
    deadlines = Deadlines(Timeouts(first_byte=0.01, idle=0.05))
    with anyio.fail_after(60), deadlines:
        deadlines.begin("idle")
        await anyio.sleep_forever()
    assert deadlines.passed
    error = deadlines.error("x")
    assert (error.phase, error.seconds) == ("idle", 0.05)
    assert str(error) == "x: more data took more than 0.05 s"


async def test_nobody_waits_longer_than_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(file, "current_time", lambda: now)
    monkeypatch.setattr(file, "monotonic", lambda: now)
    deadlines = Deadlines(Timeouts(first_byte=10, idle=20, total=30))
    with deadlines:
        scope = deadlines._scope
        assert scope.deadline == 110
        now = 105
        deadlines.begin("idle")
        assert scope.deadline == 125
        now = 106  # less than a sixteenth of the time later: as it was
        deadlines.begin("idle")
        assert scope.deadline == 125
        now = 106.3
        deadlines.begin("idle")
        assert scope.deadline == 126.3
        now = 120
        deadlines.begin("idle")
        assert scope.deadline == 130
        scope.deadline = inf  # the clock of this test is not the loop's


async def test_without_limits_nothing_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines = Deadlines(Timeouts(connect=None, first_byte=None, idle=None, total=None))
    with deadlines:
        deadlines.begin("idle")
        assert deadlines._scope.deadline == inf


async def test_a_cancellation_from_outside_is_none_of_its_own() -> None:
    deadlines = Deadlines(Timeouts())
    with anyio.CancelScope() as scope:
        with deadlines:
            scope.cancel()
            await anyio.sleep_forever()
        raise AssertionError("not reached")
    assert scope.cancelled_caught
    assert not deadlines.passed


async def test_an_error_goes_through() -> None:
    deadlines = Deadlines(Timeouts())
    with pytest.raises(KeyError), deadlines:
        raise KeyError
    assert not deadlines.passed


def test_the_clock_is_that_of_the_event_loop() -> None:
    assert inspect.getattr_static(file, "current_time") is current_time
