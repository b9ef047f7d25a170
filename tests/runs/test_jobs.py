"""Middleware around the calls of tools, and around requests."""

import json
from typing import Any

import anyio
import pytest

from agentkit import (
    Agent,
    ApprovalNeeded,
    ChatRequest,
    ChatResponse,
    Event,
    Memory,
    ModelRetry,
    Result,
    ToolCall,
    ToolContext,
    ToolError,
    ToolProgress,
    tool,
)
from agentkit.core.messages import ToolMessage
from agentkit.runs.plan import SendNext
from agentkit.tool_choice import where
from agentkit.tools.middleware import CallNext
from agentkit.tools.results import ToolResult
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio
Context = ToolContext[Any]


@tool
def look(city: str, ctx: Context) -> str:
    ctx.progress(city)
    return f"rain in {city} for {ctx.deps}"


@tool
async def pay(amount: int) -> str:
    return f"paid {amount}"


@tool(effect="once", key="amount")
def pay_once(amount: int) -> str:
    return f"paid {amount}"


@tool(approval=lambda arguments: arguments["amount"] > 10)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
def pay_much(amount: int) -> str:
    return f"paid {amount}"


def changing(**arguments: object) -> Any:
    async def change(call: ToolCall, _: Context, call_next: CallNext) -> ToolResult:
        return await call_next(ToolCall(call.id, call.name, json.dumps(arguments)))

    return change


async def run(*calls: tuple[str, Any], events: list[Event] | None = None, **options: Any) -> Result[Any]:
    model = Scripted(called(*calls), said("Done."))
    observers = [] if events is None else [events.append]
    agent = Agent(model, tools=[look, pay, pay_once, pay_much], observers=observers, **options)
    return await agent.run("Hi", deps="Ann", session=Memory())


async def result_of(*calls: tuple[str, Any], **options: Any) -> ToolMessage:
    (message,) = [m for m in (await run(*calls, **options)).messages if isinstance(m, ToolMessage)]
    return message


PARIS, TEN = ("look", {"city": "Paris"}), ("pay", {"amount": 10})


async def test_the_order_and_what_a_middleware_sees() -> None:
    seen: list[object] = []

    def layer(name: str) -> Any:
        async def around(call: ToolCall, context: Context, call_next: CallNext) -> str:
            seen.append((name, call.name, context.deps, context.call.id))
            result = await call_next(call)
            return f"{name}({result.text})"

        return around

    @tool(middleware=[layer("own")])
    def mine() -> str:
        return "x"

    model = Scripted(called(("mine", {})), said("Done."))
    agent = Agent(model, tools=[mine], middleware=[layer("outer"), layer("inner")])
    result = await agent.run("Hi", deps=None)
    assert [m.content for m in result.messages if isinstance(m, ToolMessage)] == ["outer(inner(own(x)))"]
    assert [at[0] for at in seen if isinstance(at, tuple)] == ["outer", "inner", "own"]


async def test_arguments_are_changed_and_validated() -> None:
    assert (await result_of(PARIS, middleware=[changing(city="Rome")])).content == "rain in Rome for Ann"
    assert (await result_of(TEN, middleware=[changing(amount="7")])).content == "paid 7"
    wrong = await result_of(TEN, middleware=[changing(amount="much")])
    assert (wrong.outcome, "amount" in wrong.content) == ("error", True)


async def test_changed_arguments_are_judged_again() -> None:
    policy = where(pay, lambda arguments, _: arguments["amount"] <= 10)
    assert (await result_of(TEN, tool_choice=policy, middleware=[changing(amount=5)])).content == "paid 5"
    assert (await result_of(TEN, tool_choice=policy, middleware=[changing(amount=11)])).outcome == "error"
    events: list[Event] = []
    call = ("pay_much", {"amount": 5})
    assert (await result_of(call, events=events, middleware=[changing(amount=90_000)])).outcome == "error"
    assert not [event for event in events if isinstance(event, ApprovalNeeded)]


async def test_a_call_with_an_effect_keeps_its_arguments() -> None:
    call = ("pay_once", {"amount": 5})
    assert (await result_of(call, middleware=[changing(amount=6)])).outcome == "error"
    assert (await result_of(call, middleware=[changing(amount=5)])).outcome == "ok"


async def test_a_middleware_refuses_answers_and_redacts() -> None:
    async def refuse(call: ToolCall, _: Context, call_next: CallNext) -> object:
        raise ToolError("Not today.")

    async def answer(call: ToolCall, _: Context, call_next: CallNext) -> object:
        return {"cached": True}

    async def redact(call: ToolCall, _: Context, call_next: CallNext) -> object:
        result = await call_next(call)
        return result._replace(text=result.text.replace("Paris", "…"))

    refused = await result_of(PARIS, middleware=[refuse])
    assert (refused.outcome, refused.content) == ("error", "Not today.")
    assert (await result_of(PARIS, middleware=[answer])).content == '{"cached":true}'
    assert (await result_of(PARIS, middleware=[redact])).content == "rain in … for Ann"


async def test_a_middleware_tries_again() -> None:
    tries = 0

    @tool
    def flaky(ctx: Context) -> str:
        nonlocal tries
        tries += 1
        ctx.progress(tries)
        if tries < 3:
            raise ModelRetry("not yet")
        return "there"

    async def retry(call: ToolCall, _: Context, call_next: CallNext) -> ToolResult:
        for _attempt in range(5):
            try:
                return await call_next(call)
            except ModelRetry:
                continue
        raise AssertionError

    events: list[Event] = []
    model = Scripted(called(("flaky", {})), said("Done."))
    await Agent(model, tools=[flaky], middleware=[retry], observers=[events.append]).run("Hi", deps=None)
    assert [event.value for event in events if isinstance(event, ToolProgress)] == [1, 2, 3]


async def test_what_a_middleware_raises_is_the_result_and_a_timeout_ends_it() -> None:
    async def broken(call: ToolCall, _: Context, call_next: CallNext) -> object:
        raise ValueError("oops")

    async def slow(call: ToolCall, _: Context, call_next: CallNext) -> object:
        await anyio.sleep_forever()
        return None

    assert "ValueError" in (await result_of(TEN, middleware=[broken])).content

    @tool(timeout=0.01, middleware=[slow])
    def quick() -> str:
        return "x"

    model = Scripted(called(("quick", {})), said("Done."))
    result = await Agent(model, tools=[quick]).run("Hi")
    assert [m.outcome for m in result.messages if isinstance(m, ToolMessage)] == ["error"]


async def test_request_middleware() -> None:
    seen: list[int] = []

    async def count(request: ChatRequest, call_next: SendNext) -> ChatResponse:
        seen.append(len(request.messages))
        return await call_next(request)

    async def shorten(request: ChatRequest, call_next: SendNext) -> ChatResponse:
        return await call_next(ChatRequest(request.messages[-1:], request.tools))

    model = Scripted(said("Done."))
    await Agent(model, instructions="Be brief.", request_middleware=[count, shorten]).run("Hi")
    assert (seen, len(model.requests[0].messages)) == ([2], 1)
