"""A run that goes on from any of its records comes to the same result."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
import pytest

from agentkit import Agent, LimitReached, Limits, Price, Result, ToolContext, approve, tool
from agentkit.core.chat import ChatRequest, ChatResponse, Choice, Settings
from agentkit.core.dicts import Prompt, messages_of
from agentkit.core.messages import AssistantMessage, Message, ToolCall, Usage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.core.parts import ImagePart
from agentkit.core.session import Started
from agentkit.durable.recording import RecordingModel, RecordingSession, checkpoint_from, decisions_in_force, entries_in
from agentkit.runs.events import Event, ToolStarted
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.tool_choice import first, force, from_results, given
from agentkit.tools.approval import Decision
from tests.scripted import called, said

pytestmark = pytest.mark.anyio
Record: TypeAlias = Mapping[str, object]


@dataclass
class History:
    """A model whose replies follow from how many there were."""

    replies: Sequence[AssistantMessage | ChatResponse]
    name: str = "history"
    asked: list[int] = field(default_factory=list[int])

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        step = sum(isinstance(message, AssistantMessage) for message in request.messages)
        self.asked.append(step)
        reply = self.replies[min(step, len(self.replies) - 1)]
        if isinstance(reply, ChatResponse):
            return reply
        return ChatResponse((Choice(reply, "tool_calls" if reply.tool_calls else "stop"),), Usage(1, 100, 10))


@tool
def add(a: int, b: int) -> int:
    return a + b


@tool
def long() -> str:
    return "word " * 100


@tool
def picture() -> ImagePart:
    return ImagePart("data:image/png;base64,AA==")


@tool
def broken() -> str:
    raise KeyError("no such thing")


@tool(effect="once")
def pay(invoice: int, ctx: ToolContext[None]) -> str:
    return f"paid {invoice}"


@tool(approval=True)
def refund(order: int) -> str:
    return f"refunded {order}"


@dataclass(frozen=True)
class Trip:
    city: str
    days: int


CUT = ChatResponse((Choice(AssistantMessage("It rains in"), "length"),), Usage(1, 100, 10))
SEVERAL = ChatResponse(
    (Choice(said("one"), "stop"), Choice(said("two"), "stop", {"logprobs": {"$x": [1]}})), None, "id", "m", {"x": [1]}
)
INNER = Agent(History([called(("add", {"a": 1, "b": 1})), said("two")]), tools=[add], name="inner")

AGENTS: dict[str, Callable[[], Agent[Any, Any]]] = {
    "calls": lambda: Agent(
        History([called(("add", {"a": 1, "b": 2}), ("pay", {"invoice": 1}), ("broken", {})), called(("pay", {"invoice": 2})), said("done")]),
        tools=[add, pay, broken],
        instructions="Be exact.",
        prices=Price(1, 2),
    ),
    "rejected": lambda: Agent(
        History([said("no"), said(""), called(("add", {"a": 1, "b": 2})), said("3")]), tools=[add], tool_choice=first(force(add))
    ),
    "known": lambda: Agent(
        History([called(("add", {"a": 2, "b": 2})), said("4")]),
        tools=[add, pay],
        tool_choice=first(given(add, a=1, b=2)) & from_results(pay, "invoice", of=add),
    ),
    "cut": lambda: Agent(History([CUT, CUT, said(" Paris.")]), on_truncated="continue"),
    "several": lambda: Agent(History([SEVERAL]), settings=Settings(n=2)),
    "images": lambda: Agent(History([called(("picture", {}), ("long", {})), said("nice")]), tools=[picture, long], limits=Limits(result=100)),
    "typed": lambda: Agent(
        History([called(("final_answer", {"city": "Rome"})), called(("final_answer", {"city": "Rome", "days": 2}))]), output=Trip
    ),
    "format": lambda: Agent(History([said('{"city": 1}'), said('{"city": "Rome", "days": 2}')]), output=Trip, output_mode="format"),
    "at a limit": lambda: Agent(
        History([called(("add", {"a": 1, "b": 2})), called(("add", {"a": 2, "b": 2})), said("enough")]),
        tools=[add],
        limits=Limits(steps=2, at_end="answer"),
    ),
    "calls limit": lambda: Agent(
        History([called(("add", {"a": 1, "b": 2})), called(("add", {"a": 2, "b": 2})), called(("add", {"a": 3, "b": 2})), said("enough")]),
        tools=[add],
        limits=Limits(calls=2, at_end="answer"),
    ),
    "sub-agent": lambda: Agent(
        History([called(("ask", {"prompt": "1+1"})), said("2")]), tools=[INNER.as_tool("ask", "Ask.")], limits=Limits(requests=10)
    ),
}  # fmt: skip


async def durably(
    agent: Agent[Any, Any],
    prompt: Prompt,
    records: list[Record],
    decisions: tuple[Decision, ...] | None = None,
    emit: Any = None,
) -> Result[Any]:
    """Run as a worker does, with the records in a list."""
    messages = messages_of(prompt)
    earlier = checkpoint_from(agent.plan, messages, records)

    async def write(name: str, record: Record) -> None:
        await anyio.lowlevel.checkpoint()
        assert name.startswith("agentkit.")
        records.append(json.loads(json.dumps(record)))

    session = RecordingSession(messages, tuple(records), earlier, write)

    def told(event: Event) -> None:
        session(event)
        if emit is not None:
            emit(event)

    plan = agent.plan._replace(model=RecordingModel(agent.plan.model, session))
    return await perform(plan, RunInput((), None, None, session, decisions, emit=told, checkpoint=earlier, run_id="r"))


@pytest.mark.parametrize("name", AGENTS)
async def test_it_goes_on_from_any_record(name: str) -> None:
    records: list[Record] = []
    calm = await durably(AGENTS[name](), "Go.", records)
    plain = await AGENTS[name]().run("Go.")
    assert calm == plain
    for many in range(len(records) + 1):
        agent = AGENTS[name]()
        some = records[:many]
        recorded = sum("reply" in record for record in some)
        started = any(isinstance(entry, Started) for record in some for entry in entries_in(record))
        again = await durably(agent, "Go.", some)
        if again.stop == "paused":  # a call had started that must run once: someone decides
            assert started
            again = await durably(agent, "Go.", some, tuple(approve(call) for call in again.pending))
        model: Any = agent.plan.model
        assert all(step >= recorded for step in getattr(model, "asked", ()))
        assert again == calm
        assert again.explain() == calm.explain()


async def test_earlier_steps_and_time_count_toward_the_limits() -> None:
    model = History([called(("add", {"a": 1, "b": 2}))] * 9)
    agent = Agent(model, tools=[add], max_repeats=None, limits=Limits(steps=3, seconds=60))
    records: list[Record] = []
    with pytest.raises(LimitReached):
        await durably(agent, "Go.", records)
    some = records[:2]
    with pytest.raises(LimitReached):
        await durably(agent, "Go.", some)
    assert len(some) == len(records) == 6
    with pytest.raises(LimitReached) as caught:
        await durably(agent, "Go.", [{**records[0], "seconds": 61.0}])
    assert caught.value.limit == "seconds"


async def test_calls_that_were_open_in_the_prompt_may_have_run() -> None:
    call = ToolCall("c1", "pay", '{"invoice": 1}')
    history: list[Message] = [UserMessage("Pay."), AssistantMessage(tool_calls=(call,))]
    agent = Agent(History([said("?"), said("paid")]), tools=[pay])
    result = await durably(agent, history, [])
    assert result.pending == (call,)
    records: list[Record] = []
    result = await durably(agent, history, records, (approve(call),))
    assert result.output == "paid"
    kinds = [type(entry).__name__ for record in records for entry in entries_in(record)]
    assert kinds == ["Started", "ToolMessage", "Ended", "AssistantMessage"]


async def test_a_finished_tool_is_not_run_again() -> None:
    records: list[Record] = []
    await durably(AGENTS["calls"](), "Go.", records)
    ran: list[str] = []

    def emit(event: Event) -> None:
        if isinstance(event, ToolStarted):
            ran.append(event.call.name)

    results = [at for at, record in enumerate(records) if "ran" in record]
    result = await durably(AGENTS["calls"](), "Go.", records[: results[2] + 1], emit=emit)
    assert (result.output, ran) == ("done", ["pay"])


async def test_a_decision_holds_for_a_call_that_has_not_begun() -> None:
    replies = [called(("refund", {"order": 1}), ("refund", {"order": 2}))] * 2
    agent = Agent(History(replies), tools=[refund])
    records: list[Record] = []
    paused = await durably(agent, "Go.", records)
    before = len(records)
    made = [approve(call) for call in paused.pending]
    again = await durably(agent, "Go.", records, tuple(made))
    assert again.pending == paused.pending  # the next reply has the very same calls, which nobody decided on
    held: list[int] = []
    for many in range(len(records) - before + 1):
        since = records[before : before + many]
        state = checkpoint_from(agent.plan, messages_of("Go."), records[: before + many]).state
        held.append(len(decisions_in_force(made, state, since)))
    assert held == [2, 1, 0, 0, 0, 0]  # two begin, two end, and then there is a reply


async def test_a_message_that_was_read_is_in_the_records() -> None:
    @tool
    def suggest(ctx: ToolContext[None]) -> str:
        ctx.send("also check Rome")
        return "done"

    agent = Agent(History([called(("suggest", {})), said("Rain in both.")]), tools=[suggest])
    records: list[Record] = []
    result = await durably(agent, "Go.", records)
    assert result.messages[-2] == UserMessage("also check Rome", note=True)
    for many in (len(records) - 1, len(records)):  # without the answer, and with it
        again = await durably(agent, "Go.", records[:many])
        assert (again.messages, again.steps) == (result.messages, result.steps)
