import bisect
import itertools
import json
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.core.assembly import Assembly
from agentkit.core.chat import ChatChunk, ChatResponse
from agentkit.core.errors import AgentkitError, IncompleteReply, MalformedReply, ReplyTooLarge
from agentkit.core.messages import AssistantMessage, ToolCall, Usage
from agentkit.core.reply_limits import ReplyLimits
from tests.strategies import any_text

Json: TypeAlias = dict[str, Any]
TOOLS = frozenset({"get_weather", "get", "now", "haha"})
PARIS = '{"city":"Paris"}'
EMPTY: list[Any] = [None, {}, [], ""]
ROME = '{"city":"Rome"}'


def chunk(delta: Any = None, finish: Any = None, index: Any = 0, **more: Any) -> Json:
    return {
        "id": "r1",
        "model": "m",
        "choices": [{"index": index, "delta": {} if delta is None else delta, "finish_reason": finish, **more}],
    }


def said(*texts: str) -> list[Json]:
    return [chunk({"content": text}) for text in texts]


def entry(index: Any = ..., call_id: Any = ..., name: Any = ..., arguments: Any = ...) -> Json:
    """A fragment of a call; what is not given is not there."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not ...}
    parts = {"index": index, "id": call_id, "function": function or ...}
    return {key: value for key, value in parts.items() if value is not ...}


def calling(*entries: Any) -> list[Json]:
    """Chunks with one fragment each."""
    return [chunk({"tool_calls": [fragment]}) for fragment in entries]


END = [chunk(finish="tool_calls")]


def reply_of(chunks: Sequence[Json], *, terminated: bool = False, tools: frozenset[str] = TOOLS) -> ChatResponse:
    assembly = Assembly(tools)
    for data in chunks:
        assembly.add(ChatChunk(data))
    assembly.terminated = terminated
    return assembly.response()


def calls_in(chunks: Sequence[Json], tools: frozenset[str] = TOOLS) -> list[tuple[str, str, str]]:
    return [(call.id, call.name, call.arguments) for call in reply_of([*chunks, *END], tools=tools).message.tool_calls]


@pytest.mark.parametrize(("entries", "calls"), [
    # one call
    ([entry(0, "c", "now", "{}")], [("c", "now", "{}")]),
    ([entry(0, "c", "now", ""), entry(0, arguments='{"a"'), entry(0, arguments=":1}")], [("c", "now", '{"a":1}')]),
    ([entry(0, "c", "now"), entry(0, None, None, "{}"), entry(0, None, None, None)], [("c", "now", "{}")]),
    ([entry(2_000_000_000, "c", "now", "{}")], [("c", "now", "{}")]),
    ([entry(-1, "c", "now", "{"), entry(-1, arguments="}")], [("c", "now", "{}")]),
    # the index missing, null or odd
    ([entry(..., "c", "now", "{"), entry(arguments="}")], [("c", "now", "{}")]),
    ([entry(None, "c", "now", "{"), entry(None, None, None, "}")], [("c", "now", "{}")]),
    ([entry(..., "c", "now", "{"), entry(..., "c", arguments="}")], [("c", "now", "{}")]),
    ([entry(..., "c", "now", "{"), entry(..., "c", "now", "}")], [("c", "now", "{}")]),
    ([entry(..., "a", "get", PARIS), entry(..., "b", "get", ROME)], [("a", "get", PARIS), ("b", "get", ROME)]),
    ([entry(..., "a", "get", "1"), entry(..., "b", "get", "2"), entry(..., "a", ..., "3")], [("a", "get", "13"), ("b", "get", "2")]),
    ([entry(..., ..., "get", PARIS), entry(..., ..., "get", ROME)], [("call_0_get", "get", PARIS), ("call_1_get", "get", ROME)]),
    ([entry(0, "c", "now", "{"), entry(..., arguments="}")], [("c", "now", "{}")]),
    ([entry("0", "a", "get", "1"), entry("1", "b", "get", "2"), entry("0", arguments="3")], [("a", "get", "13"), ("b", "get", "2")]),
    ([entry([0], "a", "get", "1"), entry([0], arguments="3")], [("a", "get", "13")]),
    # interleaved by index
    ([entry(0, "a", "get", ""), entry(1, "b", "now", ""), entry(0, arguments="1"), entry(1, arguments="2"), entry(0, arguments="3")], [("a", "get", "13"), ("b", "now", "2")]),
    ([entry(5, "a", "get", "1"), entry(2, "b", "now", "2")], [("a", "get", "1"), ("b", "now", "2")]),
    # one index for all
    ([entry(0, "a", "get", PARIS), entry(0, "b", "get", ROME)], [("a", "get", PARIS), ("b", "get", ROME)]),
    ([entry(0, "a", "get"), entry(0, "b", "now"), entry(0, arguments="2")], [("a", "get", "{}"), ("b", "now", "2")]),
    ([entry(0, "0", "get", ""), entry(0, "0", None, "1"), entry(0, "1", "get", ""), entry(0, "1", None, "2")], [("0", "get", "1"), ("1", "get", "2")]),
    ([entry(0, ..., "get"), entry(0, ..., "now"), entry(0, arguments="2")], [("call_0_get", "get", "{}"), ("call_1_now", "now", "2")]),
    ([entry(0, "a", "wizard", "1"), entry(0, "b", "wizard", "2")], [("a", "wizard", "1"), ("b", "wizard", "2")]),
    # another index for each fragment of one call
    ([entry(0, "a", "get", ""), entry(1, "a", ..., "1"), entry(2, "a", ..., "2")], [("a", "get", "12")]),
    # the id late, repeated, changing, empty, null, a number
    ([entry(0, ..., "get", "1"), entry(0, "a", ..., "2")], [("a", "get", "12")]),
    ([entry(0, ..., "get", "1"), entry(0, "a", "get", "2")], [("a", "get", "12")]),
    ([entry(..., ..., "get", "1"), entry(..., "a", ..., "2")], [("a", "get", "12")]),
    ([entry(0, "a", "get", "1"), entry(0, "a", "get", "2")], [("a", "get", "12")]),
    ([entry(0, "a", "get", ""), entry(0, "b", None, "1"), entry(0, "b", ..., "2")], [("a", "get", "12")]),
    ([entry(0, "", "get", "1"), entry(0, "", "", "2")], [("call_0_get", "get", "12")]),
    ([entry(0, None, "get", "1")], [("call_0_get", "get", "1")]),
    ([entry(0, 0, "get", "1"), entry(1, 1, "get", "2")], [("0", "get", "1"), ("1", "get", "2")]),
    ([entry(0, False, "get", "1"), entry(1, {}, "get", "2")], [("call_0_get", "get", "1"), ("call_1_get", "get", "2")]),
    ([entry(0, "a", "get", "1"), entry(1, "a", "get", "2")], [("a", "get", "1"), ("call_1_get", "get", "2")]),
    ([entry(0, "call_1_now", "get", "1"), entry(1, ..., "now", "2")], [("call_1_now", "get", "1"), ("call_1_now_", "now", "2")]),
    ([entry(0, ..., "x" * 64, "1")], [(f"call_0_{'x' * 33}", "x" * 64, "1")]),
    ([entry(0, "a"), entry(0, ..., "get"), entry(0, ..., ..., "1")], [("a", "get", "1")]),
    ([entry(..., "a"), entry(..., ..., "wizard"), entry(..., ..., ..., "1")], [("a", "wizard", "1")]),
    # the name split or repeated
    ([entry(0, "a", "get_"), entry(0, ..., "weather"), entry(0, ..., ..., "1")], [("a", "get_weather", "1")]),
    ([entry(0, "a", "get"), entry(0, ..., "_weather"), entry(0, ..., ..., "1")], [("a", "get_weather", "1")]),
    ([entry(..., "a", "get"), entry(..., ..., "_weather"), entry(..., ..., ..., "1")], [("a", "get_weather", "1")]),
    ([entry(..., ..., "get_"), entry(..., "a", "weather"), entry(..., ..., ..., "1")], [("a", "get_weather", "1")]),
    ([entry(0, "a", "ha"), entry(0, ..., "ha", "1")], [("a", "haha", "1")]),
    ([entry(0, "a", "get"), entry(0, "a", "get", "1"), entry(0, "a", "get", "2")], [("a", "get", "12")]),
    ([entry(0, "a", "get_"), entry(0, ..., "weather"), entry(0, ..., "get_weather", "1")], [("a", "get_weather", "1")]),
    ([entry(0, "a", "get"), entry(0, "a", "other", "1")], [("a", "get", "1")]),
    ([entry(0, "a", "get", "1"), entry(0, "a", "now", "2")], [("a", "get", "12")]),
    ([entry(0, "a", "wiz"), entry(0, ..., "ard", "1"), entry(0, ..., "wizard", "2")], [("a", "wizard", "12")]),
    ([entry(0, "a", 5, "1")], [("a", "5", "1")]),
    # arguments as an object, null, empty, blank
    ([entry(0, "a", "get", {"city": "Paris"})], [("a", "get", PARIS)]),
    ([entry(0, "a", "get", {}), entry(0, arguments=PARIS)], [("a", "get", PARIS)]),
    ([entry(0, "a", "get", ["Paris"])], [("a", "get", '["Paris"]')]),
    ([entry(0, "a", "get", 5)], [("a", "get", "5")]),
    *[([entry(0, "a", "get", empty)], [("a", "get", "{}")]) for empty in (None, "", " \n", EMPTY[1], ...)],
    ([entry(0, "a", "get", "null")], [("a", "get", "null")]),
    ([entry(0, "a", "get", '{"a":"\ud83d'), entry(0, arguments='\ude00"}')], [("a", "get", '{"a":"😀"}')]),
    # a name again, after arguments that are whole: https://github.com/huggingface/smolagents/issues/2768
    *[([entry(at, "a", "get", PARIS), entry(at, "a", "get", ROME)], [("a", "get", PARIS), ("call_1_get", "get", ROME)]) for at in (0, ..., None)],
    ([entry(0, "a", "get", PARIS), entry(0, "a", "get", PARIS)], [("a", "get", PARIS), ("call_1_get", "get", PARIS)]),
    ([entry(0, ..., "get", PARIS), entry(0, ..., "get", ROME)], [("call_0_get", "get", PARIS), ("call_1_get", "get", ROME)]),
    ([entry(0, "a", "get", {"city": "Paris"}), entry(0, "a", "now", '{"x"'), entry(0, "a", ..., ":1}")], [("a", "get", PARIS), ("call_1_now", "now", '{"x":1}')]),
    ([entry(0, "a", "get", PARIS), entry(0, "a", "get", ""), entry(0, ..., ..., ROME[:5]), entry(0, "a", ..., ROME[5:])], [("a", "get", PARIS), ("call_1_get", "get", ROME)]),
    ([entry(0, "a", "get", PARIS), entry(0, "a", "get", ""), entry(0, "a", "get", "\n")], [("a", "get", PARIS + "\n")]),
    ([entry(0, "a", "get", '{"x":"{}'), entry(0, "a", "get", '{}"}')], [("a", "get", '{"x":"{}{}"}')]),
    # nothing
    ([{"index": 0, "id": None, "type": None, "function": None}, entry(0, "a", "get", "1")], [("a", "get", "1")]),
    ([None, {}, entry(0, "a", "get", "1"), entry(1, "", "", ""), entry(1)], [("a", "get", "1")]),
    ([entry(0, arguments="1")], [("call_0_", "", "1")]),
    ([{"index": 0, "id": "a", "function": "get"}], [("a", "", "{}")]),
])  # fmt: skip
def test_the_fragments_of_calls(entries: list[Any], calls: list[tuple[str, str, str]]) -> None:
    assert calls_in(calling(*entries)) == calls
    assert calls_in([chunk({"tool_calls": entries})]) == calls


@pytest.mark.parametrize("first", [0, 1, ..., None])
@pytest.mark.parametrize("ids", [("a", "a"), ("", ""), (..., "a"), ("a", ...), ("a", "b")])
def test_each_entry_of_a_whole_message_is_a_call(first: Any, ids: tuple[Any, Any]) -> None:
    """Whatever its id is (smolagents#2768)."""
    entries = [entry(first, ids[0], "get", PARIS), entry(0, ids[1], "get", ROME), entry(0, ids[1], "now", "")]
    message = {"content": None, "tool_calls": entries}
    for choice in ({"message": message}, {"delta": {}, "message": message}):
        calls = calls_in([{"choices": [choice]}])
        assert [call[1:] for call in calls] == [("get", PARIS), ("get", ROME), ("now", "{}")]
        assert len({call_id for call_id, _, _ in calls}) == 3
    # A stream may call its deltas messages.
    pieces = [
        {"choices": [{"message": {"tool_calls": [piece]}}]}
        for piece in (entry(0, "a", "get", "{"), entry(0, "a", ..., "}"))
    ]
    assert calls_in(pieces) == [("a", "get", "{}")]


def test_a_name_that_is_not_known_to_be_whole_is_not_ended() -> None:
    assert calls_in(calling(entry(0, "a", "get"), entry(0, "b", "now", "1")), frozenset()) == [("a", "getnow", "1")]


LEGACY = {"function_call": {"name": "get", "arguments": PARIS}}


OTHER_FORMS: list[tuple[Any, list[tuple[str, str, str]]]] = [
    (LEGACY, [("call_0_get", "get", PARIS)]),
    (LEGACY | {"tool_calls": [entry(0, "a", "get", PARIS)]}, [("a", "get", PARIS)]),
    (LEGACY | {"tool_calls": []}, [("call_0_get", "get", PARIS)]),
    ({"tool_calls": entry(0, "a", "get", PARIS)}, [("a", "get", PARIS)]),
    *[({key: empty}, []) for key in ("tool_calls", "function_call") for empty in EMPTY],
]


@pytest.mark.parametrize(("delta", "calls"), OTHER_FORMS)
def test_calls_in_other_forms(delta: Any, calls: list[tuple[str, str, str]]) -> None:
    assert calls_in([chunk(delta)]) == calls


def test_a_legacy_call_in_fragments() -> None:
    parts = ({"name": "get", "arguments": ""}, {"arguments": '{"city":'}, {"arguments": '"Paris"}'})
    assert calls_in([chunk({"function_call": part}) for part in parts]) == [("call_0_get", "get", PARIS)]


STOP = [chunk(finish="stop")]


@pytest.mark.parametrize(("chunks", "message"), [
    (said("Hel", "", "lo"), AssistantMessage("Hello")),
    ([], AssistantMessage()),
    ([chunk({"role": "assistant", "content": ""}), chunk({"content": None})], AssistantMessage()),
    ([chunk([]), *said("Hi")], AssistantMessage("Hi")),
    (said("\ud83d", "\ude00 \ud800"), AssistantMessage("😀 \ufffd")),
    ([chunk({"refusal": "I "}), chunk({"refusal": "cannot."})], AssistantMessage(refusal="I cannot.")),
    ([chunk({"content": [{"type": "text", "text": "Hi"}]})], AssistantMessage("Hi")),
    ([chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hi"}]})], AssistantMessage("Hi")),
    ([chunk({"content": ["H", {"type": "output_text", "text": "i"}]})], AssistantMessage("Hi")),
    ([{"choices": [{"index": 0, "finish_reason": None, "content_filter_results": None}]}, *said("Hi")], AssistantMessage("Hi")),
    ([{"choices": [{"delta": {"content": "Hi"}}]}], AssistantMessage("Hi")),
    ([{"choices": [{"index": None, "delta": {"content": "Hi"}}]}], AssistantMessage("Hi")),
    ([{"choices": [{"index": "0", "delta": {"content": "Hi"}}]}], AssistantMessage("Hi")),
    ([{"choices": [{"index": "first", "delta": {"content": "Hi"}}]}], AssistantMessage("Hi")),
    ([{"choices": [None, {"index": 0.0, "delta": {"content": "Hi"}}]}], AssistantMessage("Hi")),
    ([{"choices": {"index": 0, "delta": {"content": "Hi"}}}], AssistantMessage("Hi")),
    # a whole message beside the deltas, or alone
    ([chunk({"content": "H"}, message={"content": "H"}), chunk({"content": "i"}, message={"content": "Hi"})], AssistantMessage("Hi")),
    ([chunk({"role": "assistant", "content": ""}, message={"content": "Hi"})], AssistantMessage("Hi")),
    ([{"choices": [{"delta": None, "message": {"content": "Hi"}}]}], AssistantMessage("Hi")),
    ([{"choices": [{"message": {"content": "Hi"}}]}], AssistantMessage("Hi")),
    ([{"choices": [{"message": {"content": "H"}}]}, {"choices": [{"message": {"content": "i"}}]}], AssistantMessage("Hi")),
    # unknown fields
    ([chunk({"reasoning": "Let "}), chunk({"reasoning": "me."}), *said("Hi")], AssistantMessage("Hi", extra={"reasoning": "Let me."})),
    ([chunk({"steps": [1]}), chunk({"steps": [2], "more": None})], AssistantMessage(extra={"steps": [1, 2]})),
    ([chunk({"seen": 1}), chunk({"seen": "x"}), chunk({"seen": None})], AssistantMessage(extra={"seen": "x"})),
    ([chunk({"audio": {"id": "a", "at": None}}), chunk({"audio": {"at": 1, "to": None}})], AssistantMessage(extra={"audio": {"id": "a", "at": 1, "to": None}})),
    ([chunk({"name": "bob"})], AssistantMessage(extra={"name": "bob"})),
])  # fmt: skip
def test_what_a_message_adds_up_to(chunks: list[Json], message: AssistantMessage) -> None:
    assembly = Assembly()
    for data in [*chunks, *STOP]:
        assembly.add(ChatChunk(data))
    assert assembly.response().message == message
    assert assembly.response() == assembly.response()
    assert assembly.response().message.extra == message.extra


def test_the_rest_of_a_reply() -> None:
    head = {"id": "r1", "object": "chat.completion.chunk", "created": 1}
    counts = {"prompt_tokens": 3, "completion_tokens": 4}
    reply = reply_of(
        [
            {**head, "model": "m", "service_tier": "default", "system_fingerprint": None, "choices": []},
            chunk({"content": "Hi"}, logprobs={"content": [1], "refusal": None}, filter={"hate": "no"}),
            chunk({}, "stop", logprobs={"content": [2], "refusal": None}, filter={"hate": "no"}, stop_sequence=None),
            {"id": None, "model": "", "choices": [], "usage": counts, "service_tier": "flex"},
        ]
    )
    assert (reply.id, reply.model, reply.extra) == ("r1", None, {"service_tier": "flex"})
    assert reply.usage == Usage(1, 3, 4)
    assert reply.choices[0].extra == {"logprobs": {"content": [1, 2], "refusal": None}, "filter": {"hate": "no"}}
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize(("usage", "counted"), [
    (None, None),
    ({}, None),
    ([], None),
    ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, Usage(1, 5, 7)),
])  # fmt: skip
def test_usage(usage: Any, counted: Usage | None) -> None:
    assert reply_of([*STOP, {"choices": [], "usage": usage}]).usage == counted
    assert reply_of([{**STOP[0], "usage": usage}, {"choices": [], "usage": None}]).usage == counted


@pytest.mark.parametrize(("finishes", "terminated", "finish"), [
    (["stop"], False, "stop"),
    (["stop"], True, "stop"),
    ([None], True, None),
    ([""], True, None),
    (["stop", "stop"], False, "stop"),
    (["length", None, ""], False, "length"),
    ([5], False, "5"),
])  # fmt: skip
def test_an_end(finishes: list[Any], terminated: bool, finish: str | None) -> None:
    reply = reply_of([*said("Hi"), *[chunk(finish=reason) for reason in finishes]], terminated=terminated)
    assert (reply.message.content, reply.finish_reason) == ("Hi", finish)


def test_what_comes_after_the_finish_reason_still_counts() -> None:
    assert reply_of([chunk({"content": "He"}, "stop"), *said("llo")]).message.content == "Hello"
    assert [call[1] for call in calls_in([*END, *calling(entry(0, "a", "get", "1"))])] == ["get"]


@pytest.mark.parametrize(
    "chunks", [[], said("Hel"), [*said("Hel"), chunk(finish=""), {"choices": [], "usage": {"prompt_tokens": 1}}]]
)
def test_a_stream_without_an_end_is_incomplete_and_keeps_its_text(chunks: list[Json]) -> None:
    with pytest.raises(IncompleteReply, match="no finish reason") as caught:
        reply_of(chunks)
    assert caught.value.text == ("Hel" if chunks else "")


def test_several_answers() -> None:
    chunks = [chunk({"content": "b"}, index=1), chunk({"content": "a"}, index=0), chunk({"content": "B"}, "stop", 1)]
    with pytest.raises(IncompleteReply) as caught:
        reply_of(chunks)
    assert caught.value.text == "a"
    choices = reply_of([*chunks, chunk({"content": "A"}, "length")]).choices
    assert [(choice.message.content, choice.finish_reason) for choice in choices] == [("aA", "length"), ("bB", "stop")]
    assert [choice.message.content for choice in reply_of(chunks, terminated=True).choices] == ["a", "bB"]


NO_REPLY: list[tuple[Any, str]] = [
    ({}, "no choices"),
    ({"id": None, "choices": None, "provider": {"choices": []}}, "provider"),
    ({"choices": [], "message": "what"}, "what"),
    ({"choices": "what"}, "choices"),
    ({"choices": ["what"]}, "choices"),
    ({"choices": [{"delta": "what"}]}, "delta"),
    ({"choices": [{"message": 5}]}, "message"),
    ({"choices": [{"delta": {}, "message": 5}]}, "message"),
    ({"choices": [{"delta": {"tool_calls": "what"}}]}, "tool_calls"),
    ({"choices": [{"delta": {"tool_calls": [entry(0, "a", "get"), 5]}}]}, "tool_calls"),
    ({"usage": 5}, "usage"),
]


@pytest.mark.parametrize(("data", "said"), NO_REPLY)
def test_what_is_no_reply_is_refused(data: Any, said: str) -> None:
    with pytest.raises(MalformedReply, match=said):
        reply_of([data], terminated=True)


# Laws: one reply, however it is sent.

NAMES = st.sampled_from([*sorted(TOOLS), "wizard"])
ARGUMENTS = st.dictionaries(any_text(max_size=3), any_text(max_size=5) | st.integers(), max_size=2).map(
    lambda arguments: json.dumps(arguments, ensure_ascii=False)
)
CALLS = st.lists(st.tuples(NAMES, ARGUMENTS), max_size=4)
NULLS = {"content": None, "tool_calls": None, "refusal": None, "function_call": None, "role": "assistant"}


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Cut a text anywhere, even through a surrogate pair."""
    units = text.encode("utf-16-le")
    cuts = draw(st.lists(st.integers(0, len(units) // 2), max_size=4))
    edges = [0, *sorted(cuts), len(units) // 2]
    return [units[2 * a : 2 * b].decode("utf-16-le", "surrogatepass") for a, b in itertools.pairwise(edges)]


@st.composite
def fragments(
    draw: st.DrawFn, call_id: str | None, name: str, arguments: str, index: int | None, *, alone: bool
) -> list[Json]:
    """Cut a call in a way that leaves no doubt: without an index, or with one for all, ids tell the calls apart."""
    absent = draw(st.sampled_from([None, "", ...]))
    where = draw(st.sampled_from([None, ...])) if index is None else index
    repeats_id, repeats_name = draw(st.booleans()), draw(st.booleans())
    names, given_id = [name], call_id
    if alone and index is not None:
        names = draw(st.sampled_from([[name], [name[:2], name[2:]]]))
        late = draw(st.booleans())
    else:
        late = False
        repeats_name = repeats_name and repeats_id and call_id is not None
    first = [entry(where, absent if late else given_id or absent, part) for part in names]
    again = name if repeats_name else absent
    ids = [call_id if call_id and (repeats_id or late) else absent, call_id if call_id and repeats_id else absent]
    return first + [entry(where, ids[at > 0], again, part) for at, part in enumerate([*draw(cut(arguments)), ""])]


@st.composite
def merged(draw: st.DrawFn, queues: list[list[Json]]) -> list[Json]:
    """Take from queues in turn, beginning them in their order."""
    left = [list(queue) for queue in queues if queue]
    begun = 0
    taken: list[Json] = []
    while any(left):
        some = [at for at, queue in enumerate(left) if queue and at <= begun]
        at = draw(st.sampled_from(some))
        begun = max(begun, at + 1)
        taken.append(left[at].pop(0))
    return taken


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Json], Json, str]:
    """Draw the chunks of a stream before its end, the plain body with the same content, and its text."""
    text, calls = draw(any_text(max_size=8)), draw(CALLS)
    style = draw(st.sampled_from(["index", "no index", "one index", "no id"]))
    one = style == "one index" and all(name in TOOLS for name, _ in calls)
    made: list[ToolCall] = []
    queues: list[list[Json]] = []
    for at, (name, arguments) in enumerate(calls):
        call_id = None if style == "no id" else f"id{at}"
        index = None if style == "no index" else 0 if one else 3 * at
        made.append(ToolCall(call_id or f"call_{at}_{name}", name, arguments))
        queues.append(draw(fragments(call_id, name, arguments, index, alone=index is not None and not one)))
    apart = style != "no index" and not one and draw(st.booleans())
    entries = draw(merged(queues)) if apart else [*itertools.chain(*queues)]
    groups: list[Json] = []
    while entries:
        size = draw(st.integers(1, 3))
        groups.append({"tool_calls": entries[:size]})
        del entries[:size]
    deltas = draw(merged([[{"content": part} for part in draw(cut(text))], groups]))
    if draw(st.booleans()):
        deltas = [{**NULLS, **delta} for delta in deltas]
    message = {"role": "assistant", "content": text, "tool_calls": [call.to_dict() for call in made]}
    body = {"id": "r1", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}
    return [chunk(delta) for delta in deltas], body, text


@settings(max_examples=30)
@given(streams())
def test_however_a_reply_is_cut_it_is_the_same(stream: tuple[list[Json], Json, str]) -> None:
    chunks, body, _ = stream
    whole = reply_of([body], terminated=True)
    assert reply_of([*chunks, *STOP]) == whole
    assert [call.to_dict() for call in whole.message.tool_calls] == body["choices"][0]["message"]["tool_calls"]
    last = chunks[-1]["choices"][0]
    assert reply_of([*chunks[:-1], chunk(last["delta"], "stop")], terminated=True) == whole


@settings(max_examples=20)
@given(streams())
def test_no_prefix_of_a_stream_is_a_reply(stream: tuple[list[Json], Json, str]) -> None:
    chunks, _, text = stream
    for end in range(len(chunks) + 1):
        with pytest.raises(IncompleteReply) as caught:
            reply_of(chunks[:end])
        assert text.startswith(caught.value.text.rstrip("\ufffd"))


@settings(max_examples=20)
@given(streams(), any_text(max_size=5))
def test_the_texts_of_the_chunks_are_the_text_of_the_reply(stream: tuple[list[Json], Json, str], more: str) -> None:
    chunks = [*stream[0], chunk({"content": more}), *STOP]
    texts = "".join(ChatChunk(data).text for data in chunks)
    if "\ufffd" not in texts:
        assert texts == (reply_of(chunks).message.content or "")


KEYS = [
    "choices", "delta", "message", "content", "tool_calls", "function_call", "function", "name", "arguments", "id", "index",
    "usage", "text", "type", "x", "finish_reason", "prompt_tokens", "refusal",
]  # fmt: skip
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "get", "text", "0", "\ud800"])
    | any_text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


def objects(keys: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly objects with some of these fields; the keys that are only named may have anything."""
    anything = dict.fromkeys(keys.split(), ANYTHING)
    return st.fixed_dictionaries({}, optional=anything | {key: value | ANYTHING for key, value in fields.items()})


ENTRIES = objects("index id", function=objects("name arguments"))
DELTAS = objects("content refusal x", tool_calls=st.lists(ENTRIES, max_size=3))
CHOICES = objects("finish_reason x", index=st.integers(0, 1), delta=DELTAS, message=DELTAS)
CHUNKS = objects("usage id x", choices=st.lists(CHOICES, max_size=2))


@given(st.lists(CHUNKS, max_size=4), st.booleans())
def test_whatever_comes_is_a_reply_or_an_error_of_ours(chunks: list[Json], terminated: bool) -> None:
    for data in chunks:
        ChatChunk(data).text.encode()
    try:
        reply = reply_of(chunks, terminated=terminated)
    except AgentkitError:
        return
    ids = [call.id for call in reply.message.tool_calls]
    assert len(set(ids)) == len(ids)
    assert all(ids)
    json.loads(reply.message.encoded)
    for message in (choice.message for choice in reply.choices):
        for text in (message.content, message.refusal, *[call.arguments for call in message.tool_calls]):
            (text or "").encode()


def seconds_for(chunks: Sequence[Json]) -> float:
    pieces = [ChatChunk(data) for data in chunks]
    start = time.process_time()
    assembly = Assembly(TOOLS, ReplyLimits(calls=len(pieces)))
    for piece in pieces:
        assembly.add(piece)
    assembly.terminated = True
    assembly.response()
    return time.process_time() - start


@pytest.mark.parametrize("chunks", [
    [chunk({"content": "x"})] * 8_000,
    [chunk({"reasoning": "x" * 100, "steps": [1] * 10})] * 8_000,
    calling(entry(0, "a", "get", "x")) * 8_000,
    calling(*[entry(..., f"c{at}", "get", "{}") for at in range(4_000)]),
], ids=["text", "unknown fields", "one call", "many calls"])  # fmt: skip
@pytest.mark.no_cover
def test_a_long_reply_takes_linear_time(chunks: list[Json]) -> None:
    short, long = (min(seconds_for(some) for _ in range(2)) for some in (chunks[: len(chunks) // 16], chunks))
    assert long < 16 * 6 * short


@pytest.mark.parametrize("arguments", ["{", '{"city": "Par', "{}"])
def test_a_call_that_was_cut_by_the_length_is_kept_as_it_came(arguments: str) -> None:
    chunks = [*said("I see"), *calling(entry(0, "c", "get_weather", arguments)), chunk(finish="length")]
    reply = reply_of(chunks, terminated=True)
    assert reply.message == AssistantMessage("I see", (ToolCall("c", "get_weather", arguments),))
    assert reply.finish_reason == "length"


# How large it may be


def too_large(reply_limits: ReplyLimits, chunks: Sequence[Json]) -> tuple[str, int] | None:
    """Add chunks, of which only the last may be too much; return the limit that it exceeds."""
    assembly = Assembly(TOOLS, reply_limits)
    for data in chunks[:-1]:
        assembly.add(ChatChunk(data))
    try:
        assembly.add(ChatChunk(chunks[-1]))
    except ReplyTooLarge as error:
        return error.limit, error.allowed
    return None


SMALL = ReplyLimits(arguments=10, calls=3, choices=2)


@pytest.mark.parametrize(("limit", "fits", "more"), [
    ("arguments", [entry(0, "c", "now", "12345"), entry(0, arguments="67")], entry(0, arguments="8")),
    ("arguments", [entry(0, "c", "now", {"a": 1})], entry(0, arguments={"b": 2})),
    ("arguments", [entry(0, "c", "now", "1234567"), entry(1, "d", "now", "1234567")], entry(0, arguments="8")),
    ("calls", [entry(at, f"c{at}", "now") for at in range(3)], entry(3, "c3", "now")),
    ("calls", [entry(at, "c", "now") for at in range(3)], entry(3, "d", "now")),
    ("calls", [entry(0, "c", "now"), entry(1, "c"), entry(2, "c")], entry(3, "c")),
    ("calls", [entry(..., f"c{at}", "now", "1") for at in range(3)], entry(..., "c3", "now")),
])  # fmt: skip
def test_calls_are_bounded(limit: str, fits: list[Json], more: Json) -> None:
    assert too_large(SMALL, calling(*fits)) is None
    assert too_large(SMALL, calling(*fits, more)) == (limit, getattr(SMALL, limit))


@pytest.mark.parametrize("fits", [[chunk(), chunk(index=1), chunk(index=0)], [chunk(), chunk(index="1")]])
def test_answers_are_bounded(fits: list[Json]) -> None:
    assert too_large(SMALL, fits) is None
    assert too_large(SMALL, [*fits, chunk(index=2)]) == ("choices", 2)


@pytest.mark.parametrize(("fits", "more"), [
    ([chunk({"reasoning": "x" * 99}), chunk({"reasoning": "x"})], chunk({"reasoning": "x"})),
    ([chunk({"a": "x" * 50}), chunk({"b": ["x" * 40]})], chunk({"c": 1234567})),
    ([chunk(logprobs="x" * 100)], chunk(logprobs="x")),
    ([chunk(a="x" * 60), chunk({"b": "x" * 40})], chunk(c="x")),
    ([{"a": "x" * 60}, {"b": "x" * 40}], {"c": 1}),
    (calling({"index": 0, "id": "c", "extra": "x" * 60}), *calling({"index": 0, "id": "c", "more": "x" * 41})),
    (calling({"index": 0, "id": "c", "a": ["x" * 56]}), *calling({"index": 1, "id": "d", "a": ["x" * 37]})),
])  # fmt: skip
def test_the_bytes_of_unknown_fields_are_bounded(fits: list[Json], more: Json) -> None:
    assert too_large(ReplyLimits(event=100), fits) is None
    assert too_large(ReplyLimits(event=100), [*fits, more]) == ("event", 100)


def least(chunks: Sequence[Json]) -> int:
    """Return the least number of values for which chunks are not too large."""

    def fits(values: int) -> bool:
        try:
            return too_large(ReplyLimits(values=values), chunks) is None
        except ReplyTooLarge:
            return False

    return bisect.bisect_left(range(1000), x=True, lo=1, key=fits)


@pytest.mark.parametrize(("fits", "more"), [
    ([chunk({"a": [1, 2, 3]})], chunk({"a": [4]})),
    ([chunk({"a": {"x": 1, "y": [2]}})], chunk({"b": 1})),
    ([chunk(logprobs={"content": [{"token": "a"}, {"token": "b"}]})], chunk(logprobs={"content": [{}]})),
    ([chunk(a=[1]), chunk({"b": [1]})], chunk(c=[1])),
    ([{"a": [1]}, {"b": [2]}], {"c": 1}),
    ([{"a": [1]}, {"b": [2]}], {"b": [2, 3]}),
    ([{"id": [1, 2]}], {"model": {"a": [1]}}),
    (calling({"index": 0, "id": "c", "a": [1, 2]}), *calling({"index": 0, "id": "c", "a": [3, 4]})),
    (calling({"index": 0, "id": "c", "a": [1, 2]}), *calling({"index": 1, "id": "d", "a": [3, 4]})),
    ([chunk({}, message={"a": [1, 2]})], chunk({}, message={"a": [1, 2, 3]})),
])  # fmt: skip
def test_the_values_of_unknown_fields_are_bounded(fits: list[Json], more: Json) -> None:
    values = least(fits)
    assert 1 < values < 50
    assert too_large(ReplyLimits(values=values), [*fits, more]) == ("values", values)


@pytest.mark.parametrize("again", [
    {**chunk(), "system_fingerprint": "fp_12345", "a": None},
    {**chunk(), "x": ["fp_12345"]},
    chunk({"content": "x"}),
    chunk({}, message={"a": [1, 2]}),
    {**chunk(), "usage": {"prompt_tokens": 1}},
])  # fmt: skip
def test_what_is_said_in_each_chunk_is_not_added_up(again: Json) -> None:
    assert least([again]) == least([again] * 30)
    assert too_large(ReplyLimits(event=100), [again] * 100) is None


def test_what_is_said_in_place_of_more_makes_room() -> None:
    long, short = {"a": [1] * 50}, {"a": [1]}
    assert least([long, short, {"b": [1] * 20}]) < least([long, {"b": [1] * 20}])


# What only the endpoint knows


def test_fields_of_a_call_that_are_not_known_are_kept_with_it() -> None:
    first = {**entry(0, "c", "get", "{"), "type": "function", "extra_content": {"google": {"thought_signature": "AB"}}}
    more = {**entry(0, arguments="}"), "extra_content": {"google": {"thought_signature": "CD"}}, "odd": None, "b": [1]}
    call = reply_of([*calling(first, more), *END]).message.tool_calls[0]
    assert call == ToolCall("c", "get", "{}", {"extra_content": {"google": {"thought_signature": "CD"}}, "b": [1]})


@pytest.mark.parametrize(("delta", "origin"), [
    ({"content": "Hi."}, None),
    ({"tool_calls": [entry(0, "c", "now", "{}")]}, None),
    ({"content": "Hi.", "reasoning_content": "Hm."}, "http://a.b"),
    ({"tool_calls": [{**entry(0, "c", "now", "{}"), "extra_content": {"a": 1}}]}, "http://a.b"),
])  # fmt: skip
def test_where_they_came_from_is_noted(delta: Json, origin: str | None) -> None:
    assembly = Assembly(TOOLS, origin="http://a.b")
    assembly.add(ChatChunk(chunk(delta, "stop")))
    assert assembly.response().message.origin == origin


def test_what_has_come_so_far() -> None:
    assembly = Assembly(TOOLS)
    assert (assembly.text, assembly.calls) == ("", ())
    for data in [chunk({"content": "no"}, index=1), *said("Hel"), *calling(entry(0, "c", "now", '{"a'))]:
        assembly.add(ChatChunk(data))
    assert (assembly.text, assembly.calls) == ("Hel", (ToolCall("c", "now", '{"a'),))
    with pytest.raises(IncompleteReply, match="no call in it was run") as caught:
        assembly.response()
    assert (caught.value.text, caught.value.calls) == (assembly.text, assembly.calls)
