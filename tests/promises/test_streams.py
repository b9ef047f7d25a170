"""However the same calls come over the wire, they run; and whatever else comes, nothing happens that should not."""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import Agent, AgentkitError, ChatRequest, ChatResponse, ModelError, Result
from agentkit.core.model import OnChunk
from agentkit.core.reply_limits import ReplyLimits
from agentkit.models.client.reply_reader import ReplyReader
from tests.clients import JSON, SSE
from tests.endpoint import Json, fault_in
from tests.promises.scenario import finish
from tests.strategies import any_text

Text = TypeVar("Text", str, bytes)
Calls: TypeAlias = list[tuple[str, dict[str, Any]]]

DONE = b'data: {"choices":[{"delta":{"content":"done"},"finish_reason":"stop"}]}\n\n'
EXAMPLES = settings(max_examples=50)


@dataclass
class Played:
    """A model that reads its replies from bytes, in the pieces in which they come; the last is read again and again."""

    replies: Sequence[Sequence[bytes]]
    headers: Mapping[str, str] = field(default_factory=lambda: SSE)
    name: str = "played"
    requests: list[Json] = field(default_factory=list[Json])

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        pieces = self.replies[min(len(self.requests), len(self.replies) - 1)]
        self.requests.append(json.loads(request.encode("m")))
        reading = ReplyReader(request, ReplyLimits(), on_chunk)
        reading.begin(self.headers)
        for piece in pieces:
            deque(reading.feed(piece))
        return reading.end()


ran: Calls = []


async def say(text: str, times: int) -> None:
    ran.append(("say", {"text": text, "times": times}))


async def add_all(numbers: list[int]) -> None:
    ran.append(("add_all", {"numbers": numbers}))


AGENT = Agent(Played([[DONE]]), tools=[say, add_all])


def play(*pieces: bytes, headers: Mapping[str, str] = SSE) -> Result[str] | AgentkitError:
    """Return what comes of a stream; `ran` has the calls that ran."""
    ran.clear()
    model = Played([pieces, [DONE]], headers)

    try:
        came: Result[str] | AgentkitError = anyio.run(finish, AGENT.with_model(model), "streamed")
    except AgentkitError as error:
        came = error
    partial = came if isinstance(came, Result) else came.partial
    assert partial is not None
    assert fault_in([message.to_dict() for message in partial.messages]) is None
    assert [fault_in(request["messages"]) for request in model.requests] == [None] * len(model.requests)
    return came


# Calls, and the ways in which they may come

integers = st.integers(-1000, 1000)
calls = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.fixed_dictionaries({"text": any_text(max_size=8), "times": integers})),
        st.tuples(st.just("add_all"), st.fixed_dictionaries({"numbers": st.lists(integers, max_size=3)})),
    ),
    min_size=1,
    max_size=4,
)


def cut_into(draw: Callable[[Any], Any], whole: Text, most: int) -> list[Text]:
    places: list[int] = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=most)))
    return [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]


@st.composite
def fragments(draw: Callable[[Any], Any], made: Calls) -> list[Json]:
    """Write calls as entries of deltas, in one of the ways that are all the same."""
    indexed, interleaved = draw(st.booleans()), draw(st.booleans())
    named, with_ids = draw(st.sampled_from(["first", "every"])), draw(st.sampled_from(["first", "every", "none"]))
    if not indexed and with_ids != "every":
        named = "first"  # without an index and an id, a name is another call's
    queues: list[list[Json]] = []
    for at, (name, arguments) in enumerate(made):
        written = json.dumps(arguments, ensure_ascii=draw(st.booleans()))
        entries: list[Json] = []
        for number, piece in enumerate(cut_into(draw, written, 4)):
            entry: Json = {"function": {"arguments": piece}}
            if number == 0 or named == "every":
                entry["function"]["name"] = name
            if (number == 0 and (with_ids == "first" or not indexed)) or with_ids == "every":
                entry["id"] = f"call_{at}"
            if indexed:
                entry["index"] = at
            if draw(st.booleans()):
                entry |= {"type": "function"}
            entries.append(entry)
        queues.append(entries)
    if not (indexed and interleaved):
        return [entry for entries in queues for entry in entries]
    woven = [entries.pop(0) for entries in queues]
    while any(queues):
        waiting = [entries for entries in queues if entries]
        woven.append(draw(st.sampled_from(waiting)).pop(0))
    return woven


@st.composite
def streams(draw: Callable[[Any], Any], made: Calls) -> list[bytes]:
    """Write calls as the events of a stream."""
    entries = cast("list[Json]", draw(fragments(made)))
    chunks: list[Json] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}]
    while entries:
        many = draw(st.integers(1, 3))
        chunks.append({"choices": [{"index": 0, "delta": {"tool_calls": entries[:many]}, "finish_reason": None}]})
        entries = entries[many:]
    if draw(st.booleans()):
        chunks[-1]["choices"][0]["finish_reason"] = "tool_calls"
    else:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    if draw(st.booleans()):
        chunks.append({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    space = draw(st.sampled_from([b" ", b""]))
    events = [b"data:" + space + json.dumps(chunk).encode() + end * 2 for chunk in chunks]
    if draw(st.booleans()):
        events.insert(draw(st.integers(0, len(events))), b": a comment" + end * 2)
    return [*events, b"data: [DONE]" + end * 2] if draw(st.booleans()) else events


@st.composite
def called(draw: Callable[[Any], Any]) -> tuple[Calls, list[bytes]]:
    made = cast("Calls", draw(calls))
    return made, cast("list[bytes]", draw(streams(made)))


@EXAMPLES
@given(st.data(), called())
def test_the_same_calls_run_however_they_come(data: st.DataObject, case: tuple[Calls, list[bytes]]) -> None:
    made, events = case
    came = play(*cut_into(data.draw, b"".join(events), 12))
    assert isinstance(came, Result)
    assert (came.output, ran) == ("done", made)


@settings(max_examples=25)
@given(st.data(), called())
def test_the_beginning_of_a_stream_runs_nothing_or_all(data: st.DataObject, case: tuple[Calls, list[bytes]]) -> None:
    made, events = case
    whole = b"".join(events)
    for _ in range(3):
        beginning = whole[: data.draw(st.integers(0, len(whole)))]
        if isinstance(came := play(beginning), Result):
            assert ran == made
            assert b'"finish_reason": "tool_calls"' in beginning
        else:
            assert isinstance(came, ModelError)
            assert ran == []


def mutated(draw: Callable[[Any], Any], events: list[bytes]) -> bytes:
    """Leave out, repeat and move events; or change bytes."""
    if draw(st.booleans()):
        return b"".join([event * draw(st.sampled_from([0, 1, 1, 2])) for event in draw(st.permutations(events))])
    changed = bytearray(b"".join(events))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        changed[at : at + draw(st.integers(0, 30))] = draw(st.binary(max_size=4))
    return bytes(changed)


@settings(max_examples=30)
@given(st.data(), called())
def test_whatever_comes_is_an_answer_or_an_error_of_our_own(
    data: st.DataObject, case: tuple[Calls, list[bytes]]
) -> None:
    """`play` raises an exception of any other kind, and for a history with a fault; tools run after a whole reply."""
    for _ in range(4):
        changed = mutated(data.draw, case[1])
        came = play(*cut_into(data.draw, changed, 6))
        if isinstance(came, ModelError):
            assert ran == []
        elif ran:
            assert b"finish_reason" in changed or b"DONE" in changed


@EXAMPLES
@given(st.lists(st.binary(max_size=40), max_size=6), st.sampled_from([SSE, JSON, JSON | {"content-encoding": "gzip"}]))
def test_noise_is_an_error_of_our_own(pieces: list[bytes], headers: dict[str, str]) -> None:
    assert isinstance(play(*pieces, headers=headers), ModelError)
    assert ran == []
