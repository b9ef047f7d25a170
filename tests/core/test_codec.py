"""Values are written as plain JSON, and read as what they were; a file that was edited is checked."""

import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import AgentkitError, BatchFailed, LimitReached, ModelRetry, ModelTimeout, Partial, RateLimited
from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.choice import ToolChoice, Values
from agentkit.core.codec import differences, read, read_error, write, write_error
from agentkit.core.errors import (
    IncompleteReply,
    MalformedReply,
    PolicyContradiction,
    ReplyTooLarge,
    StepFailed,
    ToolChoiceIgnored,
)
from agentkit.core.http_request import HttpRequest
from agentkit.core.json import encode
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.parts import ImagePart, TextPart
from agentkit.core.session import Started
from agentkit.tools.approval import Decision, approve

# Any string at all: with halves of surrogate pairs, also two that would be joined, and with NUL.
TEXT = st.text(st.characters() | st.sampled_from("\ud83d\ude00\ud800\x00"), max_size=6) | st.just("\ud83d\ude00")
NUMBER = st.integers() | st.sampled_from([2**53 + 1, 2**63, -(2**63) - 1, 10**50]) | st.floats(allow_nan=False)
ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(TEXT | st.sampled_from(["$text", "$new", "role"]) | st.integers(), inner, max_size=2)
    ),
    max_leaves=8,
)

CALL = ToolCall("c1", "add", '{"a": 1', {"index": 0})
CHOICE = Choice(AssistantMessage("x\ud800", (CALL,), extra={"$a": {"b": 2**70}}), "stop", {"n": None})
REPLY = ChatResponse((CHOICE,), Usage(1, 2), "id", "m", {"$": 1})


@given(ANY)
def test_plain_data_goes_round(value: Any) -> None:
    written = write(value)
    assert read(object, written) == value
    assert read(object, json.loads(encode(written))) == value
    reply = ChatResponse((), extra={"value": value})
    assert read(ChatResponse, json.loads(json.dumps(write(reply)))) == reply


@pytest.mark.parametrize(("value", "written"), [
    ({"a": [1, 2.5, None, True, "é"]}, {"a": [1, 2.5, None, True, "é"]}),
    (MappingProxyType({"a": 1}), {"a": 1}),
    ({"$a": 1, "b": 2}, {"$a": 1, "b": 2}),
    ({"$a": 1}, {"$dict": [["$a", 1]]}),
    ({1: 2}, {"$dict": [[1, 2]]}),
    ((1, 2), {"$tuple": [1, 2]}),
    (2**63 - 1, 2**63 - 1),
    (-(2**63) - 1, {"$int": "-0x8000000000000001"}),
    (float("-inf"), {"$float": "-inf"}),
    ("\ud83d\ude00", {"$text": "\\ud83d\\ude00"}),
])  # fmt: skip
def test_how_plain_data_is_written(value: Any, written: Any) -> None:
    assert write(value) == written
    assert read(object, written) == value


def test_what_is_not_a_number_stays_so() -> None:
    number = read(float, write(float("nan")))
    assert number != number  # noqa: PLR0124 (that is what it is)


VALUES: list[tuple[Any, Any]] = [
    (CALL, {"id": "c1", "name": "add", "arguments": '{"a": 1', "extra": {"index": 0}}),
    (Usage(1, cost=float("inf")), {"requests": 1, "cost": {"$float": "inf"}}),
    (ToolMessage("c1", "text", "refused"), {"role": "tool", "tool_call_id": "c1", "content": "text", "outcome": "refused"}),
    (UserMessage((TextPart("a"), ImagePart("data:u", "low"))), {"role": "user", "content": [{"text": "a"}, {"url": "data:u", "detail": "low"}]}),
    (
        ToolChoice("tool", "a", frozenset({"b", "a"}), frozenset({"c"}), firm=True),
        {"mode": "tool", "tool": "a", "tools": ["a", "b"], "withheld": ["c"], "firm": True},
    ),
    (approve(CALL, {"a": 1}), {"call": write(CALL), "approved": True, "arguments": '{"a":1}'}),
    (Partial((UserMessage("Hi"),), Usage(2)), {"messages": [{"role": "user", "content": "Hi"}], "usage": {"requests": 2}}),
    (Started("c1", "add", "{}"), {"call_id": "c1", "name": "add", "arguments": "{}"}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "written"), VALUES)
def test_how_values_are_written(value: Any, written: Any) -> None:
    assert write(value) == written
    assert read(value.__class__, json.loads(json.dumps(written | {"of_a_newer_version": 1}))) == value


def test_a_reply_goes_round_without_what_was_sent() -> None:
    sent = ChatResponse(REPLY.choices, REPLY.usage, "id", "m", {"$": 1}, HttpRequest("http://x", (), bytes))
    assert read(ChatResponse, json.loads(json.dumps(write(sent)))) == REPLY
    assert read(ChatResponse, write(sent)).sent is None


def test_a_named_tuple_goes_round() -> None:
    choice = ToolChoice(values=(Values("cancel", "order", ("a", 1)),))
    assert read(ToolChoice, json.loads(json.dumps(write(choice)))) == choice
    with pytest.raises(ValueError):  # noqa: PT011 (as any other)
        read(ToolChoice, {"values": [{"$tuple": ["cancel"]}]})


def test_differences() -> None:
    assert differences(UserMessage("a"), UserMessage("a")) == {}
    assert differences(UserMessage("a"), UserMessage("b")) == {"content": "a"}
    base = AssistantMessage(tool_calls=(CALL, ToolCall("c2", "f", "{}")))
    other = AssistantMessage(tool_calls=(CALL, ToolCall("c2", "f", "{oh")), origin="here")
    changed = {"tool_calls": [{}, {"arguments": "{oh"}], "origin": "here"}
    assert differences(other, base) == changed
    assert read(AssistantMessage, changed, base) == other


@pytest.mark.parametrize("value", [object(), {1, 2}, {"a": Usage()}, [b"a"]])
def test_what_is_no_data_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a value of type"):
        write(value)


EDITED: list[tuple[Any, object]] = [
    (object, {"$new": 1}),
    (object, {"$text": "é"}),
    (object, {"$text": 1}),
    (object, {"$int": "x"}),
    (object, {"$float": "1"}),
    (object, {"$dict": [1]}),
    (object, {"$dict": [[[], 1]]}),
    (str, 1),
    (Usage, None),
    (Usage, {"requests": True}),
    (Usage, {"requests": 1.5}),
    (Usage, {"cost": "much"}),
    (Usage, {"cost": False}),
    (ToolCall, {"id": "a", "name": "b"}),
    (ToolCall, {"id": "a", "name": "b", "arguments": "{}", "extra": []}),
    (UserMessage, {"role": "system", "content": "x"}),
    (UserMessage, {"content": [{"what": "x"}]}),
    (ToolMessage, {"tool_call_id": "a", "content": "b", "outcome": "fine"}),
    (ToolMessage, {"tool_call_id": "a", "content": "b", "outcome": ["ok"]}),
    (ToolMessage, {"tool_call_id": "a", "content": "b", "images": {}}),
    (ToolMessage, {"tool_call_id": "a", "content": "b", "images": [{"url": "data:u", "detail": "best"}]}),
    (Decision, {"call": write(CALL), "approved": 1}),
]


@pytest.mark.parametrize(("kind", "written"), EDITED)
def test_what_was_edited_is_checked(kind: Any, written: object) -> None:
    with pytest.raises(
        ValueError, match=r"the value|is not known|ascii|invalid literal|values to unpack|unhashable|FilePart takes"
    ):
        read(kind, written)


def test_a_refusal_names_the_place() -> None:
    reply = {"choices": [{"message": {"tool_calls": [{"id": 1, "name": "f", "arguments": "{}"}]}}]}
    with pytest.raises(ValueError, match=r"^the reply\.choices\[0\]\.message\.tool_calls\[0\]\.id cannot be 1$"):
        read(ChatResponse, reply, where="the reply")
    with pytest.raises(ValueError, match=r"tool_calls must be a list of 1, not \[\]"):
        read(AssistantMessage, {"tool_calls": []}, AssistantMessage(tool_calls=(CALL,)))


ERRORS = [
    RateLimited("slow", status=429, code="x", body="b", request_id="r", retry_after=1.5, should_retry=True),
    ModelTimeout("late", 3.0, "idle"),
    MalformedReply("bad\ud800", "<html>"),
    ReplyTooLarge("large", "line", 10),
    IncompleteReply("cut", "text", (CALL,)),
    LimitReached("enough", "steps", 3),
    ToolChoiceIgnored("no", AssistantMessage("x"), ToolChoice("required"), "required"),
    ModelRetry("again"),
    StepFailed("failed", "search", 6, "busy", "error"),
    PolicyContradiction("both", ("a", "b")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_go_round(error: AgentkitError) -> None:
    error.partial = Partial((UserMessage("Hello"), AssistantMessage(tool_calls=(CALL,))), Usage(1))
    again = read_error(json.loads(json.dumps(write_error(error))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_what_an_error_has_that_is_no_data_is_left_out() -> None:
    error = RateLimited("slow", status=429)
    error.sent = HttpRequest("http://x", (), bytes)
    error.strange = object()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    again = read_error(write_error(error))
    assert not hasattr(again, "strange")
    assert isinstance(again, RateLimited)
    assert again.sent is None
    assert write_error(BatchFailed("one failed", (KeyError("x"),))) == {"type": "BatchFailed", "message": "one failed"}


def test_an_error_of_others_is_kept_as_its_type_and_text() -> None:
    again = read_error(write_error(KeyError("x")))
    assert type(again) is AgentkitError
    assert str(again) == "KeyError: 'x'"
    for kind in ("OfANewerVersion", "Partial", None):
        assert type(read_error({"type": kind, "message": "text"})) is AgentkitError
    wrong: list[object] = [{}, [], {"type": "RateLimited"}, {"type": "RateLimited", "message": "x", "status": "429"}]
    for data in wrong:
        with pytest.raises(ValueError, match="the error's"):
            read_error(data)
