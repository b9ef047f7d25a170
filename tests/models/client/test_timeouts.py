from math import inf, nan
from typing import Any

import anyio
import pytest

from agentkit.core.errors import ConfigurationError
from agentkit.models.client import timeouts as file
from agentkit.models.client.timeouts import Deadlines, Timeouts

pytestmark = pytest.mark.anyio


def test_the_defaults_and_a_number_as_the_total() -> None:
    assert Timeouts() == Timeouts(connect=10.0, first_byte=None, idle=120.0, total=600.0)
    assert Timeouts.of(5) == Timeouts(total=5)
    assert Timeouts.of(None) == Timeouts(total=None)
    timeouts = Timeouts(idle=1)
    assert Timeouts.of(timeouts) is timeouts


@pytest.mark.parametrize("name", ["connect", "first_byte", "idle", "total"])
def test_a_value_that_is_no_time_is_refused(name: str) -> None:
    odd: Any
    for odd in (0, -0.5, nan, True, "1", [1]):
        with pytest.raises(ConfigurationError, match=rf"Timeouts\({name}=…\)"):
            Timeouts(**{name: odd})
        with pytest.raises(ConfigurationError, match=r"^timeout "):
            Timeouts.of(odd)
    for good in (None, 1, 0.001, 1e9, inf):
        assert getattr(Timeouts(**{name: good}), name) == good


@pytest.mark.parametrize(("timeouts", "phase"), [
    (Timeouts(first_byte=0.01), "first_byte"),
    (Timeouts(total=0.01), "total"),
    (Timeouts(first_byte=0.01, total=0.01), "total"),
    (Timeouts(first_byte=0.05, total=0.01), "total"),
    (Timeouts(first_byte=0.001, idle=0.01), "idle"),
])  # fmt: skip
async def test_a_deadline_that_passes(timeouts: Timeouts, phase: str) -> None:
    deadlines = Deadlines(timeouts)
    with anyio.fail_after(60), deadlines:
        if phase == "idle":
            deadlines.begin("idle")
        await anyio.sleep_forever()
    assert deadlines.passed
    error = deadlines.error("http://a.b")
    assert (error.phase, error.seconds) == (phase, 0.01)
    assert "http://a.b" in str(error)
    assert f"Timeouts({phase}=…)" in str(error)


async def test_phases_move_the_deadline_and_never_beyond_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(anyio, "current_time", lambda: now)
    monkeypatch.setattr(file, "monotonic", lambda: now)
    deadlines = Deadlines(Timeouts(first_byte=10, idle=20, total=30))
    with deadlines:
        scope = deadlines._scope
        assert scope is not None
        assert scope.deadline == 110
        # At 106, less than a sixteenth of the time has passed, so the deadline stays.
        for now, deadline in ((105, 125), (106, 125), (106.3, 126.3), (120, 130)):  # noqa: B007 (read by the clock)
            deadlines.begin("idle")
            assert scope.deadline == deadline
        scope.deadline = inf  # the clock of this test is not the loop's


async def test_a_cancellation_from_outside_is_not_a_timeout() -> None:
    deadlines = Deadlines(Timeouts())
    with anyio.CancelScope() as scope:
        with deadlines:
            scope.cancel()
            await anyio.sleep_forever()
        raise AssertionError("not reached")
    assert scope.cancelled_caught
    assert not deadlines.passed
    endless = Deadlines(Timeouts(connect=None, first_byte=None, idle=None, total=None))
    with endless:
        endless.begin("idle")
        assert endless._scope.deadline == inf
    assert not endless.passed
    with pytest.raises(KeyError), Deadlines(Timeouts()):
        raise KeyError
