"""What is sent to a run while it is under way."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from agentkit import (
    Agent,
    ChatClient,
    ChatRequest,
    Event,
    ImagePart,
    InvalidRequest,
    Limits,
    Memory,
    MessageReceived,
    ModelError,
    Partial,
    Result,
    Run,
    RunCancelled,
    RunFinished,
    State,
    StepStarted,
    TextPart,
    ToolContext,
    ToolMessage,
    ToolStarted,
    UserMessage,
    approve,
    tool,
)
from agentkit.core.messages import Message
from agentkit.runs.inbox import Inbox, LeaveLoop
from agentkit.testing import answer, calling, chaos
from agentkit.tool_choice import budget, first, force
from tests.endpoint import fault_in
from tests.promises.scenario import finish
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio

ROME = UserMessage("also check Rome", note=True)


@tool
async def look(city: str) -> str:
    return f"rain in {city}"


@tool
def suggest(city: str, ctx: ToolContext[None]) -> str:
    ctx.send(f"also check {city}")
    return "done"


@tool(approval=True)
def pay() -> str:
    return "paid"


LOOK = called(("look", {"city": "Paris"}))
SUGGEST = called(("suggest", {"city": "Rome"}))


def texts(messages: Any) -> list[Any]:
    """The roles and texts of messages, without the calls."""
    return [(type(message).__name__.removesuffix("Message"), message.content) for message in messages]


@dataclass
class Steered:
    """A streamed run that is steered by what happens in it, right when it does."""

    events: list[Event] = field(default_factory=list[Event])

    async def __call__(self, agent: Agent, steer: Callable[[Run[str], Event], object], **options: Any) -> Result[str]:
        def observer(event: Event) -> None:
            if runs:
                steer(runs[0], event)

        runs: list[Run[str]] = []
        async with agent.with_observers(observer).stream("Is it raining in Paris?", **options) as run:
            runs.append(run)
            self.events += [event async for event in run]
        check(run.result.messages)
        with pytest.raises(InvalidRequest):
            run.send("too late")
        return run.result


def check(messages: tuple[Message, ...]) -> None:
    assert fault_in([message.to_dict() for message in messages]) is None


def sending(kind: type[Event], message: Any = "also check Rome") -> Callable[[Run[str], Event], None]:
    """Send a message at the first event of a kind."""
    sent: list[Event] = []

    def steer(run: Run[str], event: Event) -> None:
        if isinstance(event, kind) and not sent:
            sent.append(event)
            run.send(message)

    return steer


async def test_a_message_is_read_before_the_next_request() -> None:
    model = Scripted(LOOK, said("Rain in both."))
    steered = Steered()
    result = await steered(Agent(model, tools=[look]), sending(ToolStarted))
    assert texts(model.requests[1].messages) == [
        ("User", "Is it raining in Paris?"), ("Assistant", None), ("Tool", "rain in Paris"), ("User", "also check Rome"),
    ]  # fmt: skip
    assert (result.stop, result.output, result.messages[3], result.unread) == ("answer", "Rain in both.", ROME, ())
    assert [event.message for event in steered.events if isinstance(event, MessageReceived)] == [ROME]


async def test_a_message_at_the_start_is_in_the_first_request() -> None:
    model = Scripted(said("Yes."))
    async with Agent(model).stream("Is it raining in Paris?") as run:
        run.send("also check Rome")
        run.send(UserMessage((TextPart("and Oslo"),), name="ann"))
        async for _ in run:
            pass
    assert run.result.messages[1:3] == (ROME, UserMessage((TextPart("and Oslo"),), "ann", note=True))
    assert len(model.requests[0].messages) == 3


async def test_a_message_that_comes_with_the_answer_is_read_too() -> None:
    """Also where a tool ends the run: its images come before the message, as endpoints want them."""
    model = Scripted(said("Rain."), said("Rain in both."))
    result = await Steered()(Agent(model), sending(StepStarted))
    assert texts(result.messages)[1:] == [
        ("Assistant", "Rain."), ("User", "also check Rome"), ("Assistant", "Rain in both."),
    ]  # fmt: skip

    @tool(ends=True)
    async def photo() -> ImagePart:
        return ImagePart("data:image/png;base64,AA==")

    model = Scripted(called(("photo", {})), said("Two photos."))
    result = await Steered()(Agent(model, tools=[photo]), sending(ToolStarted))
    assert result.output == "Two photos."
    images, sent = model.requests[1].messages[-2:]
    assert isinstance(images, UserMessage)
    assert isinstance(images.content, tuple)
    assert sent == ROME


@pytest.mark.parametrize("where", ["a tool", "a thread", "a task"])
async def test_anyone_may_send(where: str) -> None:
    reads = anyio.Event()
    holder: list[Run[str]] = []

    @tool
    async def wait(ctx: ToolContext[None]) -> str:
        if where == "a tool":
            ctx.send("also check Rome")
        elif where == "a thread":
            thread = threading.Thread(target=holder[0].send, args=("also check Rome",))
            thread.start()
            thread.join()
        else:
            await reads.wait()
        return "done"

    model = Scripted(called(("wait", {})), said("Yes."))

    async def send() -> None:
        if where == "a task":
            holder[0].send("also check Rome")
            reads.set()

    async with Agent(model, tools=[wait]).stream("go") as run, anyio.create_task_group() as group:
        holder.append(run)
        async for event in run:
            if isinstance(event, ToolStarted):
                group.start_soon(send)
    assert run.result.messages[-2] == ROME


async def test_a_sync_tool_sends_from_its_thread_over_a_real_socket() -> None:
    with chaos(calling(("suggest", {"city": "Rome"})), answer("Rain in both.")) as endpoint:
        client = ChatClient("m", base_url=endpoint.url, api_key="")
        result = await Agent(client, tools=[suggest]).run("Is it raining in Paris?")
    assert result.output == "Rain in both."
    assert endpoint.requests[1]["messages"][-1] == {"role": "user", "content": "also check Rome"}


async def test_policies_go_on() -> None:
    """A tool that sends messages cannot have what policies count begin again; and a stored history is read so too."""
    model = Scripted(SUGGEST, SUGGEST, SUGGEST, said("Enough."))
    policy = first(force(suggest)) & budget(2)
    result = await Agent(model, tools=[suggest], tool_choice=policy).run("go")
    assert str(result.steps[0].choice) == "suggest"
    assert [message.outcome for message in result.messages if isinstance(message, ToolMessage)] == [
        "ok",
        "ok",
        "refused",
    ]
    state = State.of(result.messages)
    assert (len(state.calls), state.earlier) == (3, ())


async def test_a_session_stores_what_was_read_and_resumes_with_it() -> None:
    session = Memory()
    agent = Agent(Scripted(SUGGEST, ModelError("down")), tools=[suggest])
    with pytest.raises(ModelError):
        await agent.run("go", session=session)
    assert (await session.load()).messages[-1] == ROME
    model = Scripted(said("Rain in both."))
    result = await agent.with_model(model).run(session=session)
    assert model.requests[0].messages[-1] == ROME
    assert (await session.load()).messages == result.messages


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_run_that_fails_keeps_what_it_did_not_read(*, streamed: bool) -> None:
    def send_and_fail(request: ChatRequest) -> ModelError:
        holder[0].send("also check Rome")
        return ModelError("down")

    holder: list[Any] = []

    @tool
    async def keep(ctx: ToolContext[None]) -> None:
        holder.append(ctx)

    agent = Agent(Scripted(called(("keep", {})), send_and_fail), tools=[keep])
    with pytest.raises(ModelError) as caught:
        await finish(agent, "streamed" if streamed else "plain", "go")
    partial = caught.value.partial
    assert isinstance(partial, Partial)
    assert partial.messages[-1] == ROME
    check(partial.messages)
    with pytest.raises(InvalidRequest):
        holder[0].send("too late")


async def test_an_observer_that_fails_loses_no_message() -> None:
    def observer(event: Event) -> None:
        if isinstance(event, MessageReceived):
            raise KeyError("mine")

    async with Agent(Scripted(said("x")), observers=[observer]).stream("go") as run:
        run.send("also check Rome")
        run.send("and Oslo")
        with pytest.raises(KeyError) as caught:
            _ = [event async for event in run]
    assert texts(caught.value.partial.messages) == [  # type: ignore[attr-defined]
        ("User", "go"), ("User", "also check Rome"), ("User", "and Oslo"),
    ]  # fmt: skip


@pytest.mark.parametrize("output", [str, int])
async def test_a_stop_ends_the_run_after_its_step(output: Any) -> None:
    reply = called(("look", {"city": "Paris"}), ("look", {"city": "Rome"}))
    model = Scripted(type(reply)("Let me see.", reply.tool_calls), said("Rain."))
    agent: Agent[Any, Any] = Agent(model, tools=[look], output=output)
    result = await Steered()(agent, lambda run, event: run.stop() if isinstance(event, ToolStarted) else None)
    assert (result.stop, result.output) == ("stopped", "Let me see." if output is str else "")
    assert [message.content for message in result.messages[2:]] == ["rain in Paris", "rain in Rome"]
    assert "a stop" in result.explain()
    more = await Agent(model, tools=[look]).run(result.messages)
    assert (more.output, len(model.requests)) == ("Rain.", 2)


async def test_a_stop_leaves_an_answer_and_comes_before_the_first_request() -> None:
    model = Scripted(said("Rain."))
    result = await Steered()(Agent(model), lambda run, event: run.stop() if isinstance(event, StepStarted) else None)
    assert result.stop == "answer"
    async with Agent(model).stream("go") as run:
        run.stop()
        run.send("also check Rome")
        events = [event async for event in run]
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].stop, run.result.output, run.result.steps) == ("stopped", "", ())
    assert run.result.messages == (UserMessage("go"), ROME)
    assert len(model.requests) == 1


async def test_a_stop_also_stops_a_sub_agent() -> None:
    inner = Agent(Scripted(LOOK), tools=[look], limits=Limits(steps=9))
    outer = Agent(Scripted(called(("ask", {"prompt": "go"}))), tools=[inner.as_tool("ask", "Ask.")])
    result = await Steered()(outer, lambda run, event: run.stop() if isinstance(event, ToolStarted) else None)
    assert (result.stop, len(result.steps)) == ("stopped", 1)
    answer = result.messages[-1]
    assert isinstance(answer, ToolMessage)
    assert (answer.outcome, answer.content) == ("error", "agent was stopped before it had an answer")


async def test_what_a_paused_run_or_one_at_a_limit_does_not_read_is_in_its_result() -> None:
    both = called(("suggest", {"city": "Rome"}), ("pay", {}))
    agent = Agent(Scripted(both, said("Paid.")), tools=[suggest, pay])
    paused = await agent.run("go")
    assert (paused.stop, paused.unread) == ("paused", (ROME,))
    history = [*paused.messages, *paused.unread]
    resumed = await agent.resume(history, [approve(call) for call in paused.pending])
    assert texts(resumed.messages)[2:] == [
        ("Tool", "done"), ("Tool", "paid"), ("User", "also check Rome"), ("Assistant", "Paid."),
    ]  # fmt: skip
    last = Agent(Scripted(LOOK, said("Rain.")), tools=[look], limits=Limits(steps=1, at_end="answer"))

    def steer(run: Run[str], event: Event) -> None:
        if isinstance(event, StepStarted) and event.number == 1:
            run.send("also check Rome")

    result = await Steered()(last, steer)
    assert (result.stop, result.output, result.unread) == ("limit", "Rain.", (ROME,))


async def test_a_message_is_read_in_the_grace_period_too() -> None:
    @tool
    async def slow(ctx: ToolContext[None]) -> None:
        ctx.send("also check Rome")
        await anyio.sleep_forever()

    model = Scripted(called(("slow", {})), said("Rain."))
    limits = Limits(seconds=0.05, at_end="answer", grace=9)
    result = await Agent(model, tools=[slow], limits=limits).run("go")
    assert (result.stop, result.messages[-2]) == ("limit", ROME)


async def test_leaving_the_block_keeps_what_was_not_read() -> None:
    @tool
    async def wait() -> None:
        await anyio.sleep_forever()

    async with Agent(Scripted(called(("wait", {}))), tools=[wait]).stream("go") as run:
        async for event in run:
            if isinstance(event, ToolStarted):
                run.send("also check Rome")
                break
    with pytest.raises(RunCancelled) as caught:
        _ = run.result
    assert caught.value.partial is not None
    assert caught.value.partial.messages[-1] == ROME
    check(caught.value.partial.messages)


def test_threads_send_each_message_once() -> None:
    inbox = Inbox()

    def send() -> None:
        for _ in range(100):
            inbox.send("x")

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    read = 0
    while any(thread.is_alive() for thread in threads) or inbox.messages:
        for _ in inbox.messages:
            inbox.remove_first()
            read += 1
    assert read == 400
    assert inbox.close_if_empty()


def test_an_inbox_closes_only_when_it_is_empty() -> None:
    inbox = Inbox(Inbox())
    inbox.check()
    inbox.send("x")
    with pytest.raises(LeaveLoop):
        inbox.check()
    assert not inbox.close_if_empty()
    inbox.send("y")
    assert len(inbox.close()) == 2
    with pytest.raises(InvalidRequest):
        inbox.send("z")
