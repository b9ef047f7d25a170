import pytest

from agentkit import LimitReached, Limits, Settings, State, Toolbox, UserMessage
from agentkit.core.concurrency import Threads
from agentkit.runs.events import Event, StepFinished, StepStarted, TextDelta
from agentkit.runs.loop import ask, drive
from agentkit.runs.plan import Plan
from agentkit.tool_choice import required
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


def add(a: int, b: int) -> int:
    return a + b


def plan(model: Scripted, *, streamed: bool = False) -> Plan:
    settings, limits = Settings(temperature=0), Limits(steps=3)
    return Plan(model, Toolbox([add]), required, settings, limits, "show", Threads(1), 2, streamed=streamed)


GO = State.of((UserMessage("go"),))
ADD = called(("add", {"a": 1, "b": 2}))


@pytest.mark.parametrize("streamed", [False, True])
async def test_asking_once_gives_a_step(*, streamed: bool) -> None:
    events: list[Event] = []
    model = Scripted(said("hello"), ADD)
    step = await ask(plan(model, streamed=streamed), GO, events.append)
    assert (step.choice.mode, step.policy) == ("required", "required")
    assert step.violation is not None
    assert [type(event) for event in events if not isinstance(event, TextDelta)] == [StepStarted, StepFinished]
    assert (TextDelta("hello") in events) is streamed
    assert model.requests[0].settings == Settings(temperature=0)


async def test_driving_ends_or_says_why_not() -> None:
    with pytest.raises(LimitReached):
        await drive(plan(Scripted(ADD)), GO, lambda _: None)
