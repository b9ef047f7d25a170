import pytest

from agentkit import (
    AgentkitError,
    Event,
    Limits,
    Settings,
    State,
    StepFinished,
    StepStarted,
    TextDelta,
    Toolbox,
    UserMessage,
)
from agentkit.core.concurrency import Threads
from agentkit.runs.loop import ask, drive
from agentkit.runs.plan import Plan
from agentkit.tool_choice import required
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


def add(a: int, b: int) -> int:
    return a + b


def plan(model: Scripted, *, streamed: bool = False) -> Plan:
    return Plan(
        model,
        Toolbox([add]),
        required,
        Settings(temperature=0),
        Limits(steps=3),
        "show",
        Threads(1),
        2,
        streamed=streamed,
    )


async def test_asking_once_gives_a_step() -> None:
    events: list[Event] = []
    model = Scripted(called(("add", {"a": 1, "b": 2})))
    step = await ask(plan(model), State.of((UserMessage("go"),)), events.append)
    assert (step.choice.mode, step.policy, step.violation) == ("required", "required", None)
    assert [type(event) for event in events] == [StepStarted, StepFinished]
    assert model.requests[0].settings == Settings(temperature=0)


async def test_a_streamed_plan_tells_the_text() -> None:
    events: list[Event] = []
    await ask(plan(Scripted(said("hello")), streamed=True), State.of((UserMessage("go"),)), events.append)
    assert TextDelta("hello") in events


async def test_driving_ends_or_says_why_not() -> None:
    with pytest.raises(AgentkitError):
        await drive(plan(Scripted(called(("add", {"a": 1, "b": 2})))), State.of((UserMessage("go"),)), lambda _: None)
