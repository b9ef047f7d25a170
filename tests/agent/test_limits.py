"""Limits, as a run meets them."""

import json
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from agentkit import (
    Agent,
    AnswerInvalid,
    AssistantMessage,
    ChatClient,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    Event,
    LimitReached,
    Limits,
    Memory,
    Partial,
    Price,
    RunFinished,
    State,
    ToolChoice,
    ToolChoiceIgnored,
    ToolContext,
    ToolFinished,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.chat import Choice
from agentkit.core.model import Model, OnChunk
from agentkit.core.session import StoredConversation
from agentkit.testing import Raw, calling, chaos
from tests.endpoint import calls, fault_in
from tests.scripted import Play, Scripted, called, said

pytestmark = pytest.mark.anyio

CENT = Price(prompt=1000, completion=0)  # of the 10 tokens of each request
BOUNDS: list[tuple[dict[str, Any], str, float, int]] = [
    # The limit, its name, its value, and how many steps come before it.
    ({"steps": 2}, "steps", 2, 2),
    ({"requests": 2}, "requests", 2, 2),
    ({"calls": 2}, "calls", 2, 3),
    ({"calls_of": {"add": 2}}, "calls_of", 2, 3),
    ({"tokens": 30}, "tokens", 30, 2),
    ({"tokens": 31}, "tokens", 31, 3),
    ({"cost": 0.02}, "cost", 0.02, 2),
]
STEPS = [(given, limit, steps) for given, limit, _, steps in BOUNDS]


def add(a: int) -> int:
    return a + 1


async def never() -> None:
    await anyio.sleep_forever()


def tireless(request: ChatRequest) -> AssistantMessage:
    """Calls as long as it may, and then answers."""
    if request.tool_choice.mode == "none":
        return said("About 3.")
    return called(("add", {"a": len(request.messages)}))


def stubborn(request: ChatRequest) -> AssistantMessage:
    """Calls, whatever it may."""
    return called(("add", {"a": len(request.messages)}))


def agent(model: Model, **options: Any) -> Agent:
    return Agent(model, tools=[add, never], prices=CENT, **options)


def about(cost: float) -> Any:
    return pytest.approx(cost)


def sound(partial: Partial | None) -> Partial:
    assert partial is not None
    assert fault_in([each.to_dict() for each in partial.messages]) is None
    return partial


@pytest.mark.parametrize(("given", "limit", "allowed", "steps"), BOUNDS)
async def test_a_run_ends_at_a_limit(given: dict[str, Any], limit: str, allowed: float, steps: int) -> None:
    events: list[Event] = []
    with pytest.raises(LimitReached) as caught:
        await agent(Scripted(tireless), limits=Limits(**given), observers=[events.append]).run("go")
    assert (caught.value.limit, caught.value.allowed) == (limit, allowed)
    partial = sound(caught.value.partial)
    assert partial.usage == Usage(steps, 10 * steps, 5 * steps, cost=about(0.01 * steps))
    assert len(partial.messages) == 1 + 2 * steps
    assert events[-1] == RunFinished(None, partial.usage, caught.value)


@pytest.mark.parametrize(("given", "limit", "steps"), STEPS)
async def test_a_run_answers_at_a_limit(given: dict[str, Any], limit: str, steps: int) -> None:
    model = Scripted(tireless)
    result = await agent(model, limits=Limits(**given, at_end="answer")).run("go")
    assert (result.output, result.stop) == ("About 3.", "limit")
    assert (result.steps[-1].choice, result.steps[-1].policy) == (ToolChoice("none"), f"limits: {limit}")
    assert [step.policy for step in result.steps[:-1]] == ["auto & no_repeat(5)"] * steps
    # The tools stay in the request, so that the endpoint's cache holds.
    assert [tool.name for tool in model.requests[-1].tools] == ["add", "never"]
    assert result.usage.requests == steps + 1
    assert fault_in([each.to_dict() for each in result.messages]) is None


async def test_a_limit_is_explained() -> None:
    result = await agent(Scripted(tireless), limits=Limits(calls_of={"add": 1}, at_end="answer")).run("go")
    assert result.explain().splitlines() == [
        "1. auto (by auto & no_repeat(5))",
        '   called add({"a": 1})',
        "   ok: 2",
        "2. auto (by auto & no_repeat(5))",
        '   called add({"a": 3})',
        "   refused: Not run: add was run 1 times, and called once more.",
        "3. none (by limits: calls_of)",
        "   said About 3.",
        "Ended with an answer at a limit after 3 requests, 45 tokens.",
    ]


@pytest.mark.parametrize("at_end", ["error", "answer"])
async def test_what_a_limit_allows_in_a_reply_is_run(at_end: Any) -> None:
    reply = called(*[("add", {"a": number}) for number in range(4)])
    limits = Limits(calls=2, at_end=at_end)
    events: list[Event] = []
    running = agent(Scripted(reply, said("3")), limits=limits, observers=[events.append])
    if at_end == "answer":
        messages = (await running.run("go")).messages
    else:
        with pytest.raises(LimitReached) as caught:
            await running.run("go")
        messages = sound(caught.value.partial).messages
    answers = [each for each in messages if isinstance(each, ToolMessage)]
    refused = "Not run: 2 tools were run, and one more was called."
    assert [each.content for each in answers] == ["1", "2", refused, refused]
    assert [each.outcome for each in answers] == ["ok", "ok", "refused", "refused"]
    finished = {each.call.id: each.message for each in events if isinstance(each, ToolFinished)}
    assert [finished[each.tool_call_id] for each in answers] == answers


async def test_a_limit_on_one_tool_leaves_the_others() -> None:
    reply = called(("add", {"a": 1}), ("echo", {"a": 2}), ("add", {"a": 3}), ("echo", {"a": 4}))

    def echo(a: int) -> int:
        return a

    model = Scripted(reply, said("3"))
    limits = Limits(calls_of={"add": 1, "echo": 2}, at_end="answer")
    result = await Agent(model, tools=[add, echo], limits=limits).run("go")
    answers = [each.content for each in result.messages if isinstance(each, ToolMessage)]
    assert answers == ["2", "2", "Not run: add was run 1 times, and called once more.", "4"]
    assert result.stop == "limit"


async def test_a_run_that_ends_within_its_limits_is_as_any_other() -> None:
    limits = Limits(steps=2, requests=2, calls=1, calls_of={"add": 1}, tokens=31, cost=0.03, at_end="answer")
    result = await agent(Scripted(called(("add", {"a": 1})), said("2")), limits=limits).run("go")
    assert (result.output, result.stop) == ("2", "answer")


def test_a_limit_of_calls_names_a_tool() -> None:
    with pytest.raises(ConfigurationError) as caught:
        agent(Scripted(), limits=Limits(calls_of={"ad": 1}))
    assert str(caught.value) == "Limits(calls_of=…) names 'ad', which is not a tool; those are: add, never"
    with pytest.raises(ConfigurationError, match="those are: none"):
        Agent(Scripted(), limits=Limits(calls_of={"ad": 1}))


# ---------------------------------------------------------------------------------------------------- the last answer


@pytest.mark.parametrize("corrections", [0, 1, 2])
async def test_a_model_that_goes_on_calling_is_asked_a_bounded_number_of_times(corrections: int) -> None:
    model = Scripted(stubborn)
    limits = Limits(steps=2, at_end="answer")
    with pytest.raises(ToolChoiceIgnored) as caught:
        await agent(model, limits=limits, max_corrections=corrections).run("go")
    assert len(model.requests) == 2 + corrections + 1
    assert (caught.value.choice, caught.value.policy) == (ToolChoice("none"), "limits: steps")
    assert sound(caught.value.partial).messages[-1] == ToolMessage(
        "c0",
        "Not run: it called a tool where none may be called; answer without calling a tool, with what you have.",
        "refused",
    )


async def test_a_model_that_says_nothing_at_the_limit_is_asked_again() -> None:
    plays = (called(("add", {"a": 1})), said(""), said("2"))
    result = await agent(Scripted(*plays), limits=Limits(steps=1, at_end="answer")).run("go")
    assert (result.output, result.stop, len(result.steps)) == ("2", "limit", 3)
    result = await agent(Scripted(*plays[:2]), limits=Limits(steps=1, at_end="answer"), max_corrections=1).run("go")
    assert (result.output, result.stop, len(result.steps)) == ("", "empty", 3)


async def test_an_agent_without_tools_is_asked_as_before() -> None:
    limits = Limits(tokens=15, at_end="answer")
    model = Scripted(said(" "), said("hi"))
    result = await Agent(model, limits=limits).run("go")
    assert [step.choice for step in result.steps] == [ToolChoice(), ToolChoice()]
    assert result.stop == "limit"


class Weather(BaseModel):
    sky: str
    degrees: int


RAIN = {"sky": "rain", "degrees": 8}


def forced(request: ChatRequest) -> AssistantMessage:
    """Calls as long as it may, and then gives a typed answer."""
    if request.tool_choice.tool == "final_answer":
        return called(("final_answer", RAIN))
    return called(("add", {"a": len(request.messages)}))


@pytest.mark.parametrize(("given", "limit", "steps"), STEPS)
async def test_a_typed_answer_at_a_limit(given: dict[str, Any], limit: str, steps: int) -> None:
    limits = Limits(**given, at_end="answer")
    running = Agent(Scripted(forced), tools=[add], prices=CENT, output=Weather, limits=limits)
    result = await running.run("go")
    assert (result.output, result.stop) == (Weather(sky="rain", degrees=8), "limit")
    assert (result.steps[-1].choice, result.steps[-1].policy) == (
        ToolChoice("tool", "final_answer"),
        f"limits: {limit}",
    )
    assert len(result.steps) == steps + 1


async def test_a_typed_answer_is_no_call_that_a_limit_counts() -> None:
    model = Scripted(called(("add", {"a": 1})), called(("final_answer", RAIN)))
    result = await Agent(model, tools=[add], output=Weather, limits=Limits(calls=1)).run("go")
    assert (result.output, result.stop) == (Weather(sky="rain", degrees=8), "answer")


async def test_an_answer_beside_a_call_that_is_not_allowed_is_one_all_the_same() -> None:
    reply = called(("add", {"a": 1}), ("add", {"a": 2}), ("final_answer", RAIN))
    result = await Agent(Scripted(reply), tools=[add], output=Weather, limits=Limits(calls=1)).run("go")
    assert (result.output, result.stop) == (Weather(sky="rain", degrees=8), "answer")
    assert [each.outcome for each in result.messages if isinstance(each, ToolMessage)] == ["ok", "refused", "ok"]


@pytest.mark.parametrize("corrections", [0, 2])
async def test_a_typed_answer_that_never_fits_is_asked_for_a_bounded_number_of_times(corrections: int) -> None:
    model = Scripted(called(("add", {"a": 1})), called(("final_answer", {"sky": 1})))
    running = Agent(
        model, tools=[add], output=Weather, limits=Limits(steps=1, at_end="answer"), max_corrections=corrections
    )
    with pytest.raises(LimitReached) as caught:
        await running.run("go")
    assert len(model.requests) == 1 + corrections + 1
    assert caught.value.limit == "steps"
    answer = sound(caught.value.partial).messages[-1]
    assert isinstance(answer, ToolMessage)
    assert answer.outcome == "error"


async def test_a_typed_answer_as_text_at_a_limit() -> None:
    fits, broken = said('{"sky": "rain", "degrees": 8}'), said('{"sky": "rain"}')
    limits = Limits(steps=1, at_end="answer")
    options: dict[str, Any] = {"tools": [add], "output": Weather, "output_mode": "format", "limits": limits}
    result: Any = await Agent(Scripted(called(("add", {"a": 1})), broken, fits), **options).run("go")
    assert (result.output, result.stop, len(result.steps)) == (Weather(sky="rain", degrees=8), "limit", 3)
    assert result.steps[-1].choice == ToolChoice("none")
    model = Scripted(called(("add", {"a": 1})), broken)
    with pytest.raises((AnswerInvalid, LimitReached)) as caught:
        await Agent(model, **options).run("go")
    assert len(model.requests) == 4
    sound(caught.value.partial)


async def test_a_limit_goes_before_the_policy() -> None:
    def refuses(state: State) -> str:
        if len(state.steps) > 1:
            raise AssertionError("it was asked after the limit")
        return "required"

    limits = Limits(steps=2, at_end="answer")
    result = await agent(Scripted(tireless), tool_choice=refuses, stop_at=never, limits=limits).run("go")
    assert (result.output, [step.choice.mode for step in result.steps]) == (
        "About 3.",
        ["required", "required", "none"],
    )


# ----------------------------------------------------------------------------------------------------------- the time


class Hangs(Scripted):
    """Answers in time for so many requests, and then not at all."""

    def __init__(self, times: int, *plays: Play) -> None:
        super().__init__(*plays)
        self.times = times

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        if len(self.requests) == self.times:
            self.times = -1
            await anyio.sleep_forever()
        return await super().complete(request, on_chunk)


STOPPED = "The run was stopped before this call was answered; it may have had effects."
SOON = Limits(seconds=0.2, at_end="answer")


async def test_out_of_time_while_a_tool_hangs() -> None:
    model = Scripted(called(("add", {"a": 1}), ("never", {}), ("never", {"a": 1})), said("2"))
    events: list[Event] = []
    with anyio.fail_after(60):
        result = await agent(model, limits=SOON, observers=[events.append]).run("go")
    assert (result.output, result.stop) == ("2", "limit")
    answers = [each for each in result.messages if isinstance(each, ToolMessage)]
    assert answers[:2] == [ToolMessage("c0", "2"), ToolMessage("c1", STOPPED, "cancelled")]
    assert answers[2].outcome == "error"
    assert model.requests[-1].messages[2:] == tuple(answers)
    stopped = [each for each in events if isinstance(each, ToolFinished) and each.message.outcome == "cancelled"]
    assert [(each.call.name, type(each.error)) for each in stopped] == [("never", LimitReached)]
    assert "\n   cancelled: The run was stopped before this call was answered" in result.explain()
    assert result.explain().splitlines()[-3] == "2. none (by limits: seconds)"


@pytest.mark.parametrize("times", [0, 1])
async def test_out_of_time_while_the_model_hangs(times: int) -> None:
    model = Hangs(times, *[called(("add", {"a": 1}))] * times, said("2"))
    with anyio.fail_after(60):
        result = await agent(model, limits=SOON).run("go")
    assert (result.output, result.stop, len(result.steps)) == ("2", "limit", times + 1)
    assert fault_in([each.to_dict() for each in result.messages]) is None


async def test_out_of_time_while_an_endpoint_hangs() -> None:
    with chaos(calling(("add", {"a": 1})), Raw(status=None, then="stall")) as endpoint:
        limits = Limits(seconds=1, at_end="answer", grace=1)
        with anyio.fail_after(60), pytest.raises(LimitReached) as caught:
            await agent(ChatClient("m", base_url=endpoint.url), limits=limits).run("go")
    assert (caught.value.limit, caught.value.allowed) == ("seconds", 1)
    assert len(endpoint.requests) == 3
    assert endpoint.requests[-1]["tool_choice"] == "none"
    assert len(sound(caught.value.partial).messages) == 3


async def test_the_last_answer_has_its_time() -> None:
    limits = Limits(seconds=0.2, at_end="answer", grace=0.2)

    class Always(Scripted):
        async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
            self.requests.append(request)
            await anyio.sleep_forever()
            raise AssertionError

    model = Always()
    with anyio.fail_after(60), pytest.raises(LimitReached) as caught:
        await agent(model, limits=limits).run("go")
    assert (caught.value.limit, caught.value.allowed) == ("seconds", 0.2)
    assert [request.tool_choice.mode for request in model.requests] == ["auto", "none"]
    assert sound(caught.value.partial).messages == (UserMessage("go"),)


async def test_out_of_time_within_the_last_answer_of_another_limit() -> None:
    limits = Limits(steps=1, seconds=0.2, at_end="answer")
    with anyio.fail_after(60):
        result = await agent(Hangs(1, called(("add", {"a": 1})), said("2")), limits=limits).run("go")
    assert (result.output, result.stop, result.steps[-1].policy) == ("2", "limit", "limits: seconds")
    with anyio.fail_after(60), pytest.raises(LimitReached) as caught:
        await agent(Hangs(1, called(("add", {"a": 1})), said("2")), limits=limits, max_corrections=0).run("go")
    assert caught.value.limit == "seconds"


async def test_out_of_time_with_a_typed_answer() -> None:
    model = Scripted(called(("never", {})), called(("final_answer", RAIN)))
    with anyio.fail_after(60):
        result = await Agent(model, tools=[never], output=Weather, limits=SOON).run("go")
    assert (result.output, result.stop) == (Weather(sky="rain", degrees=8), "limit")


async def test_a_tool_that_ends_the_run_has_ended_it_though_others_hang() -> None:
    model = Scripted(called(("add", {"a": 1}), ("never", {})))
    with anyio.fail_after(60):
        result = await agent(model, stop_at=add, limits=SOON).run("go")
    assert (result.output, result.stop, len(model.requests)) == ("2", "tool", 1)


async def test_what_was_stopped_is_kept_once() -> None:
    session = Memory()
    plays = (called(("add", {"a": 1}), ("never", {})), said("2"))
    with anyio.fail_after(60):
        result = await agent(Scripted(*plays), limits=SOON).run("go", session=session)
        assert (await session.load()).messages == result.messages
        again = await agent(Scripted(*plays), limits=SOON).run("once more", session=session)
    assert (await session.load()).messages == again.messages
    assert fault_in([each.to_dict() for each in again.messages]) is None


async def test_out_of_time_before_the_conversation_is_there() -> None:
    class Slow(Memory):
        async def load(self) -> StoredConversation:
            await anyio.sleep_forever()
            raise AssertionError

    model = Scripted(said("hi"))
    with anyio.fail_after(60), pytest.raises(LimitReached) as caught:
        await agent(model, limits=SOON).run("go", session=Slow())
    assert caught.value.limit == "seconds"
    assert model.requests == []


async def test_what_a_tool_may_know_of_the_time() -> None:
    async def left(ctx: ToolContext[None]) -> str:
        return "some" if 0 < ctx.remaining <= 60 else "other"

    result = await Agent(Scripted(called(("left", {})), said("ok")), tools=[left], limits=Limits(seconds=60)).run("go")
    assert result.messages[2] == ToolMessage("c0", "some")


# ---------------------------------------------------------------------------------------------------------- the costs


class Counts:
    """A model that says what it wants of what it costs."""

    name = "gpt-5-mini"

    def __init__(self, usage: Usage | None, model: str | None = None) -> None:
        self.usage = usage
        self.model = model
        self.requests: list[ChatRequest] = []

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        assert on_chunk is None
        self.requests.append(request)
        return ChatResponse((Choice(stubborn(request), "tool_calls"),), self.usage, model=self.model)


async def test_tokens_that_nobody_counts_are_estimated() -> None:
    model = Counts(None)
    with pytest.raises(LimitReached) as caught:
        await Agent(model, tools=[add], limits=Limits(tokens=500)).run("x" * 400)
    assert caught.value.limit == "tokens"
    assert sound(caught.value.partial).usage == Usage(len(model.requests))
    sent = [sum(len(each.encoded) for each in [*request.messages, *request.tools]) for request in model.requests]
    heard = [len(stubborn(request).encoded) for request in model.requests]
    taken = [(each // 4) + (other // 4) for each, other in zip(sent, heard, strict=True)]
    assert sum(taken[:-1]) < 500 <= sum(taken)


@pytest.mark.parametrize(
    ("usage", "model", "cost"),
    [
        (Usage(1, 10, 5), None, 20e-6),  # as it was asked for
        (Usage(1, 10, 5), "gpt-5-2026-01-01", 10e-6),  # as the endpoint calls it
        (Usage(1, 10, 5), "other", 20e-6),
        (Usage(1, 10, 5, 10), None, 0.0),
        (Usage(1, 10, 5, cost=7.0), None, 7.0),  # as the endpoint says
    ],
)
async def test_what_a_run_costs(usage: Usage, model: str | None, cost: float) -> None:
    prices = {"gpt-5": Price(1, 0), "gpt-5-mini": Price(2, 0, cached=0)}
    with pytest.raises(LimitReached) as caught:
        await Agent(Counts(usage, model), tools=[add], prices=prices, limits=Limits(steps=2)).run("go")
    assert sound(caught.value.partial).usage.cost == pytest.approx(2 * cost)


async def test_what_nobody_counts_is_priced_as_it_is_estimated() -> None:
    model = Counts(None)
    with pytest.raises(LimitReached) as caught:
        await Agent(model, tools=[add], prices=Price(1, 1), limits=Limits(cost=0.0005)).run("x" * 800)
    assert caught.value.limit == "cost"
    usage = sound(caught.value.partial).usage
    assert (usage.total_tokens, (usage.cost or 0) >= 0.0005, len(model.requests)) == (None, True, 2)


@pytest.mark.parametrize(("model", "named"), [(None, "gpt-5-mini"), ("qwen", "qwen")])
async def test_a_cost_that_nobody_knows(model: str | None, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await Agent(Counts(Usage(1, 10, 5), model), tools=[add], limits=Limits(cost=1)).run("go")
    assert str(caught.value) == (
        f"Limits(cost=…) cannot be held: no price is known for {named!r}, and the endpoint says none; give "
        "Agent(…, prices={…})"
    )
    # The request was made, so it counts.
    assert sound(caught.value.partial).usage == Usage(1, 10, 5)
    with pytest.raises(LimitReached) as reached:
        await Agent(Counts(Usage(1, 10, 5), model), tools=[add], limits=Limits(steps=1)).run("go")
    assert sound(reached.value.partial).usage.cost is None


async def test_the_price_is_in_what_a_step_says() -> None:
    result = await agent(Scripted(tireless), limits=Limits(steps=1, at_end="answer")).run("go")
    assert [step.usage.cost for step in result.steps] == [pytest.approx(0.01)] * 2
    assert result.usage.cost == pytest.approx(0.02)


async def test_what_a_tool_may_know_of_the_cost() -> None:
    async def spent(ctx: ToolContext[None]) -> float | None:
        return ctx.usage.cost

    result = await Agent(Scripted(called(("spent", {})), said("ok")), tools=[spent], prices=CENT).run("go")
    assert result.messages[2] == ToolMessage("c0", "0.01")


async def test_an_endpoint_that_says_the_cost() -> None:
    def body(cost: float) -> Raw:
        message = calls(("add", {"a": 1}), ids=["c"])["message"]
        said: dict[str, Any] = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
        said["usage"] = {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}
        return Raw([json.dumps(said).encode()], headers={"content-type": "application/json"})

    with chaos(body(0.25)) as endpoint, pytest.raises(LimitReached) as caught:
        await agent(ChatClient("m", base_url=endpoint.url), limits=Limits(cost=0.5)).run("go")
    assert len(endpoint.requests) == 2
    assert sound(caught.value.partial).usage.cost == 0.5
