"""What is stored is plain JSON, and is read back as what it was."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import (
    AgentkitError,
    AssistantMessage,
    ChatResponse,
    IncompleteReply,
    LimitReached,
    ModelTimeout,
    RateLimited,
    ToolCall,
    ToolChoiceIgnored,
    ToolMessage,
    UserMessage,
    approve,
)
from agentkit.core.chat import Choice
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import MalformedReply, ModelRetry, Partial, ReplyTooLarge
from agentkit.core.http_request import HttpRequest
from agentkit.core.messages import Usage
from agentkit.durable.serializer import Json, error_of, packed, unpacked

CALL = ToolCall("c1", "add", '{"a": 1', {"index": 0})
REPLY = ChatResponse(
    (Choice(AssistantMessage("x\ud800", (CALL,), extra={"$a": {"b": 2**70}}), "stop", {"n": None}),),
    Usage(1, 2),
    "id",
    "m",
    {"$": 1},
)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**80,
        float("inf"),
        "lone \ud800",
        (1, ("a",)),
        ToolChoice("tool", "a", frozenset({"a", "b"}), frozenset({"c"}), firm=True),
        approve(CALL, {"a": 1}),
        Usage(1, 2, 3, 4, 5.5),
        ToolMessage("c1", "text", "refused", "full"),
        Partial((UserMessage("Hello"), AssistantMessage(tool_calls=(CALL,))), Usage(2)),
        REPLY,
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_read_back(value: Any) -> None:
    assert unpacked(json.loads(json.dumps(packed(value)))) == value


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(plain)
@settings(deadline=None)
def test_so_is_any_plain_data(value: object) -> None:
    choice = Choice(AssistantMessage("a"), None, {"value": value})
    assert unpacked(json.loads(json.dumps(packed(choice)))) == choice


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(ValueError, match="type object"):
        packed(object())


ERRORS = [
    RateLimited("slow", status=429, code="x", body="b", request_id="r", retry_after=1.5, should_retry=True),
    ModelTimeout("late", 3.0, "idle"),
    MalformedReply("bad", "<html>"),
    ReplyTooLarge("large", "line", 10),
    IncompleteReply("cut", "text", (CALL,)),
    LimitReached("enough", "steps", 3),
    ToolChoiceIgnored("no", AssistantMessage("x"), ToolChoice("required"), "required"),
    ModelRetry("again"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_are_read_back(error: AgentkitError) -> None:
    error.partial = Partial((UserMessage("Hello"),), Usage(1))
    read = Json().deserialize(Json().serialize(error))
    assert type(read) is type(error)
    assert str(read) == str(error)
    assert vars(read) == vars(error)


def test_what_an_error_has_that_is_no_data_is_left_out() -> None:
    error = RateLimited("slow", status=429)
    error.sent = HttpRequest("http://x", (), bytes)
    error.strange = object()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    read = Json().deserialize(Json().serialize(error))
    assert not hasattr(read, "strange")
    assert read.sent is None


def test_an_error_of_others_is_told() -> None:
    read = Json().deserialize(Json().serialize(KeyError("x")))
    assert type(read) is AgentkitError
    assert str(read) == "the run ended with KeyError: 'x'"
    assert type(error_of({"error": "OfANewerVersion", "args": packed(("text",)), "fields": {}})) is AgentkitError


def test_what_dbos_stores_is_json() -> None:
    assert Json().name() == "agentkit_json"
    assert Json().deserialize(Json().serialize({"args": ({"a": "\x00é"},), "kwargs": {}})) == {
        "args": [{"a": "\x00é"}],
        "kwargs": {},
    }
    assert Json().serialize({"a": "\x00é"}) == '{"a":"\\u0000\\u00e9"}'
    assert Json().deserialize("null") is None
