import anyio
import pytest

from agentkit import LimitReached, Limits, Settings, State, Toolbox, UserMessage
from agentkit.core.concurrency import Threads
from agentkit.runs.events import Event, StepFinished, StepStarted, TextDelta
from agentkit.runs.loop import ask, drive
from agentkit.runs.plan import Plan
from agentkit.tool_choice import first, given, required
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


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_known_call_is_made_without_asking(*, streamed: bool) -> None:
    events: list[Event] = []
    model = Scripted(said("3"))
    policy = first(given(add, a=1, b=2)).bound(Toolbox([add]))
    known = plan(model, streamed=streamed)._replace(policy=policy)
    state = await drive(known, GO, events.append)
    assert [(type(event), event.request is None) for event in events if isinstance(event, StepStarted)] == [
        (StepStarted, True),
        (StepStarted, False),
    ]
    assert [step.known for step in state.steps] == [True, False]
    assert [message.to_dict()["role"] for message in model.requests[0].messages] == ["user", "assistant", "tool"]
    assert (len(model.requests), state.usage.requests, state.asked) == (1, 1, 1)
    assert [(record.call.name, record.call.arguments, record.outcome) for record in state.calls] == [
        ("add", '{"a":1,"b":2}', "ok")
    ]
    # Known calls do not count as steps: they cost nothing.
    await drive(known._replace(limits=Limits(steps=1)), GO, events.append)


async def test_known_calls_let_a_cancellation_through() -> None:
    calls: list[int] = []

    async def call(number: int) -> None:
        """Call; the third time, whoever waits for the run goes."""
        calls.append(number)
        if len(calls) == 3:
            scope.cancel()

    box = Toolbox([call])
    endless = plan(Scripted(said("")))._replace(toolbox=box, policy=given(call, number=1).bound(box))
    with anyio.CancelScope() as scope:
        await drive(endless, GO, lambda _: None)
    assert scope.cancelled_caught
    assert calls == [1, 1, 1]


async def test_driving_ends_or_says_why_not() -> None:
    with pytest.raises(LimitReached):
        await drive(plan(Scripted(ADD)), GO, lambda _: None)
