from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from agentkit import AssistantMessage, Memory, SessionError, Tool, ToolCall, ToolMessage, UserMessage, tool
from agentkit.core.messages import Outcome
from agentkit.core.session import Entry, Started, StoredConversation
from agentkit.runs.recorder import Effect, Recorder, Standing, effect_key

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


OUTCOMES: tuple[Outcome, ...] = ("ok", "error", "refused", "cancelled")
CALL, OTHER = ToolCall("a", "pay", "{}"), ToolCall("b", "pay", "{}")
REPLY = AssistantMessage(tool_calls=(CALL, OTHER))
A = Started("a", "pay", "{}", "key")


# What an answer says of an effect


@pytest.mark.parametrize(
    ("before", "outcome", "after"),
    [
        ("running", "ok", "done"),
        ("running", "error", "fresh"),
        ("running", "cancelled", "started"),
        ("started", "ok", "done"),
        ("started", "error", "started"),
        ("started", "refused", "started"),
        ("open", "error", "started"),
    ],
)
def test_what_an_answer_tells(before: Standing, outcome: Outcome, after: Standing) -> None:
    effect = Effect("key", before)
    effect.settle(ToolMessage("a", "x", outcome))
    assert effect.standing == after
    assert (effect.answer is not None) == (after == "done")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_is_done_stays_done(outcome: Outcome) -> None:
    effect = Effect("key", "running")
    effect.settle(ToolMessage("a", "first"))
    effect.settle(ToolMessage("b", "second", outcome))
    assert effect == Effect("key", "done", ToolMessage("a", "first"))


# What a session knows


def known(*entries: Entry) -> Recorder:
    return Recorder(Memory(), StoredConversation.of(entries))


@pytest.mark.parametrize(
    ("entries", "standing"),
    [
        ([], "fresh"),
        ([A], "started"),
        ([A, ToolMessage("a", "x", "ok")], "done"),
        ([A, ToolMessage("a", "x", "error")], "fresh"),
        ([A, ToolMessage("a", "x", "refused")], "started"),
        ([A, ToolMessage("a", "x", "cancelled")], "started"),
        ([A, REPLY], "started"),
        ([A, ToolMessage("a", "x"), REPLY, A, ToolMessage("a", "x", "error")], "done"),
        ([A, ToolMessage("a", "x"), REPLY, A], "done"),
        ([A, ToolMessage("a", "x", "error"), REPLY, A, ToolMessage("a", "y")], "done"),
    ],
)
def test_what_is_known_of_an_effect(entries: Sequence[Entry], standing: Standing) -> None:
    assert known(REPLY, *entries).effect(ToolCall("new", "pay", "{}"), "key").standing == standing


def test_without_a_key_a_call_is_told_by_its_id() -> None:
    recorder = known(REPLY, A)
    assert recorder.had_started(CALL)
    assert not recorder.had_started(OTHER)
    assert recorder.effect(CALL, None) == Effect("key", "started")
    assert recorder.effect(OTHER, None).standing == "fresh"
    keys = {recorder.effect(OTHER, None).key for _ in range(9)}
    assert len(keys) == 9
    assert "" not in keys


def test_a_call_that_had_started_keeps_the_key_that_it_had() -> None:
    recorder = known(REPLY, A)
    effect = recorder.effect(CALL, "another key")
    assert effect == Effect("key", "started")
    assert recorder.effect(OTHER, "another key") is recorder.effect(OTHER, "key") is effect


async def test_an_id_that_is_used_again_is_that_of_another_call() -> None:
    recorder = known(REPLY, A)
    await recorder.keep(UserMessage("Go on."), REPLY)
    assert not recorder.had_started(CALL)
    assert recorder.effect(CALL, None).standing == "fresh"
    assert recorder.effect(CALL, "key").standing == "started"


# What runs elsewhere


@dataclass
class Unhashable(Memory):
    """A session of the user's own, which cannot be a key."""

    def __post_init__(self) -> None:
        Memory.__init__(self)


RUNS: list[Standing] = ["running"]


@pytest.mark.parametrize("kind", [Memory, Unhashable])
@pytest.mark.parametrize("key", [None, "key"])
def test_a_call_that_runs_elsewhere_is_known(kind: type[Memory], key: str | None) -> None:
    session = kind()
    here, there, stranger, alone = Recorder(session), Recorder(session), Recorder(kind()), Recorder()
    effect, same = here.effect(CALL, key), ToolCall("new", "pay", "{}")
    effect.standing = RUNS[0]
    with here.running(CALL, "{}", effect, keyed=key is not None), there.running(OTHER, "1", Effect("x"), keyed=False):
        assert there.runs_elsewhere(CALL)
        assert there.elsewhere(same, key, "{}") is there.elsewhere(CALL, key, "{}") is effect
        assert there.elsewhere(same, key and "other", "{ }") is None
        for recorder in (here, stranger, alone):
            assert recorder.elsewhere(CALL, key, "{}") is None
            assert not recorder.runs_elsewhere(CALL)
    # Its run was cancelled, so nobody knows how it ended.
    assert not there.runs_elsewhere(CALL)
    assert effect.standing == "started"
    assert key is None or there.effect(same, key) is effect


def test_without_a_session_or_an_effect_nothing_runs_elsewhere() -> None:
    session = Memory()
    for recorder, effect in ((Recorder(), Effect("key")), (Recorder(session), None)):
        with recorder.running(CALL, "{}", effect, keyed=False):
            assert not Recorder(session).runs_elsewhere(CALL)


# What a history from elsewhere leaves open


def test_what_nobody_knows() -> None:
    recorder = Recorder()
    recorder.doubt([CALL, OTHER])
    assert recorder.effect(CALL, "key") == Effect("key", "open")
    assert recorder.effect(CALL, "key") is recorder.effect(ToolCall("new", "pay", "{}"), "key")
    assert recorder.effect(OTHER, None).standing == "open"
    assert recorder.effect(OTHER, None).key == recorder.effect(OTHER, None).key != ""
    assert not recorder.had_started(CALL)


# What is written down


async def test_what_a_run_writes_down() -> None:
    session = Memory()
    recorder = Recorder(session)
    await recorder.keep()
    await recorder.keep(UserMessage("Pay."), REPLY)
    effect = recorder.effect(CALL, "key")
    await recorder.start(CALL, '{"edited": 1}', effect)
    await recorder.start(OTHER, "{}", None)
    assert effect.standing == "running"
    kept = await session.load()
    assert [started.call_id for started in kept.started] == ["a", "b"]
    assert kept.started[0] == Started("a", "pay", '{"edited": 1}', "key")
    assert kept.started[1].key not in ("", "key")
    await recorder.keep(ToolMessage("a", "paid"), ToolMessage("b", "paid"))
    assert effect == Effect("key", "done", ToolMessage("a", "paid"))
    assert (await session.load()).started == ()


async def test_what_is_not_kept_is_not_known() -> None:
    class Full(Memory):
        async def append(self, entries: Sequence[Entry]) -> None:
            raise SessionError(f"no room for {len(entries)}")

    recorder = Recorder(Full())
    effect = recorder.effect(CALL, "key")
    with pytest.raises(SessionError, match="no room"):
        await recorder.start(CALL, "{}", effect)
    with pytest.raises(SessionError):
        await recorder.keep(ToolMessage("a", "paid"))
    assert effect.standing == "running"


# Keys


class Colour(Enum):
    RED = 1
    BLUE = 2


class Item(BaseModel):
    name: str
    tags: set[str] = set()


@dataclass
class Spot:
    x: float
    y: Decimal = Decimal(0)


def by_what(kind: Any, name: str = "by_what") -> Tool:
    """A tool whose key is its one argument, `what`."""

    def function(what: Any) -> None: ...

    function.__annotations__["what"] = kind
    return Tool.of(tool(effect="once", key="what", name=name)(function))


NUMBER, AMOUNT, TIME, TAGS, MAPPING = map(by_what, (float, Decimal, datetime, set[str], dict[str, Any]))


@tool(effect="once", key="what")
def text(what: str | int | None = None) -> None: ...


@tool(effect="once", key="what")
def left_out(what: Literal["EUR", "USD"] = "EUR") -> None: ...


@tool(effect="once", key="what")
def several(*what: int) -> None: ...


@tool(effect="once", key="order id")
def renamed(what: Annotated[int, Field(alias="order id")]) -> None: ...


@tool(effect="once", key=("what", "of"))
def two(what: int, of: str = "EUR", note: str = "") -> None: ...


@tool(effect="once", key=lambda given: given["of"])
def told(what: int, of: str = "EUR") -> None: ...


def key(function: Callable[..., object] | Tool, arguments: str) -> str | None:
    made = Tool.of(function)
    return effect_key(made, made.arguments.validate(arguments))


@pytest.mark.parametrize(
    ("function", "one", "same", "other"),
    [
        (NUMBER, '{"what": 1}', '{"what": 1.0}', '{"what": 1.5}'),
        (NUMBER, '{"what": 1e3}', '{"what": "1000"}', '{"what": 1e400}'),
        (AMOUNT, '{"what": "1.10"}', '{"what": 1.1}', '{"what": "1.11"}'),
        (AMOUNT, '{"what": 1}', '{"what": "1.00"}', '{"what": "1e1"}'),
        (TIME, '{"what": "2026-01-01T12:00:00Z"}', '{"what": "2026-01-01T14:00+02:00"}', '{"what": 1}'),
        (TIME, '{"what": "2026-01-01T12:00:00"}', '{"what": "2026-01-01 12:00"}', '{"what": "2026-01-01T12:00Z"}'),
        (by_what(date), '{"what": "2026-01-01"}', '{"what": "2026-01-01T00:00:00"}', '{"what": "2026-01-02"}'),
        (TAGS, '{"what": ["a", "b"]}', '{"what": ["b", "a", "b"]}', '{"what": ["a"]}'),
        (MAPPING, '{"what": {"a": 1, "b": [2]}}', '{"what": {"b": [2.0], "a": 1}}', '{"what": {"a": 1, "b": ["2"]}}'),
        (MAPPING, '{"what": {"a": true}}', '{"what": {"a": true }}', '{"what": {"a": 1}}'),
        (by_what(Item), '{"what": {"name": "a"}}', '{"what": {"tags": [], "name": "a"}}', '{"what": {"name": "b"}}'),
        (by_what(Spot), '{"what": {"x": 1}}', '{"what": {"y": "0.0", "x": "1"}}', '{"what": {"x": 2}}'),
        (by_what(Colour), '{"what": 1}', '{"what": 1.0}', '{"what": 2}'),
        (by_what(SecretStr), '{"what": "a"}', '{"what":"a"}', '{"what": "b"}'),
        (text, '{"what": null}', "{}", '{"what": "null"}'),
        (left_out, '{"what": "EUR"}', "{}", '{"what": "USD"}'),
        (several, '{"what": []}', '{"what":[]}', '{"what": [1]}'),
        (renamed, '{"order id": 1}', '{"order id": "1"}', '{"order id": 2}'),
        (two, '{"what": 1, "note": "a"}', '{"of": "EUR", "what": "1"}', '{"what": 1, "of": "USD"}'),
        (told, '{"what": 1}', '{"what": 2, "of": "EUR"}', '{"what": 1, "of": "USD"}'),
    ],
)
def test_a_key_is_the_same_for_the_same_value(function: Callable[..., object], one: str, same: str, other: str) -> None:
    assert key(function, one) == key(function, same)
    assert key(function, one) != key(function, other)


def test_each_tool_has_keys_of_its_own() -> None:
    assert key(NUMBER, '{"what": 1}') != key(text, '{"what": 1}')
    assert key(Tool.of(NUMBER, name="text"), '{"what": 1}') != key(NUMBER, '{"what": 1}')
    assert effect_key(Tool.of(tool(effect="once")(without)), {}) is None


def without(what: int = 1) -> None: ...
