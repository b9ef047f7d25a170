"""What a run sends back is what strict endpoints take, whatever became of its calls."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from agentkit import Agent, ChatClient, Event, ToolFinished, ToolMessage, UserMessage
from agentkit.core.errors import AgentkitError
from agentkit.models.client.retries import Retries
from agentkit.testing import Chaos, Reply, answer, calling, chaos, cut, refuse, status
from tests.strict_endpoints import refusal_of_openai, refusal_of_vllm

pytestmark = pytest.mark.anyio

QUICK = Retries(attempts=3, base=0.01, max_delay=0.02)


def agent_at(endpoint: Chaos, *tools: Callable[..., Any], **more: Any) -> Agent:
    return Agent(ChatClient("m", base_url=endpoint.url, api_key="", retries=QUICK), tools=tools, **more)


async def test_a_cancelled_run_leaves_no_call_open() -> None:
    caught: list[BaseException] = []

    async def never() -> None:
        group.cancel_scope.cancel()
        await anyio.sleep_forever()

    async def run() -> None:
        try:
            await agent.run("Go on.")
        except anyio.get_cancelled_exc_class() as cancelled:
            caught.append(cancelled)
            raise

    with chaos(calling(("never", {})), answer("done")) as endpoint:
        agent = agent_at(endpoint, never)
        async with anyio.create_task_group() as group:
            group.start_soon(run)
        history = getattr(caught[0], "partial").messages  # noqa: B009 (it is added to what cancels)
        result = await agent.run([*history, UserMessage("Hi")])
    assert result.output == "done"
    assert not refusal_of_openai(endpoint.requests[1])
    assert [message["role"] for message in endpoint.requests[1]["messages"]] == ["user", "assistant", "tool", "user"]


async def draw() -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": "https://a.example/1.png"}}]


async def read() -> str:
    return "a\ud83cb\x00c"


async def get_weather(city: str) -> str:
    return city


ODD = [("get_weather", arguments) for arguments in ("", '{"city": "Par', "null", "[]", '{"city": NaN}')]


async def test_odd_arguments_and_results_are_sent_as_endpoints_take_them() -> None:
    with chaos(calling(("draw", {}), ("read", {}), *ODD), answer("done")) as endpoint:
        assert (await agent_at(endpoint, draw, read, get_weather).run("Go on.")).output == "done"
    request = endpoint.requests[1]
    assert not refusal_of_vllm(request)
    assert all(type(json.loads(call["function"]["arguments"])) is dict for call in request["messages"][1]["tool_calls"])
    assert all(isinstance(message["content"], str) for message in request["messages"][2:4])
    assert request["messages"][3]["content"][0] == "a"
    assert endpoint.bodies[1].decode()


async def test_a_retry_runs_no_tool_twice() -> None:
    paid: list[int] = []

    async def pay(amount: int) -> str:
        paid.append(amount)
        return "paid"

    faults: dict[int, Reply] = {2: status(500), 3: cut(after_bytes=20), 4: refuse(), 5: cut(after_bytes=9, then="end")}
    with chaos(calling(("pay", {"amount": 5})), answer("done"), faults=faults) as endpoint:
        agent = agent_at(endpoint, pay)
        with pytest.raises(AgentkitError) as caught:
            await agent.run("Go on.")
        assert caught.value.partial is not None
        result = await agent.run(caught.value.partial.messages)
    assert (result.output, paid, len(endpoint.requests)) == ("done", [5], 6)


async def test_a_run_stops_where_a_result_cannot_be_kept() -> None:
    paid: list[int] = []
    kept: list[ToolMessage] = []

    async def pay(amount: int) -> str:
        paid.append(amount)
        return "paid"

    def keep(event: Event) -> None:
        if isinstance(event, ToolFinished):
            kept.append(event.message)
            if len(kept) == 1:
                raise OSError("the disk is full")

    with chaos(calling(("pay", {"amount": 5})), answer("done")) as endpoint:
        agent = agent_at(endpoint, pay, observers=[keep])
        with pytest.raises(OSError, match="the disk is full"):
            await agent.run("Go on.")
    assert (len(endpoint.requests), paid) == (1, [5])
