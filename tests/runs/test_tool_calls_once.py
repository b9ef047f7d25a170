"""Calls that must happen once."""

import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest

from agentkit import (
    Agent,
    Depends,
    JsonLines,
    Memory,
    Result,
    Session,
    Tool,
    ToolContext,
    ToolError,
    approve,
    deny,
    tool,
)
from agentkit.core.dicts import dumps, loads
from agentkit.core.messages import Message, ToolMessage, UserMessage
from agentkit.core.session import Started
from agentkit.runs.events import ApprovalNeeded, Event, ToolFinished, ToolStarted
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


KEYS: list[tuple[object, str]] = []
FAILS: list[Exception] = []
BEFORE = "Done before, and not done again. The result was:\n\n"
UNKNOWN = "This had been started before, and it is not known how that ended"


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    KEYS.clear()
    FAILS.clear()


def done(what: object, ctx: ToolContext[None]) -> str:
    """Note an effect and its key."""
    KEYS.append((what, ctx.key))
    if FAILS:
        raise FAILS.pop()
    return f"done {len(KEYS)}"


def once(name: str, **options: Any) -> Tool:
    async def function(what: int, ctx: ToolContext[None]) -> str:
        return done(what, ctx)

    return Tool.of(tool(effect="once", name=name, **options)(function))


@tool(effect="once", key="what")
def keyed(what: Decimal, ctx: ToolContext[None], note: str = "") -> str:
    return done(what, ctx)


@tool(effect="once", key=("what", "of"))
async def pair(what: int, ctx: ToolContext[None], of: str = "EUR") -> str:
    return done((what, of), ctx)


@tool(effect="once", key=lambda arguments: str(arguments["what"]).lower())
async def lowered(what: str, ctx: ToolContext[None]) -> str:
    return done(what, ctx)


PLAIN = [
    once("plain"),
    once("odd", key=itemgetter("missing")),
    once("taken", key="what", on_interrupted="done"),
    once("again", key="what", on_interrupted="again"),
    once("allowed", key="what", approval=True),
    once("allowed_or_taken", key="what", approval=True, on_interrupted="done"),
]
TOOLS: list[Callable[..., Any] | Tool] = [*PLAIN, keyed, pair, lowered]


def agent(*plays: Any, **options: Any) -> Agent:
    return Agent(Scripted(*plays, said("done")), tools=TOOLS, **options)


def answers(result: Result[Any]) -> list[tuple[str, str]]:
    return [(message.content, message.outcome) for message in result.messages if isinstance(message, ToolMessage)]


async def stopped(*calls: tuple[str, Any], at: Sequence[int] = (0,), key: str = "key") -> Memory:
    """Return the conversation of a program that was stopped when some calls had started."""
    session, reply = Memory(), called(*calls)
    started = [Started(reply.tool_calls[n].id, reply.tool_calls[n].name, "{}", f"{key} {n}") for n in at]
    await session.append([UserMessage("Go."), reply, *started])
    return session


# One effect for a key


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        (("keyed", {"what": "1.0"}), ("keyed", {"what": 1, "note": "again"}), ("keyed", {"what": 2})),
        (("pair", {"what": 1}), ("pair", {"of": "EUR", "what": "1"}), ("pair", {"what": 1, "of": "USD"})),
        (("lowered", {"what": "A"}), ("lowered", {"what": "a"}), ("lowered", {"what": "b"})),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
async def test_another_call_with_the_same_key_gets_the_answer_of_the_first(
    first: tuple[str, Any], same: tuple[str, Any], other: tuple[str, Any], kept: bool
) -> None:
    session = Memory() if kept else None
    events: list[Event] = []
    # In the same reply, where the ids differ; in a later one, where they come again; and in a later run.
    result = await agent(called(first, same, same), called(same, other), observers=[events.append]).run(
        "Go.", session=session
    )
    known = (BEFORE + "done 1", "ok")
    assert answers(result) == [("done 1", "ok"), known, known, known, ("done 2", "ok")]
    assert len([event for event in events if isinstance(event, ToolStarted)]) == 2
    assert [key for _, key in KEYS] == sorted({key for _, key in KEYS}, key=[key for _, key in KEYS].index)
    if session is not None:
        later = await agent(called(other), called(same)).run("Again.", session=session)
        assert answers(later)[5:] == [(BEFORE + "done 2", "ok"), known]
        assert len(KEYS) == 2
        elsewhere = await agent(called(same)).run("Go.", session=Memory())
        assert answers(elsewhere) == [("done 3", "ok")]
        assert KEYS[2][1] == KEYS[0][1]


async def test_what_failed_may_run_again() -> None:
    session = Memory()
    FAILS.append(ValueError("no"))
    call = called(("keyed", {"what": 1}), ("keyed", {"what": 1}))
    result = await agent(call).run("Go.", session=session)
    assert answers(result) == [("ValueError: no", "error"), ("done 2", "ok")]
    FAILS.append(ToolError("closed"))
    call = called(("keyed", {"what": 2}))
    assert answers(await agent(call).run("Go.", session=session))[2:] == [("closed", "error")]
    assert answers(await agent(call).run("Go.", session=session))[3:] == [("done 4", "ok")]
    assert len({key for _, key in KEYS}) == 2


async def test_a_key_that_cannot_be_told_lets_nothing_run() -> None:
    events: list[Event] = []
    result = await agent(called(("odd", {"what": 1})), observers=[events.append]).run("Go.")
    assert answers(result) == [("Not run: it cannot be told whether this was done before.", "error")]
    assert [type(event.error) for event in events if isinstance(event, ToolFinished)] == [KeyError]


# Calls that run while the conversation goes on


@pytest.mark.parametrize("key", [None, "what"])
@pytest.mark.parametrize("stored", [False, True])
async def test_a_call_runs_while_the_user_writes_again(key: str | None, stored: bool, tmp_path: Path) -> None:
    # https://github.com/microsoft/agent-framework/issues/1366
    begun, go = anyio.Event(), anyio.Event()

    @tool(effect="once", key=key)
    async def pay(what: int, ctx: ToolContext[None]) -> str:
        begun.set()
        await go.wait()
        return done(what, ctx)

    def payer(*plays: Any) -> Agent:
        return Agent(Scripted(*plays, said("done")), tools=[pay])

    chat: Session = JsonLines(tmp_path / "chat") if stored else Memory()
    other = JsonLines(tmp_path / "chat") if stored else chat  # another object for the same file
    meanwhile: Result[Any] | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(partial(payer(called(("pay", {"what": 1}))).run, "Pay.", session=chat))
        await begun.wait()
        meanwhile = await payer(called(("pay", {"what": 1}))).run("There?", session=other)
        go.set()
    assert meanwhile is not None
    assert [outcome for _, outcome in answers(meanwhile)] == ["cancelled", "refused"]
    later = await payer(*([called(("pay", {"what": 1}))] if key else [])).run("And?", session=other)
    assert [answer for answer in answers(later) if answer[1] == "ok"] == [("done 1", "ok"), (BEFORE + "done 1", "ok")][
        : 2 if key else 1
    ]
    assert answers(later)[0] == ("done 1", "ok")
    assert len(KEYS) == 1


@pytest.mark.parametrize("name", ["keyed", "plain"])
async def test_a_run_that_read_the_conversation_before_another_one_paid(name: str) -> None:
    session, paid = Memory(), anyio.Event()
    results: list[Result[Any]] = []

    async def late(_: object) -> Any:
        await paid.wait()
        return called((name, {"what": 1}))

    async def run() -> None:
        results.append(await agent(late).run("Go.", session=session))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.lowlevel.checkpoint()
        await agent(called((name, {"what": 1}))).run("Go.", session=session)
        paid.set()
    assert (answers(results[0]), len(KEYS)) == ([(BEFORE + "done 1", "ok")], 1)


async def test_a_call_that_another_program_has_started() -> None:
    session = Memory()

    async def late(_: object) -> Any:
        await session.append([Started("x", "plain", '{"what": 1}', "x", "another run")])
        return called(("plain", {"what": 1}))

    result = await agent(late).run("Go.", session=session)
    assert [outcome for _, outcome in answers(result)] == ["refused"]
    assert not KEYS


# Calls that took too long, or whose process died


@tool(effect="once", key="what", timeout=0.2)
async def slow(what: int, ctx: ToolContext[None]) -> str:
    done(what, ctx)
    await anyio.sleep_forever()
    return ""


@tool(effect="once", key="what", isolate="process")
def dies(what: int) -> str:
    os._exit(what)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("slow", "slow did not finish in 0.2 s; it may have taken effect"),
        ("dies", "the process that ran the tool died (exit code 1); it may have taken effect"),
    ],
)
async def test_what_was_stopped_may_have_had_its_effect(name: str, text: str) -> None:
    session = Memory()
    events: list[Event] = []
    call = called((name, {"what": 1}))
    tools: list[Callable[..., Any]] = [slow, dies]
    maker = Agent(Scripted(call, call, said("done")), tools=tools, observers=[events.append])
    paused = await maker.run("Go.", session=session)
    assert answers(paused) == [(text, "cancelled")]
    assert (paused.stop, len(paused.pending)) == ("paused", 1)
    assert [event.started for event in events if isinstance(event, ApprovalNeeded)] == [True]
    # Without a session the same holds within the run.
    assert (await Agent(Scripted(call), tools=tools).run("Go.")).stop == "paused"
    denied = await maker.resume(session, [deny(paused.pending[0], "it went out")])
    assert answers(denied)[1:] == [(f"{UNKNOWN}. It was not run again: it went out.", "refused")]
    assert (await Agent(Scripted(call), tools=tools).run("Go.", session=session)).stop == "paused"


# Calls that had started when the program was stopped


@pytest.mark.parametrize("name", ["plain", "keyed"])
async def test_someone_decides(name: str) -> None:
    session = await stopped((name, {"what": 1}), (name, {"what": 2}))
    events: list[Event] = []
    paused = await agent(observers=[events.append]).run(session=session)
    assert ([call.id for call in paused.pending], answers(paused)) == (["c0"], [("done 1", "ok")])
    assert [(event.call.id, event.started) for event in events if isinstance(event, ApprovalNeeded)] == [("c0", True)]
    result = await agent().resume(session, [approve(paused.pending[0])])
    assert answers(result) == [("done 2", "ok"), ("done 1", "ok")]
    assert KEYS[1] == (1, "key 0")
    assert (await session.load()).started == ()


async def test_what_someone_denies_is_asked_about_again() -> None:
    """The next call with the same key may do it for the second time."""
    session = Memory()
    key = (await agent(called(("keyed", {"what": 1}))).run("Go."), KEYS[0][1])[1]
    await session.append([UserMessage("Go."), called(("keyed", {"what": 1})), Started("c0", "keyed", "{}", key)])
    (call,) = (await agent().run(session=session)).pending
    paused = await agent(called(("keyed", {"what": 1}))).resume(session, [deny(call)])
    assert (paused.stop, len(KEYS)) == ("paused", 1)
    result = await agent().resume(session, [approve(paused.pending[0])])
    assert (result.output, KEYS[1]) == ("done", (1, key))


async def test_a_call_that_the_conversation_left_behind_is_not_forgotten() -> None:
    """Nobody answered it, and its id is that of another call now."""
    key = (await agent(called(("taken", {"what": 1}))).run("Go."), KEYS.pop()[1])[1]
    session = await stopped(("taken", {"what": 1}), at=())
    await session.append([Started("c0", "taken", "{}", key), UserMessage("Hello?"), called(("plain", {"what": 1}))])
    result = await agent(called(("taken", {"what": 1}))).run(session=session)
    assert [text for text, _ in answers(result)[1:]] == [
        "done 1",
        f"{UNKNOWN}. It is taken as done, and was not run again.",
    ]


async def test_what_cannot_run_leaves_it_unknown() -> None:
    """A call that had started, and is answered without being run, does not say that nothing happened."""
    broken = [True]

    def connection() -> str:
        if broken:
            raise OSError("no connection")
        return "connected"

    @tool(effect="once", key="what", on_interrupted="again")
    async def send(what: int, to: Annotated[str, Depends(connection)], ctx: ToolContext[None]) -> str:
        return done(what, ctx)

    call = called(("send", {"what": 1}))
    session = await stopped(("send", {"what": 1}), ("gone", {}), ("send", "{"), at=(0, 1, 2))
    result = await Agent(Scripted(said("done")), tools=[send]).run(session=session)
    assert [outcome for _, outcome in answers(result)] == ["cancelled"] * 3
    broken.clear()
    await Agent(Scripted(call, said("done")), tools=[send]).run("Again.", session=session)
    assert len(KEYS) == 1


# Approval, and other arguments


async def test_approval_comes_after_what_is_known() -> None:
    session, events = Memory(), list[Event]()
    call = called(("allowed", {"what": 1}), ("allowed", {"what": 1}))
    paused = await agent(call).run("Go.", session=session)
    assert len(paused.pending) == 2
    result = await agent(call, observers=[events.append]).resume(session, [approve(call) for call in paused.pending])
    known = (BEFORE + "done 1", "ok")
    assert answers(result) == [("done 1", "ok"), known, known, known]
    assert [event.started for event in events if isinstance(event, ApprovalNeeded)] == [False]


async def test_other_arguments_have_their_own_effect() -> None:
    session = Memory()
    await agent(called(("keyed", {"what": 2}))).run("Go.", session=session)
    (waits,) = (await agent(called(("allowed", {"what": 1}))).run("Go.", session=session)).pending
    result = await agent(called(("allowed", {"what": 1}))).resume(session, [approve(waits, {"what": 2})])
    assert [what for what, _ in KEYS] == [2, 2]
    assert result.stop == "paused"  # for the first has still not happened
    result = await agent(called(("allowed", {"what": 2}))).resume(session, [approve(result.pending[0])])
    assert [what for what, _ in KEYS] == [2, 2, 1]
    assert answers(result)[-1][0].startswith(BEFORE + "The user changed the arguments")
    (waits,) = (await agent(called(("allowed", {"what": 3}))).run("Go.", session=session)).pending
    result = await agent().resume(session, [approve(waits, {"what": 1})])
    assert answers(result)[-1][0].startswith(BEFORE)
    assert len(KEYS) == 3


# Without a session


async def test_what_a_history_leaves_open_counts_as_started() -> None:
    history: list[Message] = [UserMessage("Go."), called(("keyed", {"what": 1}), ("keyed", {"what": 1}))]
    events: list[Event] = []
    paused = await agent(observers=[events.append]).run(history)
    assert len(paused.pending) == 2
    assert [event.started for event in events if isinstance(event, ApprovalNeeded)] == [True, True]
    result = await agent().resume(loads(dumps(paused.messages)), [approve(call) for call in paused.pending])
    assert answers(result) == [("done 1", "ok"), (BEFORE + "done 1", "ok")]
    fresh = await agent(called(("keyed", {"what": 1}))).run("Go.")
    assert fresh.output == "done"
    assert KEYS[0] == KEYS[1]  # it is the very key that it would have had


async def test_what_a_history_leaves_open_and_the_policies() -> None:
    calls = called(("taken", {"what": 1}), ("again", {"what": 1}), ("plain", {"what": 1}))
    history: list[Message] = [UserMessage("Go."), calls]
    session: Session
    for session in (None, Memory()):  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
        KEYS.clear()
        paused = await agent().run(history, session=session)
        assert [call.name for call in paused.pending] == ["plain"]
        assert [text for text, _ in answers(paused)] == [
            f"{UNKNOWN}. It is taken as done, and was not run again.",
            "done 1",
        ]
        assert all(key for _, key in KEYS)


async def test_what_waits_for_approval_had_not_started() -> None:
    """A history that ends in such a call is that of a paused run."""
    events: list[Event] = []
    calls = called(("allowed", {"what": 1}), ("allowed_or_taken", {"what": 2}), ("allowed", {"what": 3}))
    paused = await agent(calls).run("Go.")
    assert len(paused.pending) == 3
    decisions = [approve(paused.pending[0]), approve(paused.pending[1]), deny(paused.pending[2])]
    result = await agent(observers=[events.append]).resume(loads(dumps(paused.messages)), decisions)
    assert sorted(answers(result)) == [
        ("Not run: the user did not allow this call.", "refused"),
        ("done 1", "ok"),
        ("done 2", "ok"),
    ]
    assert [event.started for event in events if isinstance(event, ApprovalNeeded)] == [False] * 3
