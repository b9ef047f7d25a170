"""Steps that cannot be taken say which tool failed, how often, and why."""

from collections.abc import Callable
from typing import Any

import pytest

from agentkit import (
    Agent,
    AssistantMessage,
    ChatRequest,
    Limits,
    Message,
    ModelRetry,
    PolicyContradiction,
    State,
    StepFailed,
    SystemMessage,
    ToolMessage,
    UserMessage,
    tool,
)
from agentkit.core.errors import AnswerInvalid, LimitReached
from agentkit.runs.failed_steps import repeated_step
from agentkit.testing import FunctionModel
from agentkit.tool_choice import (
    Policy,
    PolicyLike,
    any_of,
    auto,
    before_answer,
    budget,
    each,
    fallback,
    first,
    force,
    given,
    machine,
    no_repeat,
    only,
    phase,
    required,
    sequence,
    until_called,
    where,
)
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


@tool
def broken(n: int = 0) -> str:
    raise ValueError("no such table")


@tool(repeatable=True)
def poll(n: int = 0) -> str:
    raise ValueError("not yet")


@tool
def listing(n: int = 0) -> list[int]:
    return [1, 2]


@tool
def look(n: int = 0) -> str:
    return "nothing new"


@tool(approval=True)
def pay(n: int = 0) -> str:
    return "paid"


TOOLS = [broken, poll, listing, look, pay]


class Obeying:
    """A model that calls what it must, each time with other arguments, or with the same; else it answers."""

    def __init__(self, arguments: Callable[[int], object], beside: int = 1) -> None:
        self.requests = 0
        self._arguments = arguments
        self._beside = beside

    def model(self) -> FunctionModel:
        def reply(request: ChatRequest) -> AssistantMessage:
            self.requests += 1
            choice = request.tool_choice
            name = choice.tool or (request.tools[0].name if choice.mode == "required" else None)
            return said("done") if name is None else called(*[(name, self._arguments(self.requests))] * self._beside)

        return FunctionModel(reply)


def other(at: int) -> object:
    return {"n": at}


def same(at: int) -> object:
    return {"n": 1}


def invalid(at: int) -> object:
    return {"n": f"none of {at}"}


def impossible(state: State) -> Policy:
    return before_answer(listing) & only(look)


def never(call: Any, state: Any) -> bool:
    return bool(call["n"] < 0)


BROKEN_PHASE = machine("one", one=phase(force(broken), "two"), two=auto)
STUCK_PHASE = machine("one", one=phase(force(look), {"found": "two"}), two=auto)


@pytest.mark.parametrize(("choice", "arguments", "kind", "requests", "times"), [
    (sequence(broken), other, "error", 6, 6),
    (sequence(broken), same, "error", 3, 3),
    (sequence(listing, broken), other, "error", 7, 6),
    (BROKEN_PHASE, other, "error", 6, 6),
    (until_called(broken, only(broken, policy="required")), other, "error", 6, 6),
    (before_answer(broken) & only(broken), same, "error", 3, 3),
    (machine("one", one=phase(given(broken, n=1), "two"), two=auto), other, "error", 0, 3),
    (machine("one", one=phase(force(listing), "two"), two=phase(each(broken, "n", over=listing), "three"), three=auto), same, "error", 1, 3),
    (sequence(look), invalid, "invalid", 6, 6),
    (machine("one", one=phase(given(look, n="x"), "two"), two=auto), other, "invalid", 0, 3),
    (sequence(look) & where(look, never), other, "refused", 6, 6),
    (sequence(pay), other, "refused", 6, 6),
    (first(force(look)) & where(look, never, "say please"), same, "refused", 6, 6),
    (STUCK_PHASE, same, "repeated", 6, 6),
    (machine("one", one=phase(given(look, n=1), {"found": "two"}), two=auto), other, "repeated", 0, 6),
    (impossible, same, "repeated", 6, 6),
])  # fmt: skip
async def test_a_step_that_cannot_be_taken_says_why(
    choice: PolicyLike, arguments: Callable[[int], object], kind: str, requests: int, times: int
) -> None:
    model = Obeying(arguments)
    agent = Agent(model.model(), tools=TOOLS, tool_choice=choice)
    with pytest.raises(StepFailed) as caught:
        await agent.run("go", approver=lambda call: False)
    failed = caught.value
    assert (failed.kind, failed.times, model.requests) == (kind, times, requests)
    wanted = {"error": "no such table", "invalid": "not valid", "refused": "Not run", "repeated": "nothing new"}
    assert wanted[kind].lower() in failed.last.lower()
    assert "Note: " not in failed.last + str(failed)
    assert failed.tool in str(failed)
    assert failed.partial is not None


@pytest.mark.parametrize(("choice", "options", "times"), [
    (sequence(broken), {"max_repeats": 2}, 3),
    (sequence(broken) & no_repeat(1), {}, 2),
    (machine("one", one=phase(given(broken, n=1), "two"), two=auto), {"max_repeats": None, "limits": Limits(steps=9)}, 10),
    (machine("one", one=phase(given(poll, n=1), "two"), two=auto), {"limits": Limits(steps=8)}, 9),
])  # fmt: skip
async def test_how_often_follows_from_how_often_a_call_may_repeat(choice: PolicyLike, options: Any, times: int) -> None:
    agent = Agent(Obeying(other).model(), tools=TOOLS, tool_choice=choice, **options)
    with pytest.raises(StepFailed) as caught:
        await agent.run("go")
    assert caught.value.times == times


async def test_without_a_bound_the_limit_ends_it() -> None:
    model = Obeying(other)
    agent = Agent(model.model(), tools=TOOLS, tool_choice=sequence(broken), max_repeats=None, limits=Limits(steps=9))
    with pytest.raises(LimitReached):
        await agent.run("go")
    assert model.requests == 9


async def test_several_failures_in_one_reply_count_once() -> None:
    model = Obeying(other, beside=4)
    with pytest.raises(StepFailed) as caught:
        await Agent(model.model(), tools=TOOLS, tool_choice=sequence(broken)).run("go")
    assert (caught.value.times, model.requests) == (6, 6)
    once = machine("one", one=phase(force(broken, once=True), "two"), two=auto)
    with pytest.raises(StepFailed) as caught:
        await Agent(model.model(), tools=TOOLS, tool_choice=once).run("go")
    assert caught.value.kind == "error"


async def test_a_fallback_takes_over_before() -> None:
    choice = any_of(broken, look) & only(broken, look) & fallback(broken, then=look, after=5)
    result = await Agent(Obeying(other).model(), tools=TOOLS, tool_choice=choice).run("go")
    assert result.output == "done"


async def test_what_failed_before_does_not_count() -> None:
    outcomes = iter([False] * 4 + [True] + [False] * 4 + [True])

    def flaky(n: int = 0) -> str:
        if not next(outcomes):
            raise ValueError("busy")
        return "ok"

    agent = Agent(Obeying(other).model(), tools=[flaky], tool_choice=sequence("flaky", "flaky"))
    assert (await agent.run([SystemMessage("Be brief.")])).output == "done"


@pytest.mark.parametrize(("note", "requests"), [(False, 6), (True, 2)])
async def test_failures_are_counted_since_the_user_spoke(*, note: bool, requests: int) -> None:
    model = Obeying(other)
    history: list[Message] = [UserMessage("go")]
    for at in range(4):
        history += [called(("broken", {"n": -at})), ToolMessage("c0", "no such table", "error")]
    history.append(UserMessage("again", note=note))
    with pytest.raises(StepFailed):
        await Agent(model.model(), tools=TOOLS, tool_choice=sequence(broken)).run(history)
    assert model.requests == requests


async def test_without_a_message_of_the_user_all_count() -> None:
    model = Obeying(other)
    with pytest.raises(StepFailed):
        await Agent(model.model(), tools=TOOLS, tool_choice=sequence(broken)).run([SystemMessage("Be brief.")])
    assert model.requests == 6


async def test_other_contradictions_stay_what_they_are() -> None:
    model = Obeying(same)
    with pytest.raises(PolicyContradiction):
        await Agent(model.model(), tools=TOOLS, tool_choice=required & before_answer(broken) & budget(3)).run("go")
    with pytest.raises(PolicyContradiction):
        await Agent(model.model(), tools=TOOLS, tool_choice=nothing_left_late).run("go")


def nothing_left_late(state: State) -> Policy:
    return force(listing) & budget(0, of=listing) if state.step > 3 else force(look)


async def test_an_answer_that_stays_invalid_is_counted_as_that() -> None:
    agent = Agent(Obeying(invalid).model(), output=int, max_corrections=8, max_repeats=2)
    with pytest.raises(AnswerInvalid):
        await agent.run("go")


def test_of_a_repeated_cycle_the_tool_that_is_asked_for_is_named() -> None:
    agent = Agent(Obeying(same).model(), tools=TOOLS, max_repeats=2)
    both_called = called(("look", {"n": 1}), ("listing", {"n": 1}))
    turn: list[Message] = [both_called, *[ToolMessage(call.id, call.name) for call in both_called.tool_calls]]
    state = State.of((UserMessage("go"), *turn * 3))
    failed = repeated_step(("look",), agent.plan, state)
    assert failed is not None
    assert (failed.tool, failed.kind, failed.times, failed.last) == ("look", "repeated", 3, "look")


# ------------------------------------------------------------------------------------------------------------- retries


@tool(max_retries=1)
def picky(n: int) -> int:
    if n == 0:
        raise ValueError("not a number that I take")
    if n < 0:
        raise ModelRetry("a number above 0, please")
    return n


def picked(*ns: Any) -> AssistantMessage:
    return called(*[("picky", {"n": n}) for n in ns])


@pytest.mark.parametrize(("replies", "times", "kind"), [
    ([picked(-1), picked(-2)], 2, "error"),
    ([picked(-1), picked("x")], 2, "invalid"),
    ([picked(-1), picked(0)], 2, "error"),
    ([picked(-1), called(("look", {})), picked(-1, -2, 3, -4)], 1, None),  # it succeeded within the reply
    ([picked(-1), called(("look", {})), picked(-1, -2)], 2, "error"),
    ([picked(-1, -2)], 1, None),  # the calls of a reply count once
    ([picked(-1), picked(5), picked(-1)], 1, None),
])  # fmt: skip
async def test_a_tool_may_fail_as_often_as_it_says(
    replies: list[AssistantMessage], times: int, kind: str | None
) -> None:
    model = Scripted(*replies, said("done"))
    agent = Agent(model, tools=[picky, look])
    if kind is None:
        assert (await agent.run("go")).output == "done"
        return
    with pytest.raises(StepFailed, match=r"max_retries=1") as caught:
        await agent.run("go")
    error = caught.value
    assert (error.tool, error.times, error.kind, len(model.requests)) == ("picky", times, kind, len(replies))
    assert error.partial is not None
    assert isinstance(error.partial.messages[-1], ToolMessage)
    # The user's next message begins anew, and so does another turn of a stored conversation.
    assert (await agent.run([*error.partial.messages, UserMessage("And now?")])).output == "done"


async def test_a_refused_call_is_no_failure_and_nothing_counts_without_a_bound() -> None:
    model = Scripted(picked(-1), picked(-2), picked(-3), said("done"))
    result = await Agent(model, tools=[picky], tool_choice=budget(1)).run("go")
    assert result.output == "done"
    model = Scripted(*[called(("broken", {"n": n})) for n in range(9)], said("done"))
    assert (await Agent(model, tools=TOOLS).run("go")).output == "done"
