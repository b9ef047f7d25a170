"""Runs with a session."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from anyio import CancelScope, from_thread
from pydantic import BaseModel

from agentkit import (
    Agent,
    ApprovalNeeded,
    AssistantMessage,
    ChatRequest,
    ChatResponse,
    Event,
    HistoryRepaired,
    ImagePart,
    InvalidRequest,
    JsonLines,
    LimitReached,
    Limits,
    Memory,
    Message,
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
from agentkit.core.chat import Choice
from agentkit.core.model import OnChunk
from agentkit.core.repair import UNKNOWN, repaired
from agentkit.core.session import Entry, Started, StoredConversation
from agentkit.core.state import State
from agentkit.testing import chaos
from agentkit.tool_choice import force
from tests.endpoint import fault_in
from tests.programs import PATIENCE, started
from tests.promises.scenario import PROMPT, Asked, Log, Point, Points, Rounds, Wire, agent_of
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
    return [type(message).__name__.removesuffix("Message") for message in messages]


def answers(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.content, message.outcome) for message in messages if isinstance(message, ToolMessage)]


async def loaded(session: Session) -> tuple[Message, ...]:
    return repaired((await session.load()).messages).messages


# What is stored, and when


class Noted(Memory):
    """Logs what it stores."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log = log

    async def append(self, entries: Sequence[Entry]) -> None:
        await anyio.lowlevel.checkpoint()
        await super().append(entries)
        self.log += ["stored " + " ".join(type(entry).__name__ for entry in entries)]


async def test_everything_is_stored_before_anything_follows_from_it() -> None:
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
        *("stored UserMessage", "told StepStarted", "asked", "stored AssistantMessage", "told StepFinished"),
        *("told ApprovalNeeded", "stored ToolMessage", "told ToolFinished"),  # the call of no tool
        *("stored Started", "told ToolStarted", "one runs", "stored ToolMessage", "told ToolFinished"),
        *("told StepStarted", "asked", "stored AssistantMessage", "told StepFinished"),
        *("told ToolStarted", "other runs", "stored ToolMessage", "told ToolFinished"),
        *("told StepStarted", "stored AssistantMessage", "told StepFinished"),
    ]


async def allow(_: ToolCall) -> bool:
    return True


async def test_a_rejected_reply_is_stored_with_its_correction() -> None:
    log: list[str] = []
    model = agent(said("no"), called(("fails", {})), called(ADD), said("done"), tool_choice=force(add), stop_at=add)
    result = await model.run("Go.", session=(session := Noted(log)))
    assert log == [
        *("stored UserMessage", "stored AssistantMessage UserMessage", "stored AssistantMessage ToolMessage"),
        *("stored AssistantMessage", "stored ToolMessage"),
    ]
    assert result.messages == await loaded(session)


@SESSIONS
async def test_the_result_is_what_is_stored(make: Make, tmp_path: Path) -> None:
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
    async with maker.stream("Go.", session=session) as run:
        async for _ in run:
            pass
    messages = run.result.messages
    assert messages == (SystemMessage("Be exact."), *await loaded(make(tmp_path) if make != memory else session))
    assert kinds(messages) == [
        *("System", "User", "Assistant", "Tool", "Tool", "Tool", "Assistant", "Tool", "Tool", "Tool"),
        *("User", "Assistant", "User", "Assistant"),
    ]
    assert (await session.load()).started == ()


@SESSIONS
async def test_another_run_or_agent_continues(make: Make, tmp_path: Path) -> None:
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
    assert len([message for message in third.messages if isinstance(message, SystemMessage)]) == 1


async def test_a_history_may_be_added() -> None:
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


# Runs without a prompt


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


@pytest.mark.parametrize("stored", [[UserMessage("Go.")], [UserMessage("Go."), called(ADD), ToolMessage("c0", "3")]])
async def test_the_model_is_asked(stored: list[Message]) -> None:
    session = Memory()
    await session.append(stored)
    result = await agent(said("done")).run(session=session)
    assert result.messages == (*stored, said("done")) == (await session.load()).messages
    assert result.start == len(stored)


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
async def test_a_finished_run_returns_its_result_without_a_request(
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


async def test_there_must_be_a_message() -> None:
    told: list[Event] = []
    maker = agent(said("x"), observers=[told.append])
    with pytest.raises(InvalidRequest):
        await maker.run()
    with pytest.raises(InvalidRequest):
        maker.run_sync()
    with pytest.raises(InvalidRequest):
        maker.stream()
    with pytest.raises(InvalidRequest):
        await maker.run([], session=Memory())
    assert told == []
    with pytest.raises(InvalidRequest):
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


async def test_what_cannot_be_stored_does_not_happen() -> None:
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
    additions = 10
    for at in range(additions + 1):
        ran.clear()
        session = Failing(at)
        with pytest.raises(SessionError) as caught:
            await Agent(Scripted(*plays), tools=[once, often]).run("Go.", session=session)
        session.at = -1
        stored = await session.load()
        replies = [message for message in stored.messages if isinstance(message, AssistantMessage)]
        assert {name.split()[0] for name in ran} <= {call.name for reply in replies for call in reply.tool_calls}
        assert ran.count("once 1") + ran.count("once 3") <= len([*stored.started, *stored.ended])
        assert caught.value.partial is not None
        partial = caught.value.partial.messages
        assert fault_in([message.to_dict() for message in partial]) is None
        assert at < 2 or kinds(stored.messages) == kinds(partial)[: len(stored.messages)]
    assert (await Agent(Scripted(*plays), tools=[once, often]).run("Go.", session=Failing(additions + 1))).output


# Cancelled runs


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
        self.points.reach("append continues")
        await super().append(entries)
        await anyio.lowlevel.checkpoint()
        self.points.reach("append ended")


class InMemory:
    """The scenario's model without an endpoint."""

    name = "rounds"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        await anyio.lowlevel.checkpoint()
        rounds = [called(("fetch", {"n": 1}), ("count", {"n": 2})), called(("send", {"n": 3})), said("all done")]
        reply = rounds[sum(isinstance(message, AssistantMessage) for message in request.messages)]
        return ChatResponse((Choice(reply, "tool_calls" if reply.tool_calls else "stop"),))


def here(function: Callable[[], object]) -> Callable[[str], object]:
    """Call a function in this thread, also from a tool in another one."""
    loop = threading.get_ident()
    return lambda _: function() if threading.get_ident() == loop else from_thread.run_sync(function)


async def run_through(form: str, maker: Agent, session: Session, points: Points) -> bool:
    """Run until it is cancelled at a point, and return whether it came through. A stream is cancelled by its task."""
    through: list[bool] = []

    async def perform() -> None:
        if form == "plain":
            await maker.run(PROMPT, session=session)
        else:
            async with maker.stream(PROMPT, session=session) as run:
                async for _ in run:
                    pass
        through.append(True)

    if form == "plain":
        with CancelScope() as scope:
            points.act = here(scope.cancel)
            await perform()
    else:
        task = asyncio.create_task(perform())
        points.act = here(task.cancel)
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None
    return bool(through)


async def cancel_everywhere(form: str, url: str = "") -> list[Point]:
    """Cancel at one point after the other, and return those where it was."""

    def make(log: Log, points: Points) -> Agent:
        maker = agent_of(url or "http://127.0.0.1:9", log, points)
        return maker if url else maker.with_model(Asked(InMemory(), points))

    found: list[Point | None] = [None]
    wire = Wire()
    with wire.laid():
        for point in found:
            await (await connection_pool()).aclose()
            log, points = Log(), Points(point)
            session = Stopped(points)
            wire.points = points
            through = await run_through(form, make(log, points), session, points)
            wire.points = session.points = Points()
            found += [passed for passed in points.passed if passed not in found]
            assert through or points.reached
            stored = await session.load()
            # What had arrived is stored: each reply, the results of tools that ended, and everything observed.
            replies = [message for message in stored.messages if isinstance(message, AssistantMessage)]
            assert len(replies) == sum(where == "model answered" for where, _ in points.passed)
            assert log.heard == [call.name for reply in replies for call in reply.tool_calls][: len(log.heard)]
            results = {m.tool_call_id: m.content for m in stored.messages if isinstance(m, ToolMessage)}
            assert log.answered.items() <= results.items()
            assert ("count ends", 1) not in points.passed or "counted 2" in results.values()
            # Calls with results are not run again, and replies are not requested again.
            after, asked = Log(list(log.heard)), Points(waits=False)
            result = await make(after, asked).run(None if stored.messages else PROMPT, session=session)
            assert result.output == "all done"
            assert result.messages == await loaded(session)
            assert fault_in([message.to_dict() for message in result.messages]) is None
            assert sum(where == "model asked" for where, _ in asked.passed) == 3 - len(replies)
            answered = {call.name for reply in replies for call in reply.tool_calls if call.id in results}
            assert not answered & {*after.began}
    return [point for point in found if point is not None]


async def test_wherever_it_is_cancelled_it_resumes() -> None:
    points = await cancel_everywhere("plain")
    assert len(points) > 40
    assert {f"{what} {when}" for what in ("load", "append") for when in ("begins", "ended")} <= {at for at, _ in points}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_wherever_its_task_is_cancelled_over_a_socket_it_resumes() -> None:
    with chaos(Rounds()) as endpoint:
        assert len(await cancel_everywhere("streamed", endpoint.url)) > 60
        assert [fault_in(request["messages"]) for request in endpoint.requests] == [None] * len(endpoint.requests)


async def test_calls_at_the_time_limit_are_stored_once() -> None:
    """Also if an earlier run of the conversation ended in the same way."""
    session = Memory()

    @tool
    async def waits() -> str:
        await anyio.sleep_forever()
        return ""

    for number in (1, 2):
        plays = [called(("waits", {}), ADD), said(f"This is all {number}.")]
        maker = Agent(Scripted(*plays), tools=[waits, add], limits=Limits(seconds=0.1, at_end="answer"))
        result = await maker.run(f"Go {number}.", session=session)
        assert (result.stop, result.output) == ("limit", f"This is all {number}.")
        assert result.messages == await loaded(session)
        assert len((await session.load()).messages) == 5 * number
    strict = Agent(Scripted(called(("waits", {}))), tools=[waits], limits=Limits(seconds=0.1))
    with pytest.raises(LimitReached):
        await strict.run("Go 3.", session=session)
    assert kinds((await session.load()).messages)[-2:] == ["User", "Assistant"]


# Approval


@pytest.mark.parametrize("make", [memory, table])
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
    with pytest.raises(InvalidRequest, match="c0"):
        await maker.resume(session, [approve(paused.pending[0])])


async def test_a_decision_holds_for_the_very_call_only() -> None:
    """Not for one that a later reply makes, with the same id, name and arguments."""
    session = Memory()
    await agent(called(PAY)).run("Pay Ann.", session=session)
    (call,) = (await agent(said("unused")).run(session=session)).pending
    result = await agent(called(PAY), said("done")).resume(session, [approve(call)])
    assert (result.stop, answers(result.messages)) == ("paused", [("paid Ann", "ok")])
    result = await agent(called(("pay", {"to": "Bob"}))).resume(session, [approve(call)])
    assert (result.stop, [call.arguments for call in result.pending]) == ("paused", ['{"to": "Bob"}'])


async def test_a_decision_needs_no_extra_fields_of_the_call() -> None:
    session = Memory()
    reply = AssistantMessage(tool_calls=(ToolCall("c0", "pay", '{"to": "Ann"}', {"signature": "x"}),))
    await session.append([UserMessage("Pay Ann."), reply])
    result = await agent(said("done")).resume(session, [approve(ToolCall("c0", "pay", '{"to": "Ann"}'))])
    assert answers(result.messages) == [("paid Ann", "ok")]


@SESSIONS
async def test_a_prompt_instead_of_a_decision(make: Make, tmp_path: Path) -> None:
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


async def test_an_open_call_that_may_have_run_has_an_unknown_outcome() -> None:
    session = Memory()
    reply = called(ADD, PAY, ("unknown", {}), ("pay", {"to": "Bob"}))
    await session.append([UserMessage("Go."), reply, Started("c3", "pay", '{"to": "Bob"}', "key")])
    result = await agent(said("Fine.")).run("Never mind.", session=session)
    assert answers(result.messages) == [
        *((UNKNOWN, "cancelled"), (NEVER_RAN, "refused"), (UNKNOWN, "cancelled"), (UNKNOWN, "cancelled"))
    ]
    assert (await session.load()).messages == result.messages


async def test_the_prompt_may_answer_calls_that_wait() -> None:
    session = Memory()
    await agent(called(PAY, ADD, ("pay", {"to": "Bob"}))).run("Pay Ann and Bob.", session=session)
    by_hand: list[Message] = [ToolMessage("c0", "paid by hand"), UserMessage("I paid Ann.")]
    result = await agent(said("Thanks.")).run(by_hand, session=session)
    assert answers(result.messages) == [("paid by hand", "ok"), ("3", "ok"), (NEVER_RAN, "refused")]
    assert result.messages == await loaded(session)


async def test_the_approver_knows_that_a_call_had_started() -> None:
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


TURNS = 8


def converse(path: str, name: str) -> None:
    """Take turns in a conversation that another process has too."""
    session = JsonLines(path, sync=False, patience=PATIENCE)
    for number in range(TURNS):
        call = ToolCall(f"{name} {number}", "add", '{"a": 1, "b": 2}')
        plays = [AssistantMessage(tool_calls=(call,)), said(f"{name} said {number}")]
        result = agent(*plays).run_sync(f"{name} asks {number}", session=session)
        assert result.output == f"{name} said {number}"


def test_two_processes_with_one_conversation(tmp_path: Path) -> None:
    path = str(tmp_path / "chat.jsonl")
    code = "import sys; from tests.agent.test_sessions import converse; converse(*sys.argv[1:])"
    with started([sys.executable, "-c", code, path, "Ann"], cwd=Path(__file__).parents[2]) as other:
        while not Path(path).exists() and other.poll() is None:
            time.sleep(0.01)
        converse(path, "Bob")
        assert other.wait(PATIENCE) == 0
    result = agent(said("done")).run_sync("And now?", session=JsonLines(path))
    messages = result.messages[:-2]
    for name in ("Ann", "Bob"):
        for kind, verb in ((UserMessage, "asks"), (AssistantMessage, "said")):
            texts = [str(message.content) for message in messages if isinstance(message, kind)]
            own = [text for text in texts if text.startswith(f"{name} {verb}")]
            assert own == [f"{name} {verb} {number}" for number in range(TURNS)]
    assert [text for text, _ in answers(messages)] == ["3"] * 2 * TURNS
    assert fault_in([message.to_dict() for message in messages]) is None


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
    spoken = [at for at, message in enumerate(request.messages) if isinstance(message, UserMessage)]
    since = [message for message in request.messages[spoken[-1] :] if isinstance(message, AssistantMessage)]
    done = any(call.name == "once" for item in since for call in item.tool_calls)
    return said("done") if done else called(("once", {"what": "this"}), ("once", {"what": "this"}))


def first_who(state: State) -> str:
    return "auto" if state.step else "who"


async def many(session_of: Callable[[int], Session], runs: int) -> None:
    """Run 100 conversations at once; agents with other policies share the tools."""
    makers = [
        Agent(Scripted(reply), tools=[who, once], deps_type=str, instructions="one"),
        Agent(Scripted(reply), tools=[who, once], deps_type=str, instructions="two", tool_choice=first_who),
    ]
    ids: set[str] = set()

    async def one(number: int) -> None:
        maker, name, session = makers[number % 2], f"run {number}.", session_of(number)
        results = [await maker.run(f"I am {name} {turn}", deps=name, session=session) for turn in range(runs)]
        messages = results[-1].messages
        assert messages == (SystemMessage(("one", "two")[number % 2]), *await loaded(session))
        prompts = [message.content for message in messages if isinstance(message, UserMessage)]
        assert prompts == [f"I am {name} {turn}" for turn in range(runs)]
        texts = [text for text, _ in answers(messages)]
        assert all(f"for {name}" in text for text in texts)
        # What must happen once did so in each conversation.
        (effect,) = {text.rpartition("\n")[2] for text in texts if "this" in text}
        ids.add(effect)
        forced = [step.choice.mode for result in results for step in result.steps].count("tool")
        assert forced == (runs if number % 2 else 0)

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(one, number)
    assert len(ids) == 100


async def test_many_runs_at_once_see_nothing_of_each_other() -> None:
    sessions = [Memory() for _ in range(100)]
    await many(sessions.__getitem__, 2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_many_conversations_in_one_file(tmp_path: Path) -> None:
    file = Sqlite(tmp_path / "chats.db", sync=False)
    await many(lambda number: file.conversation(f"chat {number}"), 1)
    assert len(await file.conversations()) == 100
