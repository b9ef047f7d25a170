"""Runs with a session."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from anyio import CancelScope, Event, create_task_group, from_thread, sleep_forever
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from agentkit import (
    Agent,
    ChatRequest,
    Depends,
    ImagePart,
    JsonLines,
    Limits,
    Memory,
    Session,
    Sqlite,
    ToolContext,
    tool,
)
from agentkit.core.errors import InvalidRequest, LimitReached, SessionError
from agentkit.core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from agentkit.core.repair import UNKNOWN, repaired
from agentkit.core.session import Entry, Started, StoredConversation
from agentkit.runs.events import ApprovalNeeded, HistoryRepaired, StepFinished, StepStarted, ToolFinished, ToolStarted
from agentkit.tool_choice import force
from agentkit.tools.approval import approve, deny
from tests.agent import tool_messages
from tests.endpoint import fault_in
from tests.programs import PATIENCE
from tests.promises.scenario import PROMPT, Log, Point, PointedModel, Points, agent_of
from tests.promises.scenario import TOOLS as SCENARIO_TOOLS
from tests.scripted import Scripted, called, said
from tests.sessions import Make, lines, memory, table

pytestmark = pytest.mark.anyio


@tool
async def add(a: int, b: int) -> int:
    await checkpoint()
    return a + b


@tool
def picture() -> list[object]:
    return ["a picture", ImagePart("https://a.example/cat.png")]


@tool(max_result=200)
def page() -> str:
    return "line\n" * 200


@tool(approval=True)
def pay(to: str) -> str:
    return f"paid {to}"


@tool
def fails() -> str:
    raise ValueError("no")


TOOLS: list[Callable[..., Any]] = [add, picture, page, pay, fails]
ADD, PAY, PAY_BOB = ("add", {"a": 1, "b": 2}), ("pay", {"to": "Ann"}), ("pay", {"to": "Bob"})


def agent(*plays: Any, tools: Sequence[Callable[..., Any]] = TOOLS, **options: Any) -> Agent[Any, Any]:
    return Agent(Scripted(*plays), tools=tools, **options)


def kinds(messages: Sequence[Message]) -> str:
    return " ".join(type(message).__name__.removesuffix("Message") for message in messages)


def answers(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.content, message.outcome) for message in tool_messages(messages)]


def outcomes(messages: Sequence[Message]) -> list[str]:
    return [message.outcome for message in tool_messages(messages)]


async def loaded(session: Session) -> tuple[Message, ...]:
    return repaired((await session.load()).messages).messages


# What is stored, and when


async def test_everything_is_stored_before_anything_follows_from_it() -> None:
    log: list[str] = []

    class Logged(Memory):
        async def append(self, entries: Sequence[Entry]) -> None:
            await checkpoint()
            await super().append(entries)
            log.append("stored " + " ".join(type(entry).__name__ for entry in entries))

    @tool(approval=True)
    async def one() -> None:
        log.append("one runs")

    @tool
    def other() -> None:
        log.append("other runs")

    def observer(event: object) -> None:
        if isinstance(event, StepStarted | StepFinished | ApprovalNeeded | ToolStarted | ToolFinished):
            log.append(type(event).__name__)

    def asked(_: object) -> AssistantMessage:
        log.append("asked")
        return called(("one", {}), ("missing", {})) if log.count("asked") == 1 else called(("other", {}))

    maker = agent(asked, asked, said("done"), tools=[one, other], observers=[observer])
    await maker.run("Go.", approver=lambda _: True, session=Logged())
    assert log == [
        *("stored UserMessage", "StepStarted", "asked", "stored AssistantMessage", "StepFinished"),
        *("ApprovalNeeded", "stored ToolMessage", "ToolFinished"),  # the call of no tool
        *("stored Started", "ToolStarted", "one runs", "stored ToolMessage Ended", "ToolFinished"),
        *("StepStarted", "asked", "stored AssistantMessage", "StepFinished"),
        *("ToolStarted", "other runs", "stored ToolMessage", "ToolFinished"),
        *("StepStarted", "stored AssistantMessage", "StepFinished"),
    ]
    # A rejected reply is stored with its correction.
    log.clear()
    plays = said("no"), called(("fails", {})), called(ADD), said("done")
    result = await agent(*plays, tool_choice=force(add), stop_at=add).run("Go.", session=(session := Logged()))
    assert log == [
        *("stored UserMessage", "stored AssistantMessage UserMessage", "stored AssistantMessage ToolMessage"),
        *("stored AssistantMessage", "stored ToolMessage"),
    ]
    assert result.messages == await loaded(session)


@pytest.mark.parametrize("make", [memory, lines, table])
async def test_the_result_is_what_is_stored_and_another_agent_continues(make: Make, tmp_path: Path) -> None:
    release = Event()

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
    session = make(tmp_path)
    maker = agent(*plays, tools=[*TOOLS, late, early], instructions="Be exact.")
    messages = (await maker.run("Go.", session=session)).messages
    session = session if isinstance(session, Memory) else make(tmp_path)
    assert messages == (SystemMessage("Be exact."), *await loaded(session))
    asked = "Assistant Tool Tool Tool"
    assert kinds(messages) == f"System User {asked} {asked} User Assistant User Assistant"
    assert (await session.load()).started == ()
    model, events = Scripted(said("It was 3.")), list[object]()
    other = Agent(model, instructions="Be short.", observers=[events.append])
    result = await other.run("What was it?", session=session)
    sent = model.requests[0].messages
    assert sent == (SystemMessage("Be short."), *messages[1:], UserMessage("What was it?"))
    assert result.messages == (*sent, AssistantMessage("It was 3."))
    assert await loaded(session) == result.messages[1:]
    assert (result.start, result.new_messages) == (len(sent), result.messages[-1:])
    assert not [event for event in events if isinstance(event, HistoryRepaired)]


# Runs without a prompt


@pytest.mark.parametrize(
    ("stored", "results"),
    [
        ([], []),
        ([called(ADD), ToolMessage("c0", "3")], ["3"]),
        ([called(ADD, ADD, ("picture", {})), ToolMessage("c1", "before")], ["3", "before", "a picture"]),
    ],
)
async def test_open_calls_run_and_the_model_is_asked(stored: list[Message], results: list[str]) -> None:
    session, model = Memory(), Scripted(said("done"))
    await session.append([UserMessage("Go."), *stored])
    result = await Agent(model, tools=TOOLS, instructions="Be exact.").run(session=session)
    assert [text for text, _ in answers(result.messages)] == results
    assert result.messages == (SystemMessage("Be exact."), *await loaded(session))
    assert model.requests[0].messages == result.messages[:-1]


class City(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("options", "play", "output"),
    [
        ({}, said("done"), "done"),
        ({"stop_at": add}, called(ADD), "3"),
        ({"output": City}, called(("final_answer", {"name": "Rome"})), City(name="Rome")),
        ({"output": City, "output_mode": "format"}, said('{"name": "Rome"}'), City(name="Rome")),
    ],
)
async def test_a_finished_run_returns_its_result_without_a_request(options: Any, play: Any, output: object) -> None:
    session, model = Memory(), Scripted(play)
    maker: Agent[Any, Any] = Agent(model, tools=TOOLS, **options)
    with pytest.raises(InvalidRequest):
        await maker.run([], session=session)
    with pytest.raises(InvalidRequest):
        await maker.run(session=session)
    first = await maker.run("Go.", session=session)
    again = await maker.run(session=session)
    stop = "tool" if "stop_at" in options else "answer"
    assert (first.output, first.stop, len(model.requests)) == (output, stop, 1)
    assert (again.output, again.stop, again.messages) == (output, stop, first.messages)
    assert (again.steps, again.usage.requests, again.new_messages) == ((), 0, ())


# Sessions that fail, and cancelled runs


class Counted(Memory):
    """A session of which each beginning and end, and what is between, is a point."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self.points = points

    async def load(self) -> StoredConversation:
        self.points.reach("load begins")
        await checkpoint()
        self.points.reach("load ended")
        return await super().load()

    async def append(self, entries: Sequence[Entry]) -> None:
        self.points.reach("append begins")
        await checkpoint()
        self.points.reach("append continues")
        await super().append(entries)
        await checkpoint()
        self.points.reach("append ended")


def fail(_: str) -> None:
    raise SessionError("the disk is full")


async def test_what_cannot_be_stored_does_not_happen() -> None:
    ran: list[str] = []

    @tool(effect="once")
    def once(n: int) -> None:
        ran.append(f"once {n}")

    @tool
    async def often(n: int) -> None:
        ran.append(f"often {n}")

    plays = [called(("once", {"n": 1}), ("often", {"n": 2}), ("nothing", {})), called(("once", {"n": 3})), said("done")]
    appends = 10
    for point in [("load begins", 1), *[("append begins", number) for number in range(1, appends + 1)]]:
        ran.clear()
        session = Counted(Points(point, fail))
        with pytest.raises(SessionError) as caught:
            await agent(*plays, tools=[once, often]).run("Go.", session=session)
        session.points = Points()
        stored = await session.load()
        replies = [message for message in stored.messages if isinstance(message, AssistantMessage)]
        assert {name.split()[0] for name in ran} <= {call.name for reply in replies for call in reply.tool_calls}
        assert ran.count("once 1") + ran.count("once 3") <= len([*stored.started, *stored.ended])
        assert caught.value.partial is not None
        partial = caught.value.partial.messages
        assert fault_in([message.to_dict() for message in partial]) is None
        assert not stored.messages or kinds(partial).startswith(kinds(stored.messages))
    session = Counted(Points(("append begins", appends + 1), fail))
    assert (await agent(*plays, tools=[once, often]).run("Go.", session=session)).output == "done"


async def next_round(request: ChatRequest) -> AssistantMessage:
    """Return the reply of the scenario that comes next."""
    await checkpoint()
    calls = [ToolCall(f"c{n}", name, json.dumps({"n": n})) for n, name in enumerate(SCENARIO_TOOLS, 1)]
    replies = [AssistantMessage(tool_calls=(*calls[:2],)), AssistantMessage(tool_calls=(calls[2],)), said("all done")]
    return replies[sum(isinstance(message, AssistantMessage) for message in request.messages)]


def scenario(log: Log, points: Points) -> Agent:
    """Return the agent of the scenario, with a model in this process."""
    return agent_of("http://127.0.0.1:9", log, points).with_model(PointedModel(Scripted(next_round), points))


async def run_through(how: str, session: Session, log: Log, points: Points) -> bool:
    """Run until a scope or a task is cancelled at a point, and return whether it came through."""
    through: list[bool] = []

    async def perform() -> None:
        async with scenario(log, points).stream(PROMPT, session=session) as run:
            async for _ in run:
                pass
        through.append(True)

    def act_by(cancel: Callable[[], object]) -> None:
        """Have it called in this thread, also from a tool in another one."""
        loop = threading.get_ident()

        def act(_where: str) -> object:
            return cancel() if threading.get_ident() == loop else from_thread.run_sync(cancel)

        points.act = act

    if how == "task":
        task = asyncio.create_task(perform())
        act_by(task.cancel)
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None
    else:
        with CancelScope() as scope:
            act_by(scope.cancel)
            await perform()
    return bool(through)


@pytest.mark.parametrize(("anyio_backend", "how"), [("asyncio", "scope"), ("trio", "scope"), ("asyncio", "task")])
@pytest.mark.no_cover
async def test_wherever_a_run_is_cancelled_it_resumes(how: str) -> None:
    """The scenario is cancelled at each of its points in turn; over sockets and without a session, `test_sweep` does so."""
    swept: list[Point | None] = [None]
    for point in swept:
        log, points = Log(), Points(point)
        session = Counted(points)
        through = await run_through(how, session, log, points)
        session.points = Points()
        swept += [passed for passed in points.passed if passed not in swept]
        assert through or points.reached
        stored = await session.load()
        # What had arrived is stored: each reply, the results of tools that ended, and everything observed.
        replies = [message for message in stored.messages if isinstance(message, AssistantMessage)]
        assert len(replies) == sum(where == "model answered" for where, _ in points.passed)
        assert log.called == [call.name for reply in replies for call in reply.tool_calls][: len(log.called)]
        results = {message.tool_call_id: message.content for message in tool_messages(stored.messages)}
        assert log.results.items() <= results.items()
        assert ("count ends", 1) not in points.passed or "counted 2" in results.values()
        # Calls with results do not run again, and replies are not requested again.
        after, asked = Log(list(log.called)), Points(waits=False)
        result = await scenario(after, asked).run(None if stored.messages else PROMPT, session=session)
        assert result.output == "all done"
        assert result.messages == await loaded(session)
        assert fault_in([message.to_dict() for message in result.messages]) is None
        assert sum(where == "model asked" for where, _ in asked.passed) == 3 - len(replies)
        answered = {call.name for reply in replies for call in reply.tool_calls if call.id in results}
        assert not answered & {*after.begun}
    assert len(swept) > 40
    places = {point[0] for point in swept if point is not None}
    assert {f"{what} {when}" for what in ("load", "append") for when in ("begins", "ended")} <= places


async def test_calls_at_the_time_limit_are_stored_once() -> None:
    """Also if an earlier run of the conversation ended in the same way."""

    @tool
    async def waits() -> None:
        await sleep_forever()

    session, options = Memory(), dict[str, Any](tools=[waits, add], limits=Limits(seconds=0.2, at_end="answer"))
    for number in (1, 2):
        result = await agent(called(("waits", {}), ADD), said("All."), **options).run("Go.", session=session)
        assert (result.stop, result.output) == ("limit", "All.")
        assert result.messages == await loaded(session)
        assert len((await session.load()).messages) == 5 * number
    with pytest.raises(LimitReached):
        await agent(called(("waits", {})), tools=[waits], limits=Limits(seconds=0.2)).run("Go.", session=session)
    assert kinds((await session.load()).messages).endswith("User Assistant")


# Approval


@pytest.mark.parametrize(("decide", "outcome"), [(approve, "ok"), (deny, "refused")])
async def test_a_paused_run_is_resumed_from_its_session(decide: Any, outcome: str, tmp_path: Path) -> None:
    paused = await agent(called(PAY, ADD)).run("Pay Ann.", session=JsonLines(tmp_path / "chat.jsonl"))
    session = JsonLines(tmp_path / "chat.jsonl")
    assert (paused.stop, [call.id for call in paused.pending]) == ("paused", ["c0"])
    again = await agent().run(session=session)
    assert (again.stop, again.pending, again.messages) == ("paused", paused.pending, paused.messages)
    maker = agent(said("done"))
    result = await maker.resume(session, [decide(call) for call in again.pending])
    assert (result.output, outcomes(result.messages)) == ("done", [outcome, "ok"])
    assert result.messages == await loaded(session)
    with pytest.raises(InvalidRequest, match="c0"):
        await maker.resume(session, [approve(paused.pending[0])])


async def test_a_decision_holds_for_one_call_only() -> None:
    """Not for a later one with the same id, name and arguments; fields that an endpoint adds do not matter."""
    session = Memory()
    reply = AssistantMessage(tool_calls=(ToolCall("c0", "pay", '{"to": "Ann"}', {"signature": "x"}),))
    await session.append([UserMessage("Pay Ann."), reply])
    decision = approve(ToolCall("c0", "pay", '{"to": "Ann"}'))
    result = await agent(called(PAY), said("done")).resume(session, [decision])
    assert (result.stop, answers(result.messages)) == ("paused", [("paid Ann", "ok")])
    result = await agent(called(PAY_BOB)).resume(session, [decision])
    assert (result.stop, [call.arguments for call in result.pending]) == ("paused", ['{"to": "Bob"}'])


@pytest.mark.parametrize(
    ("stored", "prompt", "expected"),
    [
        ([called(PAY, ADD), ToolMessage("c1", "3")], "Never mind.", ["refused", "ok"]),
        ([called(PAY, PAY_BOB)], [ToolMessage("c0", "by hand"), UserMessage("I paid Ann.")], ["ok", "refused"]),
        (  # what may have run has an unknown outcome
            [called(ADD, PAY, ("unknown", {}), PAY_BOB), Started("c3", "pay", '{"to": "Bob"}', "key")],
            "Never mind.",
            ["cancelled", "refused", "cancelled", "cancelled"],
        ),
    ],
)
async def test_a_prompt_instead_of_a_decision(stored: list[Entry], prompt: Any, expected: list[str]) -> None:
    session, events = Memory(), list[object]()
    await session.append([UserMessage("Go."), *stored])
    result = await agent(said("Fine."), observers=[events.append]).run(prompt, session=session)
    assert outcomes(result.messages) == expected
    assert [text for text, _ in answers(result.messages)].count(UNKNOWN) == expected.count("cancelled")
    assert result.messages == await loaded(session)
    assert not [event for event in events if isinstance(event, HistoryRepaired)]
    with pytest.raises(InvalidRequest):
        await agent(said("x")).resume(session, [approve(ToolCall("c0", "pay", '{"to": "Ann"}'))])


async def test_the_approver_knows_that_a_call_had_started() -> None:
    """Also a call of a tool that may run twice: it was approved, and the process was killed after that."""
    session, events = Memory(), list[object]()
    await session.append([UserMessage("Pay Ann."), called(PAY), Started("c0", "pay", '{"to": "Ann"}', "key")])
    maker = agent(called(PAY), observers=[events.append])
    paused = await maker.run(session=session)
    result = await maker.resume(session, [deny(paused.pending[0], "I paid")])
    ((text, outcome),) = answers(result.messages)
    assert ("I paid" in text, outcome) == (True, "cancelled")
    # The next call has the same id, and had not started.
    assert [event.started for event in events if isinstance(event, ApprovalNeeded)] == [True, True, False]


# Several at once


def test_two_threads_with_one_conversation(tmp_path: Path) -> None:
    """Each has its own object for the file, as two processes have."""
    turns = range(8)

    def converse(name: str) -> None:
        session = JsonLines(tmp_path / "chat.jsonl", sync=False, patience=PATIENCE)
        for turn in turns:
            call = ToolCall(f"{name} {turn}", "add", '{"a": 1, "b": 2}')
            plays = [AssistantMessage(tool_calls=(call,)), said(f"{name} said {turn}")]
            agent(*plays).run_sync(f"{name} asks {turn}", session=session)

    threads = [threading.Thread(target=converse, args=(name,)) for name in ("Ann", "Bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session = JsonLines(tmp_path / "chat.jsonl")
    stored = asyncio.run(session.load()).messages
    assert answers(stored).count(("3", "ok")) == 2 * len(turns)
    messages = agent(said("done")).run_sync("Go.", session=session).messages[:-2]
    texts = [str(message.content) for message in messages if not isinstance(message, ToolMessage)]
    for name in ("Ann", "Bob"):
        own = [text for text in texts if text.startswith(name)]
        assert own == [f"{name} {verb} {turn}" for turn in turns for verb in ("asks", "said")]
    assert fault_in([message.to_dict() for message in messages]) is None


async def get_name(ctx: ToolContext[str]) -> str:
    await checkpoint()
    return ctx.deps


@tool(effect="once", key=())
async def once(name: Annotated[str, Depends(get_name)], ctx: ToolContext[str]) -> str:
    await checkpoint()
    return f"{name} {ctx.deps} {ctx.run_id}"


@pytest.mark.parametrize(("anyio_backend", "count"), [("trio", 100), ("asyncio", 20)])
@pytest.mark.no_cover
async def test_concurrent_conversations_see_nothing_of_each_other(count: int, tmp_path: Path) -> None:
    def reply(request: ChatRequest) -> AssistantMessage:
        last = request.messages[-1]
        return said("done") if isinstance(last, ToolMessage) else called(("once", {}), ("once", {}))

    maker: Agent[Any, Any] = Agent(Scripted(reply), tools=[once], deps_type=str)
    file = None if count > 20 else Sqlite(tmp_path / "chats.db", sync=False)
    runs: set[str] = set()

    async def converse(name: str) -> None:
        session = file.conversation(name) if file else Memory()
        for prompt in ("Hi", "And now?"):
            messages = (await maker.run(f"{prompt} {name}", deps=name, session=session)).messages
        assert messages == await loaded(session)
        assert [message.content for message in messages if isinstance(message, UserMessage)] == [
            f"Hi {name}",
            f"And now? {name}",
        ]
        # The effect happened once, within its own conversation.
        (effect,) = {text.rpartition("\n")[2] for text, _ in answers(messages)}
        deps, injected, run_id = effect.split()
        assert (deps, injected) == (name, name)
        runs.add(run_id)

    async with create_task_group() as group:
        for number in range(count):
            group.start_soon(converse, f"chat{number}")
    assert len(runs) == count
    assert file is None or len(await file.conversations()) == count
