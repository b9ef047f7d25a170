"""What a streamed reply tells while it is written."""

import itertools
import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agentkit import (
    Agent,
    ChatChunk,
    ChatClient,
    Fallback,
    Limits,
    Model,
    ModelError,
    Prompted,
    Result,
    Retries,
    Settings,
    TextToolCalls,
    Toolbox,
    tool,
)
from agentkit.core.concurrency import Threads
from agentkit.core.json import decode_beginning
from agentkit.core.reply_limits import ReplyLimits
from agentkit.runs.candidates import first_valid
from agentkit.runs.events import AnswerDelta, Event, StepFinished, TextDelta, ToolStarted
from agentkit.runs.output import Mode, output_of
from agentkit.runs.plan import Plan
from agentkit.runs.streaming import DeltaEmitter
from agentkit.testing import Chaos, answer, bytewise, calling, chaos, cut
from agentkit.tool_choice import auto
from tests.scripted import Scripted, said

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class City(BaseModel):
    name: str
    people: int
    near: list[str]


@dataclass
class Point:
    x: float
    label: str


def plan_of(kind: Any = str, mode: Mode = "tool") -> Plan:
    output = output_of(kind, mode)
    toolbox = Toolbox([output.final] if output is not None and output.final is not None else [])
    model = Scripted(said(""))
    return Plan(model, toolbox, auto, Settings(), Limits(), "show", Threads(1), 2, output=output, streamed=True)


def text(piece: str) -> ChatChunk:
    return ChatChunk({"choices": [{"index": 0, "delta": {"content": piece}}]})


def call(piece: str, name: str | None = None, index: int = 0) -> ChatChunk:
    entry = {"index": index, "function": {"name": name, "arguments": piece}}
    return ChatChunk({"choices": [{"index": 0, "delta": {"tool_calls": [entry]}}]})


def emitted(plan: Plan, *chunks: ChatChunk) -> list[Event]:
    events: list[Event] = []
    emitter = DeltaEmitter(plan, events.append)
    for chunk in chunks:
        emitter(chunk)
    return events


def values(events: list[Event]) -> list[object]:
    return [event.value for event in events if isinstance(event, AnswerDelta)]


def written(value: object, mode: Mode, size: int = 1) -> list[ChatChunk]:
    """The chunks of an answer, so many characters in each."""
    whole = json.dumps(value)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    return [text(piece) for piece in pieces] if mode == "format" else [call("", "final_answer"), *map(call, pieces)]


def items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items() if isinstance(value, dict) else enumerate(value))  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]


def grows(before: Any, after: Any) -> bool:
    """Whether one value is the beginning of another."""
    if type(before) is not type(after):
        return False
    if isinstance(before, str):
        return bool(after.startswith(before))
    if not isinstance(before, dict | list):
        return bool(before == after)
    pairs: list[tuple[Any, Any]] = list(zip(items(before), items(after), strict=False))
    whole = all(one == other for one, other in pairs[:-1]) and all(grows(one[1], other[1]) for one, other in pairs[-1:])
    return whole and len(pairs) == len(items(before)) and all(one[0] == other[0] for one, other in pairs)


def test_a_plain_answer_is_told_as_it_is_written() -> None:
    assert emitted(plan_of(), text("It "), call("{}", "a"), text(""), text("rains.")) == [
        TextDelta("It "),
        TextDelta("rains."),
    ]


def test_an_emoji_that_is_split_over_two_chunks_is_whole() -> None:
    assert emitted(plan_of(), text("a \ud83d"), text(""), text("\ude00"), text("!")) == [
        TextDelta("a "),
        TextDelta("\U0001f600"),
        TextDelta("!"),
    ]
    written = json.dumps({"answer": "\U0001f600"}, ensure_ascii=False).replace("\U0001f600", "\ud83d")
    events = emitted(plan_of(str | None, "format"), text(written[:-2]), text("\ude00"), text('"}'))
    assert values(events) == ["", "\U0001f600"]


VALUES: list[tuple[Any, Any, list[Any]]] = [
    (City, {"name": "Paris", "people": 12, "near": ["Lyon"]}, [{}, {"name": "Pa"}, {"name": "Paris"}]),
    (Point, {"x": -1.5e3, "label": "here"}, [{}, {"x": -1500.0}]),
    (list[int], {"answer": [1, 23, 4]}, [[], [1], [1, 23], [1, 23, 4]]),
    (list[City], {"answer": [{"name": "P", "people": 1}]}, [[], [{}], [{"name": "P"}]]),
    (int, {"answer": 1234}, [1234]),
    (bool, {"answer": True}, [True]),
    (float, {"answer": -0.5}, [-0.5]),
    (Literal["yes", "no"], {"answer": "yes"}, ["", "y", "ye", "yes"]),
    (str | None, {"answer": None}, []),
]


@pytest.mark.parametrize("mode", ["tool", "format"])
@pytest.mark.parametrize(("kind", "value", "some"), VALUES)
def test_a_typed_answer_is_told_as_far_as_it_is_written(kind: Any, value: Any, some: list[Any], mode: Mode) -> None:
    found = values(emitted(plan_of(kind, mode), *written(value, mode)))
    assert all(grows(one, other) for one, other in itertools.pairwise(found))
    assert [value for value in some if value in found] == some
    assert all(one != other for one, other in itertools.pairwise(found))
    whole = value.get("answer", value)
    assert all(grows(value, whole) for value in found)
    if mode == "tool":
        assert not any(isinstance(event, TextDelta) for event in emitted(plan_of(kind, mode), *written(value, mode)))


@pytest.mark.parametrize("mode", ["tool", "format"])
@pytest.mark.no_cover
def test_what_is_written_is_read_in_time_that_grows_with_it(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    decode = decode_beginning

    def counted(text: str) -> object:
        read.append(len(text))
        return decode(text)

    monkeypatch.setattr("agentkit.runs.output.decode_beginning", counted)
    work: list[int] = []
    for length in (1_000, 10_000):
        read.clear()
        emitted(plan_of(Point, mode), *written({"x": 1, "label": "a" * length}, mode))
        assert len(read) < 250  # each about a twentieth later than the last
        work.append(sum(read))
    assert work[1] < 12 * work[0]
    assert work[1] < 25 * 10_000


def test_what_is_no_answer_is_not_emitted() -> None:
    typed = plan_of(Point)
    assert emitted(typed, text("I think")) == [TextDelta("I think")]
    assert emitted(typed, call('{"x": 1', "search")) == []
    two = (call('{"x": 1, "label": "a', "final_answer"), call("{}", "search", 1), call('b"', None))
    assert values(emitted(typed, *two)) == [{"x": 1, "label": "a"}]
    assert emitted(typed, call("]", "final_answer")) == []
    assert emitted(plan_of(Point, "format"), text("So: {")) == [TextDelta("So: {")]
    assert emitted(plan_of(Point, "format"), call('{"x": 1, ', "final_answer")) == []


def test_where_one_of_several_is_to_be_picked_nothing_is_told_before() -> None:
    for plan in (plan_of(), plan_of(Point, "format")):
        assert emitted(plan._replace(selector=first_valid), text('{"x": 1, '), text("2")) == []


def test_how_large_a_reply_may_be_is_for_the_model_to_say() -> None:
    long = "a" * (ReplyLimits().arguments + 1)
    events = emitted(plan_of(Point), call(f'{{"x": 1, "label": "{long}"}}', "final_answer"))
    assert values(events) == [{"x": 1, "label": long}]


async def test_nothing_is_told_of_several() -> None:
    async with Agent(Scripted(said("hi")), settings=Settings(n=2)).stream("go") as run:
        assert not any(isinstance(event, TextDelta) for event in [event async for event in run])
    assert run.result.output == "hi"


PARIS: dict[str, Any] = {"name": 'Par"is ☂', "people": 2_100_000, "near": ["Lyon", "Lille"]}


@pytest.mark.parametrize("mode", ["tool", "format"])
async def test_a_typed_answer_is_streamed_over_a_socket(mode: Mode) -> None:
    reply = calling(("final_answer", PARIS)) if mode == "tool" else answer(json.dumps(PARIS))
    with chaos(bytewise(reply)) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), output=City, output_mode=mode)
        async with agent.stream("go") as run:
            events = [event async for event in run]
    found = values(events)
    assert run.result.output == City(**PARIS)
    assert {"name": 'Par"is ☂', "people": 2_100_000} in found
    assert all(grows(one, other) for one, other in zip(found, [*found[1:], PARIS], strict=True))
    assert len(found) > 5
    kinds = [type(event) for event in events]
    assert kinds.index(StepFinished) > max(at for at, kind in enumerate(kinds) if kind is AnswerDelta)
    assert (TextDelta in kinds) is (mode == "format")


# A reply that breaks off


@tool
def add(a: int, b: int) -> int:
    return a + b


CALL = calling(("add", {"a": 1, "b": 2}))
ACTION = json.dumps({"action": "add", "arguments": {"a": 1, "b": 2}})
TAGGED = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'


async def streamed(agent: Agent) -> Result[str]:
    async with agent.stream("go") as run:
        async for _ in run:
            pass
    return run.result


def client(endpoint: Chaos, retries: int = 1) -> ChatClient:
    return ChatClient("m", base_url=endpoint.url, api_key="", retries=Retries(attempts=retries + 1, base=0.001))


def falling_back(endpoint: Chaos) -> Model:
    return Fallback(client(endpoint), client(endpoint))


def falling_back_at_once(endpoint: Chaos) -> Model:
    return Fallback(client(endpoint, 0), client(endpoint, 0))


def prompted(endpoint: Chaos) -> Model:
    return Prompted(client(endpoint))


def in_text(endpoint: Chaos) -> Model:
    return TextToolCalls(client(endpoint))


@pytest.mark.parametrize(("make", "reply", "chunks"), [
    (client, CALL, 5),
    (falling_back_at_once, CALL, 5),
    (falling_back, CALL, 5),
    (prompted, answer(ACTION), 4),
    (in_text, answer(TAGGED), 4),
])  # fmt: skip
async def test_a_call_that_breaks_off_is_asked_for_again(make: Any, reply: Any, chunks: int) -> None:
    events: list[Event] = []
    done = answer(json.dumps({"action": "answer", "answer": "3"})) if "action" in str(reply) else answer("3")
    with chaos(reply, done, faults={1: cut(reply, after_chunks=chunks)}) as endpoint:
        assert (await streamed(Agent(make(endpoint), tools=[add], observers=[events.append]))).output == "3"
        assert len(endpoint.requests) == 3
    assert len([event for event in events if isinstance(event, ToolStarted)]) == 1


@pytest.mark.parametrize(("make", "reply"), [
    (client, answer("One two three four five six.")),
    (falling_back, answer("One two three four five six.")),
    (prompted, answer('{"action": "chat", "answer": "one two three four"}')),
    (in_text, answer("One two three four five six.")),
])  # fmt: skip
async def test_a_text_that_breaks_off_is_not_asked_for_again(make: Any, reply: Any) -> None:
    with chaos(reply, faults={1: cut(reply, after_chunks=7)}) as endpoint:
        with pytest.raises(ModelError):
            await streamed(Agent(make(endpoint), tools=[add]))
        assert len(endpoint.requests) == 1


def test_a_typed_answer_begins_again() -> None:
    plan = plan_of(City)
    events: list[Event] = []
    emitter = DeltaEmitter(plan, events.append)
    emitter(call("", "final_answer"))
    assert emitter.restart()
    emitter(call("", "final_answer"))
    emitter(call('{"name": "Rome"'))
    assert [event.value for event in events if isinstance(event, AnswerDelta)] == [{}, {"name": "Rome"}]
    assert not emitter.restart()
