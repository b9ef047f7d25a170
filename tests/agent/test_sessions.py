"""Runs whose conversation is kept."""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from anyio import CancelScope, from_thread
from pydantic import BaseModel

from agentkit import (
    Agent,
    AgentkitError,
    ApprovalNeeded,
    AssistantMessage,
    ChatRequest,
    Event,
    HistoryRepaired,
    ImagePart,
    InvalidRequest,
    JsonLines,
    LimitReached,
    Limits,
    Memory,
    Message,
    Result,
    Session,
    SessionError,
    Sqlite,
    StepFinished,
    StepStarted,
    SystemMessage,
    ToolCall,
    ToolContext,
    ToolFinished,
    ToolMessage,
    ToolStarted,
    UserMessage,
    approve,
    deny,
    tool,
)
from agentkit.core.repair import UNKNOWN, repaired
from agentkit.core.session import Entry, Started, StoredConversation
from agentkit.core.state import State
from agentkit.models.client.connections import connection_pool
from agentkit.testing import chaos
from agentkit.tool_choice import force
from tests.endpoint import fault_in
from tests.programs import PATIENCE, started
from tests.promises.scenario import PROMPT, Log, Point, Points, Rounds, Wire, agent_of
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio

Make: TypeAlias = Callable[[Path], Session]
NEVER_RAN = "Not run: the conversation went on before this call was allowed."


def memory(_: Path) -> Session:
    return Memory()


def lines(folder: Path) -> Session:
    return JsonLines(folder / "chat.jsonl")


def table(folder: Path) -> Session:
    return Sqlite(folder / "chats.db").conversation("ann")


SESSIONS = pytest.mark.parametrize("make", [memory, lines, table])


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    await anyio.lowlevel.checkpoint()
    return a + b


@tool
def picture() -> list[object]:
    """Give a picture."""
    return ["a picture", ImagePart("https://a.example/cat.png")]


@tool(max_result=200)
def page() -> str:
    """Give a long page."""
    return "line\n" * 200


@tool(approval=True)
def pay(to: str) -> str:
    """Pay somebody."""
    return f"paid {to}"


@tool
def fails() -> str:
    """Fail."""
    raise ValueError("no")


TOOLS: list[Callable[..., Any]] = [add, picture, page, pay, fails]
ADD = ("add", {"a": 1, "b": 2})
PAY = ("pay", {"to": "Ann"})


def agent(*plays: Any, tools: Sequence[Callable[..., Any]] = TOOLS, **options: Any) -> Agent:
    return Agent(Scripted(*plays), tools=tools, **options)


def kinds(messages: Sequence[Message]) -> list[str]:
    return [type(each).__name__.removesuffix("Message") for each in messages]


def answers(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(each.content, each.outcome) for each in messages if isinstance(each, ToolMessage)]


async def loaded(session: Session) -> tuple[Message, ...]:
    return repaired((await session.load()).messages).messages


# What is kept, and when


class Noted(Memory):
    """Notes what it keeps."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log = log

    async def append(self, entries: Sequence[Entry]) -> None:
        await anyio.lowlevel.checkpoint()
        await super().append(entries)
        self.log += ["kept " + " ".join(type(each).__name__ for each in entries)]


async def test_everything_is_kept_before_anything_follows_from_it() -> None:
    log: list[str] = []

    @tool(approval=True)
    async def one() -> str:
        log.append("one runs")
        return "1"

    @tool
    def other() -> str:
        log.append("other runs")
        return "2"

    def observer(event: Event) -> None:
        if isinstance(event, StepStarted | StepFinished | ApprovalNeeded | ToolStarted | ToolFinished):
            log.append(f"told {type(event).__name__}")

    def asked(_: object) -> AssistantMessage:
        log.append("asked")
        return called(("one", {}), ("missing", {})) if log.count("asked") == 1 else called(("other", {}))

    model = Scripted(asked, asked, said("done"))
    await Agent(model, tools=[one, other], observers=[observer]).run("Go.", approver=allow, session=Noted(log))
    assert log == [
        *("kept UserMessage", "told StepStarted", "asked", "kept AssistantMessage", "told StepFinished"),
        *("told ApprovalNeeded", "kept ToolMessage", "told ToolFinished"),  # the call of no tool
        *("kept Started", "told ToolStarted", "one runs", "kept ToolMessage", "told ToolFinished"),
        *("told StepStarted", "asked", "kept AssistantMessage", "told StepFinished"),
        *("told ToolStarted", "other runs", "kept ToolMessage", "told ToolFinished"),
        *("told StepStarted", "kept AssistantMessage", "told StepFinished"),
    ]


async def allow(_: ToolCall) -> bool:
    return True


async def test_a_reply_that_is_not_taken_is_kept_with_what_answers_it() -> None:
    log: list[str] = []
    model = agent(said("no"), called(("fails", {})), called(ADD), said("done"), tool_choice=force(add), stop_at=add)
    result = await model.run("Go.", session=(session := Noted(log)))
    assert log == [
        *("kept UserMessage", "kept AssistantMessage UserMessage", "kept AssistantMessage ToolMessage"),
        *("kept AssistantMessage", "kept ToolMessage"),
    ]
    assert result.messages == await loaded(session)


@SESSIONS
@pytest.mark.parametrize("form", ["plain", "streamed"])
async def test_the_result_is_what_is_kept(make: Make, form: str, tmp_path: Path) -> None:
    release = anyio.Event()

    @tool
    async def late() -> str:
        await release.wait()
        return "late"

    @tool
    async def early() -> str:
        release.set()
        return "early"

    plays = [
        called(("late", {}), ("early", {}), ("fails", {})),
        called(("picture", {}), ("page", {}), ("add", "{")),
        said(""),
        said("done"),
    ]
    maker, session = agent(*plays, tools=[*TOOLS, late, early], instructions="Be exact."), make(tmp_path)
    if form == "plain":
        result = await maker.run("Go.", session=session)
    else:
        async with maker.stream("Go.", session=session) as run:
            async for _ in run:
                pass
        result = run.result
    assert result.messages == (SystemMessage("Be exact."), *await loaded(make(tmp_path) if make != memory else session))
    assert kinds(result.messages) == [
        *("System", "User", "Assistant", "Tool", "Tool", "Tool", "Assistant", "Tool", "Tool", "Tool"),
        *("User", "Assistant", "User", "Assistant"),
    ]
    assert (await session.load()).started == ()


@SESSIONS
async def test_a_second_run_goes_on_and_so_may_another_agent(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path)
    first = await agent(called(ADD), said("3")).run("1 + 2?", session=session)
    model = Scripted(said("It was 3."))
    told: list[Event] = []
    other = Agent(model, instructions="Be short.", observers=[told.append])
    second = await other.run("What was it?", session=session)
    sent = model.requests[0].messages
    assert sent == (SystemMessage("Be short."), *first.messages, UserMessage("What was it?"))
    assert second.messages == (*sent, AssistantMessage("It was 3."))
    assert (await session.load()).messages == second.messages[1:]
    assert (second.start, second.new_messages) == (len(sent), second.messages[-1:])
    assert not [event for event in told if isinstance(event, HistoryRepaired)]
    third = await agent(said("yes"), instructions="Be long.").run("Sure?", session=session)
    assert third.messages[0] == SystemMessage("Be long.")
    assert len([each for each in third.messages if isinstance(each, SystemMessage)]) == 1


def test_it_is_kept_without_an_event_loop(tmp_path: Path) -> None:
    agent(called(ADD), said("3")).run_sync("1 + 2?", session=lines(tmp_path))
    result = agent(said("again 3")).run_sync("Again?", session=lines(tmp_path))
    assert kinds(result.messages) == ["User", "Assistant", "Tool", "Assistant", "User", "Assistant"]


async def test_a_history_may_be_what_is_added() -> None:
    session, told = Memory(), list[Event]()
    history = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "tool", "tool_call_id": "zz", "content": "an orphan"},
    ]
    result = await agent(said("Hello"), instructions="unused", observers=[told.append]).run(history, session=session)
    assert kinds(result.messages) == ["System", "User", "Assistant"]
    assert [event.repair.what for event in told if isinstance(event, HistoryRepaired)] == ["orphan"]
    assert await loaded(session) == result.messages


# Going on without a prompt


async def test_open_calls_are_run() -> None:
    session = Memory()
    reply = called(ADD, ("add", {"a": 3, "b": 4}), ("picture", {}))
    await session.append([UserMessage("Go."), reply, ToolMessage("c1", "7, as was told")])
    model = Scripted(said("done"))
    result = await Agent(model, tools=TOOLS, instructions="Be exact.").run(session=session)
    assert answers(result.messages) == [("3", "ok"), ("7, as was told", "ok"), ("a picture", "ok")]
    assert (
        model.requests[0].messages == result.messages[:-1] == (SystemMessage("Be exact."), *await loaded(session))[:-1]
    )


@pytest.mark.parametrize("kept", [[UserMessage("Go.")], [UserMessage("Go."), called(ADD), ToolMessage("c0", "3")]])
async def test_the_model_is_asked(kept: list[Message]) -> None:
    session = Memory()
    await session.append(kept)
    result = await agent(said("done")).run(session=session)
    assert result.messages == (*kept, said("done")) == (await session.load()).messages
    assert result.start == len(kept)


class City(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("options", "play", "output", "stop"),
    [
        ({}, said("done"), "done", "answer"),
        ({"stop_at": add}, called(ADD), "3", "tool"),
        ({"output": City}, called(("final_answer", {"name": "Rome"})), City(name="Rome"), "answer"),
        ({"output": City, "output_mode": "format"}, said('{"name": "Rome"}'), City(name="Rome"), "answer"),
    ],
)
async def test_what_is_finished_is_given_without_a_request(
    options: dict[str, Any], play: AssistantMessage, output: object, stop: str
) -> None:
    session, model = Memory(), Scripted(play)
    maker = Agent(model, tools=TOOLS, **options)
    first = await maker.run("Go.", session=session)
    again = await maker.run(session=session)
    assert len(model.requests) == 1
    assert (again.output, again.stop, again.messages) == (output, stop, first.messages)
    assert (first.output, first.stop) == (output, stop)
    assert (again.steps, again.usage.requests, again.new_messages) == ((), 0, ())


async def test_there_must_be_something_to_go_on_from() -> None:
    told: list[Event] = []
    maker = agent(said("x"), observers=[told.append])
    with pytest.raises(InvalidRequest, match="at least one message"):
        await maker.run()
    with pytest.raises(InvalidRequest):
        maker.run_sync()
    with pytest.raises(InvalidRequest):
        maker.stream()
    with pytest.raises(InvalidRequest):
        await maker.run([], session=Memory())
    assert told == []
    with pytest.raises(InvalidRequest, match="at least one message"):
        await maker.run(session=Memory())


# Sessions that fail


class Failing(Memory):
    """Fails at one addition, or when it is read."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at
        self.times = 0

    async def load(self) -> StoredConversation:
        if not self.at:
            raise SessionError("it cannot be read")
        return await super().load()

    async def append(self, entries: Sequence[Entry]) -> None:
        self.times += 1
        if self.times == self.at:
            raise SessionError("the disk is full")
        await super().append(entries)


@pytest.mark.parametrize("form", ["plain", "streamed"])
async def test_what_cannot_be_kept_does_not_happen(form: str) -> None:
    ran: list[str] = []

    @tool(effect="once")
    def once(n: int) -> str:
        ran.append(f"once {n}")
        return f"once {n}"

    @tool
    async def often(n: int) -> str:
        ran.append(f"often {n}")
        return f"often {n}"

    plays = [called(("once", {"n": 1}), ("often", {"n": 2}), ("nothing", {})), called(("once", {"n": 3})), said("done")]
    for at in range(100):
        ran.clear()
        session = Failing(at)
        maker = Agent(Scripted(*plays), tools=[once, often])
        error: SessionError | None = None
        result: Result[str] | None = None
        try:
            if form == "plain":
                result = await maker.run("Go.", session=session)
            else:
                async with maker.stream("Go.", session=session) as run:
                    async for _ in run:
                        pass
                result = run.result
        except SessionError as failed:
            error = failed
        session.at = -1
        kept = await session.load()
        called_ = [call for each in kept.messages if isinstance(each, AssistantMessage) for call in each.tool_calls]
        assert {name.split()[0] for name in ran} <= {call.name for call in called_}
        records = [*kept.started, *[each for each, _ in kept.ended]]
        assert ran.count("once 1") + ran.count("once 3") <= len(records)
        if result is not None:
            assert at == 11  # there are ten additions
            return
        assert error is not None
        assert error.partial is not None
        sent = [each.to_dict() for each in error.partial.messages]
        assert fault_in(sent) is None
        assert at < 2 or kinds(kept.messages) == kinds(error.partial.messages)[: len(kept.messages)]
    raise AssertionError


# Runs that are stopped


How: TypeAlias = Literal["cancel", "cancel task"]


class Stopped(Memory):
    """A session of which each beginning and end, and what is between, is a point."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self.points = points

    async def load(self) -> StoredConversation:
        self.points.reach("load begins")
        await anyio.lowlevel.checkpoint()
        self.points.reach("load ended")
        return await super().load()

    async def append(self, entries: Sequence[Entry]) -> None:
        self.points.reach("append begins")
        await anyio.lowlevel.checkpoint()
        self.points.reach("append goes on")
        await super().append(entries)
        await anyio.lowlevel.checkpoint()
        self.points.reach("append ended")


def here(function: Callable[[], object]) -> Callable[[str], object]:
    """Have something called in this thread, also from a tool in another."""
    loop = threading.get_ident()
    return lambda _: function() if threading.get_ident() == loop else from_thread.run_sync(function)


async def stopped(how: How, form: str, maker: Agent, session: Session, points: Points) -> bool:
    """Run until it is cancelled at a point; tell whether it came through."""
    through: list[bool] = []

    async def perform() -> None:
        if form == "plain":
            await maker.run(PROMPT, session=session)
        else:
            async with maker.stream(PROMPT, session=session) as run:
                async for _ in run:
                    pass
        through.append(True)

    if how == "cancel":
        with CancelScope() as scope:
            points.act = here(scope.cancel)
            await perform()
    else:
        task = asyncio.create_task(perform())
        points.act = here(task.cancel)
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None
    return bool(through)


async def sweep(how: How, form: str) -> list[Point]:
    """Cancel at one point after the other; give those where it was."""
    wire = Wire()
    found: list[Point | None] = [None]
    with chaos(Rounds()) as endpoint, wire.laid():
        for point in found:
            await (await connection_pool()).aclose()
            log, points = Log(), Points(point)
            session = Stopped(points)
            wire.points = points
            through = await stopped(how, form, agent_of(endpoint.url, log, points), session, points)
            wire.points = session.points = Points()
            found += [each for each in points.passed if each not in found]
            assert through or points.reached
            kept = await session.load()
            # What had arrived is there: each reply, what a tool said that ended here, and all that was told.
            replies = [each for each in kept.messages if isinstance(each, AssistantMessage)]
            assert len(replies) == sum(where == "model answered" for where, _ in points.passed)
            assert log.heard == [call.name for each in replies for call in each.tool_calls][: len(log.heard)]
            told = {each.tool_call_id: each.content for each in kept.messages if isinstance(each, ToolMessage)}
            assert log.answered.items() <= told.items()
            assert ("count ends", 1) not in points.passed or "counted 2" in told.values()
            # What is answered is not run again, and what is heard is not asked again.
            after, asked = Log(list(log.heard)), Points(waits=False)
            going = agent_of(endpoint.url, after, asked)
            result = await going.run(None if kept.messages else PROMPT, session=session)
            assert result.output == "all done"
            assert result.messages == await loaded(session)
            assert fault_in([each.to_dict() for each in result.messages]) is None
            assert sum(where == "model asked" for where, _ in asked.passed) == 3 - len(replies)
            answered = {call.name for each in replies for call in each.tool_calls if call.id in told}
            assert not answered & {*after.began}
        assert [fault_in(each["messages"]) for each in endpoint.requests] == [None] * len(endpoint.requests)
    return [each for each in found if each is not None]


@pytest.mark.parametrize("form", ["plain", "streamed"])
async def test_wherever_it_is_cancelled_it_goes_on(form: str) -> None:
    swept = await sweep("cancel", form)
    assert len(swept) > 60
    assert {f"{what} {when}" for what in ("load", "append") for when in ("begins", "ended")} <= {at for at, _ in swept}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_wherever_its_task_is_cancelled_it_goes_on() -> None:
    assert len(await sweep("cancel task", "plain")) > 60


async def test_what_the_time_was_up_for_is_kept_once() -> None:
    """Also where an earlier run of the conversation was stopped in the same way."""
    session = Memory()

    @tool
    async def waits() -> str:
        await anyio.sleep_forever()
        return ""

    for number in (1, 2):
        plays = [called(("waits", {}), ADD), said(f"This is all {number}.")]
        maker = Agent(Scripted(*plays), tools=[waits, add], limits=Limits(seconds=0.2, at_end="answer"))
        result = await maker.run(f"Go {number}.", session=session)
        assert (result.stop, result.output) == ("limit", f"This is all {number}.")
        assert result.messages == await loaded(session)
        assert len((await session.load()).messages) == 5 * number
    strict = Agent(Scripted(called(("waits", {}))), tools=[waits], limits=Limits(seconds=0.2))
    with pytest.raises(LimitReached):
        await strict.run("Go 3.", session=session)
    assert kinds((await session.load()).messages)[-2:] == ["User", "Assistant"]


# Approval


@SESSIONS
@pytest.mark.parametrize(
    ("decide", "answer"),
    [(approve, ("paid Ann", "ok")), (deny, ("Not run: the user did not allow this call.", "refused"))],
)
async def test_a_paused_run_is_resumed_from_its_session(
    make: Make, decide: Callable[[ToolCall], Any], answer: tuple[str, str], tmp_path: Path
) -> None:
    session = make(tmp_path)
    paused = await agent(called(PAY, ADD)).run("Pay Ann.", session=session)
    assert (paused.stop, [call.id for call in paused.pending]) == ("paused", ["c0"])
    assert paused.messages == await loaded(session)
    session = session if make is memory else make(tmp_path)
    again = await agent(said("unused")).run(session=session)
    assert (again.stop, again.pending, again.messages) == ("paused", paused.pending, paused.messages)
    told: list[Event] = []
    maker = agent(said("done"), observers=[told.append])
    result = await maker.resume(session, [decide(call) for call in again.pending])
    assert result.output == "done"
    assert answers(result.messages) == [answer, ("3", "ok")]
    assert result.messages == await loaded(session)
    assert [event.started for event in told if isinstance(event, ApprovalNeeded)] == [False]
    with pytest.raises(InvalidRequest, match="no call 'c0'"):
        await maker.resume(session, [approve(paused.pending[0])])


async def test_a_decision_holds_for_the_very_call_only() -> None:
    """Not for one that a later reply makes, with the same id, name and arguments."""
    session = Memory()
    await agent(called(PAY)).run("Pay Ann.", session=session)
    (call,) = (await agent(said("unused")).run(session=session)).pending
    result = await agent(called(PAY), said("done")).resume(session, [approve(call)])
    assert (result.stop, answers(result.messages)) == ("paused", [("paid Ann", "ok")])
    result = await agent(called(("pay", {"to": "Bob"}))).resume(session, [approve(call)])
    assert (result.stop, [each.arguments for each in result.pending]) == ("paused", ['{"to": "Bob"}'])


async def test_a_decision_on_a_call_that_was_kept_elsewhere() -> None:
    """What someone decided on need not have the fields that one endpoint adds."""
    session = Memory()
    reply = AssistantMessage(tool_calls=(ToolCall("c0", "pay", '{"to": "Ann"}', {"signature": "x"}),))
    await session.append([UserMessage("Pay Ann."), reply])
    result = await agent(said("done")).resume(session, [approve(ToolCall("c0", "pay", '{"to": "Ann"}'))])
    assert answers(result.messages) == [("paid Ann", "ok")]


@SESSIONS
async def test_going_on_with_a_prompt_instead_of_a_decision(make: Make, tmp_path: Path) -> None:
    session = make(tmp_path)
    paused = await agent(called(PAY, ADD)).run("Pay Ann.", session=session)
    told: list[Event] = []
    model = Scripted(said("Fine."))
    result = await Agent(model, tools=TOOLS, observers=[told.append]).run("Never mind.", session=session)
    assert answers(result.messages) == [(NEVER_RAN, "refused"), ("3", "ok")]
    assert kinds(result.messages) == ["User", "Assistant", "Tool", "Tool", "User", "Assistant"]
    assert result.messages == await loaded(session)
    assert not [event for event in told if isinstance(event, HistoryRepaired)]
    with pytest.raises(InvalidRequest):
        await agent(said("x")).resume(session, [approve(paused.pending[0])])


async def test_what_was_open_and_may_have_run_is_answered_as_not_known() -> None:
    session = Memory()
    reply = called(ADD, PAY, ("unknown", {}), ("pay", {"to": "Bob"}))
    await session.append([UserMessage("Go."), reply, Started("c3", "pay", '{"to": "Bob"}', "key")])
    result = await agent(said("Fine.")).run("Never mind.", session=session)
    assert answers(result.messages) == [
        *((UNKNOWN, "cancelled"), (NEVER_RAN, "refused"), (UNKNOWN, "cancelled"), (UNKNOWN, "cancelled"))
    ]
    assert (await session.load()).messages == result.messages


async def test_whoever_goes_on_may_answer_what_waits() -> None:
    session = Memory()
    await agent(called(PAY, ADD, ("pay", {"to": "Bob"}))).run("Pay Ann and Bob.", session=session)
    by_hand: list[Message] = [ToolMessage("c0", "paid by hand"), UserMessage("I paid Ann.")]
    result = await agent(said("Thanks.")).run(by_hand, session=session)
    assert answers(result.messages) == [("paid by hand", "ok"), ("3", "ok"), (NEVER_RAN, "refused")]
    assert result.messages == await loaded(session)


async def test_someone_is_told_that_a_call_had_started() -> None:
    """Also one of a tool that may run twice: it waits for approval, and the program was stopped after that."""
    session, told = Memory(), list[Event]()
    await session.append([UserMessage("Pay Ann."), called(PAY), Started("c0", "pay", '{"to": "Ann"}', "key")])
    maker = agent(called(PAY), observers=[told.append])
    paused = await maker.run(session=session)
    result = await maker.resume(session, [deny(paused.pending[0], "I paid")])
    assert answers(result.messages) == [
        (
            "This had been started before, and it is not known how that ended. It was not run again: I paid.",
            "cancelled",
        )
    ]
    # The next call has the same id, and had not started.
    assert [event.started for event in told if isinstance(event, ApprovalNeeded)] == [True, True, False]


# Several at once


def converse(path: str, name: str) -> None:
    """What each of two processes does with one conversation."""
    session = JsonLines(path, sync=False, patience=PATIENCE)
    for number in range(TURNS):
        call = ToolCall(f"{name} {number}", "add", '{"a": 1, "b": 2}')
        plays = [AssistantMessage(tool_calls=(call,)), said(f"{name} said {number}")]
        result = agent(*plays).run_sync(f"{name} asks {number}", session=session)
        assert result.output == f"{name} said {number}"


TURNS = 12


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_two_processes_with_one_conversation(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    code = "import sys; from tests.agent.test_agent_sessions import converse; converse(*sys.argv[1:])"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, str(path)]
    with started([*command, "Ann"], cwd=root) as one, started([*command, "Bob"], cwd=root) as other:
        assert [one.wait(PATIENCE), other.wait(PATIENCE)] == [0, 0]
    kept = (await JsonLines(path).load()).messages
    for name in ("Ann", "Bob"):
        texts = [each.content for each in kept if isinstance(each, UserMessage | AssistantMessage)]
        assert [each for each in texts if str(each).startswith(f"{name} asks")] == [
            f"{name} asks {number}" for number in range(TURNS)
        ]
        assert [each for each in texts if str(each).startswith(f"{name} said")] == [
            f"{name} said {number}" for number in range(TURNS)
        ]
    assert len([each for each in kept if isinstance(each, ToolMessage) and each.content == "3"]) == 2 * TURNS
    messages = repaired(kept).messages
    assert fault_in([each.to_dict() for each in messages]) is None
    result = await agent(said("done")).run("And now?", session=JsonLines(path))
    assert result.messages[: len(messages)] == messages


@tool
async def who(what: str, ctx: ToolContext[str]) -> str:
    """Say for whom."""
    await anyio.lowlevel.checkpoint()
    return f"{what} for {ctx.deps}"


@tool(effect="once", key="what")
async def once(what: str, ctx: ToolContext[str]) -> str:
    """Do it once."""
    await anyio.lowlevel.checkpoint()
    return f"{what} for {ctx.deps} by {ctx.run_id}"


def reply(request: ChatRequest) -> AssistantMessage:
    if request.tool_choice.mode == "tool":
        return called((str(request.tool_choice.tool), {"what": "forced"}))
    spoken = [at for at, each in enumerate(request.messages) if isinstance(each, UserMessage)]
    since = [each for each in request.messages[spoken[-1] :] if isinstance(each, AssistantMessage)]
    done = any(call.name == "once" for each in since for call in each.tool_calls)
    return said("done") if done else called(("once", {"what": "this"}), ("once", {"what": "this"}))


def first_who(state: State) -> str:
    return "auto" if state.step else "who"


async def many(session_of: Callable[[int], Session], runs: int) -> None:
    """Run 200 conversations at once; agents with other policies share the tools."""
    makers = [
        Agent(Scripted(reply), tools=[who, once], deps_type=str, instructions="one"),
        Agent(Scripted(reply), tools=[who, once], deps_type=str, instructions="two", tool_choice=first_who),
    ]
    ids: set[str] = set()

    async def one(number: int) -> None:
        maker, name, session = makers[number % 2], f"run {number}.", session_of(number)
        results = [await maker.run(f"I am {name} {turn}", deps=name, session=session) for turn in range(runs)]
        messages = results[-1].messages
        assert messages[1:] == await loaded(session)
        assert messages[0] == SystemMessage(("one", "two")[number % 2])
        texts = [each.content for each in messages if isinstance(each, UserMessage)]
        assert texts == [f"I am {name} {turn}" for turn in range(runs)]
        told = [text for text, _ in answers(messages)]
        assert all(f"for {name}" in text for text in told)
        # What must happen once did so in each conversation.
        effects = {text.rpartition("\n")[2] for text in told if "this" in text}
        assert len(effects) == 1
        ids.update(effects)
        forced = [step.choice.mode for result in results for step in result.steps].count("tool")
        assert forced == (runs if number % 2 else 0)

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(one, number)
    assert len(ids) == 200


async def test_many_runs_at_once_see_nothing_of_each_other() -> None:
    sessions = [Memory() for _ in range(200)]
    await many(sessions.__getitem__, 2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_many_conversations_in_one_file(tmp_path: Path) -> None:
    file = Sqlite(tmp_path / "chats.db", sync=False)
    await many(lambda number: file.conversation(f"chat {number}"), 1)
    assert len(await file.conversations()) == 200


def test_every_error_is_the_library_s_own() -> None:
    assert issubclass(SessionError, AgentkitError)
