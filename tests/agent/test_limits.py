"""Limits, as a run meets them."""

import json
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from agentkit import (
    Agent,
    ChatClient,
    ChatRequest,
    ChatResponse,
    Fallback,
    Limits,
    Memory,
    ModelError,
    Price,
    Retries,
    ToolChoice,
)
from agentkit.core.chat import Choice
from agentkit.core.errors import AnswerInvalid, LimitReached, Partial, ToolChoiceIgnored
from agentkit.core.messages import AssistantMessage, Usage, UserMessage
from agentkit.core.model import Model, OnChunk
from agentkit.core.session import StoredConversation
from agentkit.runs.events import Event, RunFinished, ToolFinished
from agentkit.testing import Chaos, Raw, Reply, answer, chaos, cut
from tests.agent import BOTH_BACKENDS, about, tool_messages
from tests.clients import delta, event
from tests.endpoint import fault_in
from tests.scripted import Play, Scripted, called, said

pytestmark = pytest.mark.anyio


class Weather(BaseModel):
    sky: str
    degrees: int


RAIN: dict[str, Any] = {"sky": "rain", "degrees": 8}
RAIN_CALL = ("final_answer", RAIN)
ADD: tuple[str, Any] = ("add", {"a": 1})
NEVER: tuple[str, Any] = ("never", {})
CENT = Price(prompt=1000, completion=0)  # of the 10 tokens of each request


def add(a: int) -> int:
    return a + 1


def echo(a: int) -> int:
    return a


async def never() -> None:
    await anyio.sleep_forever()


def tireless(request: ChatRequest) -> AssistantMessage:
    """Call as long as it may, and then answer."""
    if request.tool_choice.mode == "none":
        return said("About 3.")
    if request.tool_choice.tool == "final_answer":
        return called(RAIN_CALL)
    return called(("add", {"a": len(request.messages)}))


def stubborn(request: ChatRequest) -> AssistantMessage:
    """Call, whatever it may."""
    return called(("add", {"a": len(request.messages)}))


def agent(model: Model, **options: Any) -> Agent[Any, Any]:
    return Agent(model, **(dict[str, Any](tools=[add, never], prices=CENT) | options))


def sound(partial: Partial | None) -> Partial:
    assert partial is not None
    assert fault_in([message.to_dict() for message in partial.messages]) is None
    return partial


@pytest.mark.parametrize(
    ("values", "limit", "allowed", "steps"),
    [
        ({"steps": 2}, "steps", 2, 2),
        ({"requests": 2}, "requests", 2, 2),
        ({"calls": 2}, "calls", 2, 3),
        ({"tokens": 30}, "tokens", 30, 2),
        ({"tokens": 31}, "tokens", 31, 3),
        ({"cost": 0.02}, "cost", 0.02, 2),
    ],
)
async def test_a_run_ends_or_answers_at_a_limit(values: dict[str, Any], limit: str, allowed: float, steps: int) -> None:
    events: list[Event] = []
    with pytest.raises(LimitReached) as caught:
        await agent(Scripted(tireless), limits=Limits(**values), observers=[events.append]).run("go")
    assert (caught.value.limit, caught.value.allowed) == (limit, allowed)
    partial = sound(caught.value.partial)
    assert partial.usage == Usage(steps, 10 * steps, 5 * steps, cost=about(0.01 * steps))
    assert len(partial.messages) == 1 + 2 * steps
    assert events[-1] == RunFinished(None, partial.usage, caught.value)
    for output, expected, last_choice in (
        (str, "About 3.", ToolChoice("none")),
        (Weather, Weather(**RAIN), ToolChoice("tool", "final_answer")),
    ):
        model = Scripted(tireless)
        result = await agent(model, limits=Limits(**values, at_end="answer"), output=output).run("go")
        assert (result.output, result.stop, result.usage.requests) == (expected, "limit", steps + 1)
        last = result.steps[-1]
        assert (last.choice, last.policy, last.usage.cost) == (last_choice, f"limits: {limit}", about(0.01))
        assert not [step for step in result.steps[:-1] if step.policy.startswith("limits")]
        # The tools stay in the request, so that the endpoint's cache holds.
        assert model.requests[-1].tools == model.requests[0].tools
        assert fault_in([message.to_dict() for message in result.messages]) is None


@pytest.mark.parametrize("at_end", ["error", "answer"])
@pytest.mark.parametrize(
    ("calls", "outcomes"), [(2, ["ok", "ok", "refused", "refused"]), (3, ["ok", "ok", "ok", "refused"])]
)
async def test_the_calls_of_a_reply_that_a_limit_allows_are_run(calls: int, outcomes: list[str], at_end: Any) -> None:
    reply = called(("add", {"a": 1}), ("echo", {"a": 2}), ("add", {"a": 3}), ("echo", {"a": 4}))
    events: list[Event] = []
    limits = Limits(calls=calls, at_end=at_end)
    running = agent(Scripted(reply, said("3")), tools=[add, echo], limits=limits, observers=[events.append])
    if at_end == "answer":
        messages = (await running.run("go")).messages
    else:
        with pytest.raises(LimitReached) as caught:
            await running.run("go")
        messages = sound(caught.value.partial).messages
    results = tool_messages(messages)
    assert [message.outcome for message in results] == outcomes
    assert ["Not run" in message.content for message in results] == [outcome == "refused" for outcome in outcomes]
    finished = {event.call.id: event.message for event in events if isinstance(event, ToolFinished)}
    assert [finished[message.tool_call_id] for message in results] == results


@pytest.mark.parametrize(
    ("output", "plays", "answer"),
    [
        (str, [called(ADD), said("2")], "2"),
        (Weather, [called(ADD), called(RAIN_CALL)], Weather(**RAIN)),  # the final answer is no call that counts
        (Weather, [called(ADD, ADD, RAIN_CALL)], Weather(**RAIN)),  # an answer counts beside a refused call
    ],
)
async def test_a_run_within_its_limits_ends_as_any_other(output: Any, plays: list[Any], answer: object) -> None:
    limits = Limits(steps=2, requests=2, calls=1, tokens=31, cost=0.03, at_end="answer")
    result = await agent(Scripted(*plays), output=output, limits=limits).run("go")
    assert (result.output, result.stop) == (answer, "answer")


# ---------------------------------------------------------------------------------------------------- the last answer

WRONG_TEXT, RIGHT_TEXT = said('{"sky": "rain"}'), said(json.dumps(RAIN))
TYPED = {"output": Weather}
AS_TEXT = {"output": Weather, "output_mode": "format"}


@pytest.mark.parametrize(
    ("options", "plays", "stop", "requests"),
    [
        ({}, [said(""), said("2")], "limit", 3),
        ({"max_corrections": 1}, [said("")], "empty", 3),
        ({}, [called(ADD)], ToolChoiceIgnored, 4),
        (TYPED, [called(("final_answer", {"sky": 1})), called(RAIN_CALL)], "limit", 3),
        (TYPED, [called(("final_answer", {"sky": 1}))], LimitReached, 4),
        (AS_TEXT, [WRONG_TEXT, RIGHT_TEXT], "limit", 3),
        (AS_TEXT, [WRONG_TEXT], AnswerInvalid, 4),
    ],
)
async def test_a_model_is_asked_for_its_last_answer_a_bounded_number_of_times(
    options: dict[str, Any], plays: list[Any], stop: Any, requests: int
) -> None:
    model = Scripted(called(ADD), *plays)
    running = agent(model, limits=Limits(steps=1, at_end="answer"), **options)
    if isinstance(stop, str):
        result = await running.run("go")
        assert result.stop == stop
        assert result.output == ("" if stop == "empty" else Weather(**RAIN) if "output" in options else "2")
    else:
        with pytest.raises(stop) as caught:
            await running.run("go")
        sound(caught.value.partial)
        if stop is ToolChoiceIgnored:
            assert (caught.value.choice, caught.value.policy) == (ToolChoice("none"), "limits: steps")
    assert len(model.requests) == requests


async def test_an_agent_without_tools_is_asked_as_before() -> None:
    result = await Agent(Scripted(said(" "), said("hi")), limits=Limits(tokens=15, at_end="answer")).run("go")
    assert ([step.choice for step in result.steps], result.stop) == ([ToolChoice(), ToolChoice()], "limit")


# ----------------------------------------------------------------------------------------------------------- the time


class Hangs(Scripted):
    """Answers some requests, and hangs at those with the given numbers."""

    def __init__(self, hangs_at: set[int], *plays: Play) -> None:
        super().__init__(*plays)
        self.hangs_at = hangs_at
        self.asked: list[str] = []

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        self.asked.append(request.tool_choice.mode)
        if len(self.asked) in self.hangs_at:
            await anyio.sleep_forever()
        return await super().complete(request, on_chunk)


SOON, HASTY = Limits(seconds=0.2, at_end="answer"), Limits(seconds=0.2, at_end="answer", grace=0.2)
STEP_OR_SOON = Limits(steps=1, seconds=0.2, at_end="answer")


@BOTH_BACKENDS
async def test_out_of_time_while_a_tool_hangs() -> None:
    model = Scripted(called(ADD, NEVER, ("never", {"a": 1})), said("2"))
    events: list[Event] = []
    result = await agent(model, limits=SOON, observers=[events.append]).run("go")
    assert (result.output, result.stop, result.steps[-1].policy) == ("2", "limit", "limits: seconds")
    results = tool_messages(result.messages)
    assert [message.outcome for message in results] == ["ok", "cancelled", "error"]
    assert model.requests[-1].messages[2:] == tuple(results)
    cancelled = [event for event in events if isinstance(event, ToolFinished) and event.message.outcome == "cancelled"]
    assert [(event.call.name, type(event.error)) for event in cancelled] == [("never", LimitReached)]
    assert "\n   cancelled: " in result.explain()


@BOTH_BACKENDS
@pytest.mark.parametrize(
    ("hangs_at", "plays", "options", "output", "asked"),
    [
        ({1}, [said("2")], {}, "2", ["auto", "none"]),
        ({2}, [called(ADD), said("2")], {}, "2", ["auto", "auto", "none"]),
        ({2}, [called(ADD), said("2")], {"limits": STEP_OR_SOON}, "2", ["auto", "none", "none"]),
        ({2}, [called(ADD)], {"limits": STEP_OR_SOON, "max_corrections": 0}, None, ["auto", "none"]),
        ({1, 2}, [], {"limits": HASTY}, None, ["auto", "none"]),  # the last answer has its time too
        (set[int](), [called(NEVER), called(RAIN_CALL)], TYPED, Weather(**RAIN), ["required", "tool"]),
        (set[int](), [called(ADD, NEVER)], {"stop_at": add}, "2", ["auto"]),  # the tool has ended the run
    ],
)
async def test_out_of_time(hangs_at: set[int], plays: Any, options: Any, output: object, asked: list[str]) -> None:
    model = Hangs(hangs_at, *plays)
    running = agent(model, **{"limits": SOON, **options})
    if output is None:
        with pytest.raises(LimitReached) as caught:
            await running.run("go")
        assert (caught.value.limit, caught.value.allowed) == ("seconds", 0.2)
        assert sound(caught.value.partial).messages[0] == UserMessage("go")
    else:
        result = await running.run("go")
        assert (result.output, result.stop) == (output, "tool" if "stop_at" in options else "limit")
        assert fault_in([message.to_dict() for message in result.messages]) is None
    assert model.asked == asked


async def test_out_of_time_before_the_conversation_is_loaded() -> None:
    class Slow(Memory):
        async def load(self) -> StoredConversation:
            await anyio.sleep_forever()
            raise AssertionError

    model = Scripted(said("hi"))
    with pytest.raises(LimitReached) as caught:
        await agent(model, limits=SOON).run("go", session=Slow())
    assert (caught.value.limit, model.requests) == ("seconds", [])


async def test_tokens_that_nobody_counts_are_estimated() -> None:
    def uncounted(request: ChatRequest) -> ChatResponse:
        return ChatResponse((Choice(stubborn(request), "tool_calls"),), None)

    model = Scripted(uncounted)
    with pytest.raises(LimitReached) as caught:
        await agent(model, limits=Limits(tokens=500), prices={}).run("x" * 400)
    assert caught.value.limit == "tokens"
    assert sound(caught.value.partial).usage == Usage(len(model.requests))
    read = [sum(len(part.encoded) for part in [*request.messages, *request.tools]) for request in model.requests]
    written = [len(stubborn(request).encoded) for request in model.requests]
    tokens = [sent // 4 + replied // 4 for sent, replied in zip(read, written, strict=True)]
    assert sum(tokens[:-1]) < 500 <= sum(tokens)
    with pytest.raises(LimitReached) as caught:
        await agent(Scripted(uncounted), prices=Price(1, 1), limits=Limits(cost=0.0005)).run("x" * 800)
    usage = sound(caught.value.partial).usage
    assert (caught.value.limit, usage.total_tokens, (usage.cost or 0) >= 0.0005) == ("cost", None, True)


# What breaks off: https://github.com/openai/openai-agents-python/issues/1973

CHUNKS = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
REPORT = event({"choices": [], "usage": {"prompt_tokens": 700, "completion_tokens": 300}})
CALL = {"index": 0, "id": "c", "function": {"name": "add", "arguments": '{"a": 1234567890'}}
CALLING = event({"choices": [{"delta": {"tool_calls": [CALL]}}]})


def client(endpoint: Chaos, attempts: int = 1) -> ChatClient:
    return ChatClient("m", base_url=endpoint.url, api_key="", retries=Retries(attempts=attempts, base=0.001))


def breaking(*chunks: bytes) -> Reply:
    return cut(Raw([*chunks, b" "], headers=CHUNKS), after_chunks=len(chunks))


@pytest.mark.parametrize(("chunks", "requests", "prompt", "completion"), [
    ((delta("A word."), REPORT), 1, 700, 300),
    ((delta("x" * 400),), 1, None, 100),  # estimated
    ((CALLING,), 1, None, 4),
    ((b": nothing yet\n\n",), 0, None, None),
])  # fmt: skip
async def test_a_reply_that_breaks_off_counts(
    chunks: tuple[bytes, ...], requests: int, prompt: int | None, completion: int | None
) -> None:
    with chaos(breaking(*chunks)) as endpoint:
        with pytest.raises(ModelError) as caught:
            await Agent(client(endpoint), tools=[add], prices=CENT).run("go")
        usage = sound(caught.value.partial).usage
        assert (usage.requests, usage.completion_tokens) == (requests, completion)
        assert prompt is None or (usage.prompt_tokens, usage.cost) == (prompt, 0.7)
    with chaos(breaking(*chunks), answer("Done.")) as endpoint:
        result = await Agent(client(endpoint, 2), tools=[add]).run("go")
        assert (result.usage.requests, result.usage.completion_tokens) == (requests + 1, (completion or 0) + 5)
        assert f"after {requests + 1} request" in result.explain()
    with chaos(breaking(*chunks), answer("Done.")) as endpoint:
        result = await Agent(Fallback(client(endpoint), client(endpoint)), tools=[add]).run("go")
        assert (result.usage.requests, result.usage.completion_tokens) == (requests + 1, (completion or 0) + 5)
    with chaos(breaking(*chunks), breaking(*chunks), breaking(*chunks)) as endpoint:
        with pytest.raises(ModelError) as caught:
            await Agent(Fallback(client(endpoint), client(endpoint, 2)), tools=[add]).run("go")
        assert sound(caught.value.partial).usage.requests == 3 * requests
