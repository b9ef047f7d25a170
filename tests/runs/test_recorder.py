from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import anyio
import anyio.lowlevel
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
    assert kept.started[0] == Started("a", "pay", '{"edited": 1}', "key", kept.started[1].run)
    assert kept.started[1].key not in ("", "key")
    await recorder.keep(ToolMessage("a", "paid"), ToolMessage("b", "paid"))
    assert effect == Effect("key", "done", ToolMessage("a", "paid"))
    kept = await session.load()
    assert (kept.started, kept.size) == ((), 8)
    assert [answer.content for _, answer in kept.ended] == ["paid", "paid"]


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


# Two runs that share a session


async def two_runs() -> tuple[Memory, Recorder, Recorder]:
    """Two runs, each of which read the conversation when neither had started anything."""
    session = Memory()
    await session.append([UserMessage("Pay.")])
    kept = await session.load()
    return session, Recorder(session, kept, "one"), Recorder(session, kept, "other")


async def test_a_call_that_another_run_started_is_not_started_again() -> None:
    session, one, other = await two_runs()
    paid, effect = one.effect(CALL, "key"), other.effect(OTHER, "key")
    assert await one.start(CALL, "{}", paid, keyed=True) is None
    assert await other.start(OTHER, "{}", effect, keyed=True) is effect
    assert (effect.standing, effect.answer) == ("started", None)
    await other.start(ToolCall("d", "look", "{}"), "{}", None)
    await other.keep(ToolMessage("d", "seen"))
    await other.start(ToolCall("e", "look", "{}"), "{}", None)
    other.journal._seen = 0  # as if it learned everything again
    await one.keep(ToolMessage("a", "paid"))
    mine = other.effect(ToolCall("c", "pay", '{"to": "Bob"}'), "another key")
    assert await other.start(ToolCall("c", "pay", '{"to": "Bob"}'), '{"to": "Bob"}', mine, keyed=True) is None
    assert (effect.standing, effect.answer) == ("done", ToolMessage("a", "paid"))
    kept = await session.load()
    assert [started.run for started in kept.started] == ["other", "other"]


async def test_what_failed_in_another_run_may_be_started() -> None:
    _, one, other = await two_runs()
    await one.start(CALL, "{}", one.effect(CALL, "key"), keyed=True)
    await one.keep(ToolMessage("a", "no", "error"))
    effect = other.effect(OTHER, "key")
    assert await other.start(OTHER, "{}", effect, keyed=True) is None
    assert effect.standing == "running"


@pytest.mark.parametrize("call", [CALL, OTHER, ToolCall("a", "pay", '{"to": "Bob"}')])
@pytest.mark.parametrize("once", [False, True])
async def test_without_a_key_the_same_call_is_one_with_the_same_arguments(call: ToolCall, *, once: bool) -> None:
    """One that waits for approval, and may happen twice, has the same id, too."""
    _, one, other = await two_runs()
    await one.start(CALL, CALL.arguments, one.effect(CALL, None) if once else None)
    effect = other.effect(call, None) if once else None
    found = await other.start(call, call.arguments, effect)
    assert (found is not None) == (call == CALL or (once and call == OTHER))
    # The next one is meant.
    assert await other.start(ToolCall("d", call.name, call.arguments), call.arguments, None) is None


async def test_calls_of_one_run_learn_together_what_another_one_started() -> None:
    session, one, other = await two_runs()
    await one.start(CALL, "{}", one.effect(CALL, "key"), keyed=True)
    await one.start(OTHER, "{}", one.effect(OTHER, "other key"), keyed=True)
    effects = [other.effect(call, key) for call, key in ((CALL, "key"), (OTHER, "other key"))]
    found: list[object] = []

    async def start(call: ToolCall, effect: Effect) -> None:
        found.append(await other.start(call, "{}", effect, keyed=True))

    async with anyio.create_task_group() as group:
        for call, effect in zip((CALL, OTHER), effects, strict=True):
            group.start_soon(start, call, effect)
    assert found == effects
    assert (await session.load()).size == 3


class Slow(Memory):
    """A session that answers the first start last."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = anyio.Event()
        self.first = True

    async def start(self, started: Started, seen: int) -> Sequence[Entry]:
        first, self.first = self.first, False
        news = await super().start(started, seen)
        if first:
            await self.waits.wait()
        else:
            self.waits.set()
        return news


async def test_an_answer_that_comes_late_is_not_learned_twice() -> None:
    session = Slow()
    await session.append([Started("x", "pay", "{}", "x", "another run"), Started("y", "pay", "{}", "y", "another run")])
    recorder = Recorder(session)
    found: list[object] = []

    async def start(call: ToolCall) -> None:
        found.append(await recorder.start(call, "{}", recorder.effect(call, None)))

    async with anyio.create_task_group() as group:
        group.start_soon(start, CALL)
        group.start_soon(start, OTHER)
    assert [effect is not None for effect in found] == [True, True]
    assert await recorder.start(ToolCall("c", "pay", "{}"), "{}", recorder.effect(CALL, None)) is None


# Sub-agents


async def test_a_sub_agent_shares_what_is_known_and_writes_only_that() -> None:
    session = Memory()
    outer = Recorder(session, run_id="run")
    await outer.keep(UserMessage("Pay."), REPLY)
    inner = outer.nested(CALL, 1)
    await inner.keep(AssistantMessage(tool_calls=(CALL,)))
    await inner.start(CALL, "{}", inner.effect(CALL, "key"), keyed=True)
    assert outer.effect(OTHER, "key") is inner.effect(CALL, "key")
    await inner.keep(ToolMessage("a", "paid"))
    kept = await session.load()
    assert kept.messages == (UserMessage("Pay."), REPLY)
    assert kept.ended == ((Started("1.a/a", "pay", "{}", "key", "run"), ToolMessage("a", "paid")),)
    again = Recorder(session, kept)
    assert again.effect(OTHER, "key") == Effect("key", "done", ToolMessage("a", "paid"))
    assert not again.had_started(CALL)


async def test_without_a_key_a_call_of_a_sub_agent_is_told_by_its_place() -> None:
    def keys(turn: int = 1) -> list[str]:
        inner = Recorder().nested(CALL, turn).nested(OTHER, 1)
        calls = [ToolCall("a", "pay", "{}"), ToolCall("b", "pay", "{}"), ToolCall("c", "pay", '{"to": "Bob"}')]
        assert inner.effect(calls[0], None) is inner.effect(calls[0], None)
        return [inner.effect(call, None).key for call in calls]

    assert keys() == keys()
    assert len({*keys(), *keys(2)}) == 6
    inner = Recorder().nested(CALL, 1)
    first = inner.effect(CALL, None)
    await inner.keep(REPLY)  # the id is that of another call now
    assert inner.effect(CALL, None).key != first.key


async def test_a_call_waits_for_one_that_runs_beside_it() -> None:
    effect = Effect("key", RUNS[0])
    async with anyio.create_task_group() as group:
        group.start_soon(effect.wait)
        await anyio.lowlevel.checkpoint()
        effect.abandon()
    assert effect.standing == "started"
    await effect.wait()


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
        (NUMBER, '{"what": 1e3}', '{"what": "1000"}', '{"what": 1e308}'),
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
