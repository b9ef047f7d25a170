"""What the type checkers must see of the public API. Checked by mypy and pyright, never run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, assert_type

from agentkit import (
    Agent,
    AnswerDelta,
    ApprovalNeeded,
    Candidate,
    ChatClient,
    ChatResponse,
    ConnectionFailed,
    Depends,
    Event,
    Fallback,
    HttpRequest,
    ImagePart,
    JsonLines,
    Limits,
    Memory,
    Model,
    Nested,
    Partial,
    Price,
    Prompted,
    Result,
    Retries,
    Run,
    RunFinished,
    Session,
    Settings,
    Sqlite,
    State,
    TextPart,
    Timeouts,
    Tool,
    Toolbox,
    ToolCall,
    ToolChoice,
    ToolContext,
    UserMessage,
    approve,
    deny,
    handoff,
    majority,
    tool,
)
from agentkit.core.session import StoredConversation
from agentkit.sessions import Entry
from agentkit.tool_choice import Policy, auto, first, force


@tool
def bare(a: int, b: str = "x") -> float: ...  # type: ignore[empty-body]


@tool(timeout=5, strict=True)
async def with_options(a: int) -> str: ...  # type: ignore[empty-body]


@tool(isolate="process", timeout=2.5, max_result=1000)
def apart(a: int) -> list[str | ImagePart]: ...  # type: ignore[empty-body]


assert_type(apart(1), list[str | ImagePart])
assert_type(bare(1, b="y"), float)
tool(isolate="thread")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
bare("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
callable_as_before: Callable[[int], object] = with_options


class Shop:
    @tool
    def find(self, number: int) -> str: ...  # type: ignore[empty-body]


assert_type(Shop().find(1), str)


async def runs(agent: Agent) -> None:
    assert_type(await agent.run("hi"), Result[str])
    assert_type(agent.run_sync([UserMessage("hi"), {"role": "user", "content": "hi"}]).output, str)
    async with agent.stream("hi") as run:
        assert_type(run, Run[str])
        async for event in run:
            assert_type(event, Event)
            run.send((TextPart("and Rome"),))
            run.send(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            run.stop()
    assert_type(run.result.unread, tuple[UserMessage, ...])
    agent.run_sync(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def later(state: State) -> list[Tool]:
    return []


async def models(model: Model) -> None:
    wrapped: Model = Prompted(model)
    other: Model = ChatClient("m", timeout=Timeouts(first_byte=5), retries=Retries(attempts=2))
    several: Model = Fallback(wrapped, other, on=(ConnectionFailed,))
    Agent(several, on_truncated="continue", limits=Limits(seconds=None, result=1000))
    Agent(several, on_truncated="join")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Agent(model, tools=lambda state: [bare, Shop().find] if state.step else Toolbox([bare]))
    Agent(model, tools=later)
    Agent(model, tools=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    agent = Agent(model, tools=[bare, with_options, apart, Shop().find], stop_at=bare)
    await runs(agent)


def a_policy(state: State) -> str:
    return "none" if state.step > 4 else "auto"


assert_type(first(force(bare), then=auto) & a_policy, Policy)
assert_type(auto(State(())), ToolChoice)


def a_reply(reply: ChatResponse) -> None:
    assert_type(reply.finish_reason, str | None)


def an_error(error: ConnectionFailed) -> None:
    assert_type(error.partial, Partial | None)
    assert_type(error.calls, tuple[ToolCall, ...])


class Db:
    def find(self, number: int) -> str: ...  # type: ignore[empty-body]


def get_name(ctx: ToolContext[Db]) -> str:
    return ctx.deps.find(1)


@tool
def with_context(number: int, ctx: ToolContext[Db], name: Annotated[str, Depends(get_name)]) -> str:
    assert_type(ctx.deps, Db)
    assert_type(ctx.remaining, float)
    return name + ctx.deps.find(number)


async def gives_deps(db: Db) -> None:
    agent = Agent("m", tools=[with_context], deps_type=Db)
    assert_type(agent, Agent[Db])
    assert_type(await agent.run("x", deps=db), Result[str])
    assert_type(agent.override(get_name, lambda: "a fake"), Agent[Db])
    agent.run_sync("x", deps="no Db")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    agent.stream("x", deps=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(Agent("m"), Agent[None])


@dataclass
class Trip:
    city: str


async def typed_answers() -> None:
    agent = Agent("m", output=Trip)
    assert_type(agent, Agent[None, Trip])
    result = await agent.run("x")
    assert_type(result, Result[Trip])
    assert_type(result.output.city, str)
    assert_type(Agent("m", output=list[Trip]).run_sync("x").output, list[Trip])
    async with Agent("m", output=int, deps_type=Db).stream("x", deps=Db()) as run:
        assert_type(run.result.output, int)
    either: Agent[None, int | str] = Agent("m", output=int | str)  # type: ignore[arg-type]  # mypy has no form for it
    assert_type(either.run_sync("x").output, int | str)


@tool(effect="once", key=("to", "sum"), on_interrupted="again")
async def pay(to: str, sum: int, ctx: ToolContext[None]) -> str:  # noqa: A002
    assert_type(ctx.key, str)
    return ctx.key


pay_as_before: Callable[[str, int, ToolContext[None]], object] = pay
tool(effect="twice")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
tool(effect="once", on_interrupted="never")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


class Own:
    async def load(self) -> StoredConversation: ...  # type: ignore[empty-body]

    async def append(self, entries: Sequence[Entry]) -> None: ...


async def conversations(agent: Agent[None, Trip]) -> None:
    sessions: list[Session] = [Memory(), JsonLines("a.jsonl"), Sqlite("a.db").conversation("a"), Own()]
    for session in sessions:
        assert_type(await agent.run("x", session=session), Result[Trip])
        result = await agent.resume(session, [approve(ToolCall("a", "pay", "{}")), deny(ToolCall("b", "pay", "{}"))])
        assert_type(result, Result[Trip])
    assert_type(await agent.run(session=Memory()), Result[Trip])
    await agent.run("x", session="a.db")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def several(agent: Agent[None, Trip]) -> None:
    assert_type(agent.as_tool("plan", "Plans trips."), Tool)
    assert_type(handoff(agent), Tool)
    assert_type(handoff(lambda: agent, name="plan"), Tool)
    Agent("m", tools=[agent.as_tool("plan", "Plans trips."), handoff(agent)], name="front")


def shortest(candidates: Sequence[Candidate]) -> Candidate:
    return min(candidates, key=lambda candidate: len(candidate.message.content or ""))


def answers_and_costs() -> None:
    Agent("m", settings=Settings(n=3), selector=shortest, prices=Price(1, 2), limits=Limits(cost=0.1, at_end="answer"))
    Agent("m", settings=Settings(n=3), selector=majority, prices={"m": Price(1, 2, cached=0.5)})
    Agent("m", settings=Settings(n=3), selector=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(Agent("m").dry_run("x"), HttpRequest)
    assert_type(Agent("m").run_sync("x").usage.cost, float | None)
    assert_type(Agent("m").run_sync("x").steps[0].curl(), str)


def watch(event: Event) -> None:
    match event:
        case AnswerDelta(value=value):
            assert_type(value, object)
        case ApprovalNeeded(call=call, started=started):
            assert_type((call, started), tuple[ToolCall, bool])
        case Nested(event=inner):
            assert_type(inner, Event)
        case RunFinished(error=error):
            assert_type(error, BaseException | None)
        case _:
            assert_type(event.run_id, str)
