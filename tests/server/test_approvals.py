import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from agentkit import Agent, tool
from agentkit.core.errors import ConfigurationError
from agentkit.server import ChatServer
from tests.scripted import Scripted, called, said
from tests.server.served import COMPLETIONS, KEY, Json, asking, client, events_of, served

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

EVENTS = {"include_events": True}
ran: list[str] = []


@tool(approval=True)
def pay(amount: int) -> str:
    """Pay."""
    ran.append(f"paid {amount}")
    return ran[-1]


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def server(**options: Any) -> ChatServer:
    agent = Agent(Scripted(called(("pay", {"amount": 5})), said("Done.")), tools=[pay], name="agent")
    given: dict[str, Any] = {"approver": "client", "events": True, "keys": [KEY, "sk-other"], **options}
    return ChatServer(agent, **given)


@asynccontextmanager
async def asked(app: ChatServer) -> AsyncGenerator[tuple[httpx.AsyncClient, Json, Any]]:
    """A client whose request waits for an approval, the event that says so, and the lines after it."""
    headers = {"authorization": f"Bearer {KEY}"}
    with served(app) as url:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
            body = asking(stream=True, stream_options=EVENTS)
            async with http.stream("POST", COMPLETIONS, json=body) as response:
                lines = response.aiter_lines()
                async for line in lines:
                    if '"approval_needed"' in line:
                        yield http, json.loads(line.removeprefix("data: "))["agentkit"], lines
                        return


@pytest.mark.parametrize(("decision", "outcome", "done"), [
    ({"approved": True}, "ok", ["paid 5"]), ({"approved": False, "reason": "too much"}, "refused", []),
])  # fmt: skip
async def test_the_client_decides(decision: Json, outcome: str, done: list[str]) -> None:
    async with asked(server()) as (http, event, lines):
        assert (event["name"], event["arguments"], event["id"]) == ("pay", '{"amount": 5}', "c0")
        assert event["nested"] is False
        path = f"/v1/approvals/{event['approval']}"
        bodies: list[Any] = [{}, {"approved": "yes"}, {"approved": True, "reason": 3}, []]
        for wrong in bodies:
            assert (await http.post(path, json=wrong)).status_code == 400
        other = await http.post(path, json=decision, headers={"authorization": "Bearer sk-other"})
        assert (other.status_code, other.json()["error"]["code"]) == (404, "approval_not_found")
        assert (await http.post(path, json=decision, headers={"authorization": ""})).status_code == 401
        assert (await http.post(path, content="{", headers={"content-type": "application/json"})).status_code == 400
        assert (await http.post(path, content='{"approved": true}')).status_code == 415
        assert (await http.get(path)).status_code == 405
        assert ran == []
        response = await http.post(path, json=decision)
        assert response.json() == {"id": event["approval"], "object": "approval", "approved": decision["approved"]}
        assert (await http.post(path, json=decision)).status_code == 404
        rest = "\n\n".join([line async for line in lines if line])
    (finished,) = [event["agentkit"] for event in events_of(rest) if "tool_finished" in str(event)]
    assert (finished["outcome"], ran) == (outcome, done)
    assert decision.get("reason", "") in finished["content"]


async def test_a_call_of_a_sub_agent_waits_too() -> None:
    inner = Agent(Scripted(called(("pay", {"amount": 5})), said("Paid.")), tools=[pay], name="bank")
    outer = Agent(
        Scripted(called(("bank", {"prompt": "Pay 5."})), said("Done.")),
        tools=[inner.as_tool("bank", "Pays.")],
        name="agent",
    )
    app = ChatServer(outer, keys=KEY, approver="client", events=True)
    async with asked(app) as (http, event, lines):
        assert (event["name"], event["arguments"], event["nested"]) == ("pay", '{"amount": 5}', True)
        await http.post(f"/v1/approvals/{event['approval']}", json={"approved": True})
        assert [line async for line in lines if line][-1] == "data: [DONE]"
    assert ran == ["paid 5"]


async def test_a_call_waits_no_longer_than_its_client() -> None:
    app = server()
    async with asked(app) as (http, event, _):
        pass
    async with client(app, KEY) as http:
        assert (await http.post(f"/v1/approvals/{event['approval']}", json={"approved": True})).status_code == 404
    assert ran == []


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream_options": EVENTS}])
async def test_a_client_that_sees_no_events_approves_nothing(fields: Json) -> None:
    app = server()
    async with client(app, KEY) as http:
        with anyio.fail_after(60):
            response = await http.post(COMPLETIONS, json=asking(**fields))
    assert response.status_code == 200
    assert ran == []


async def test_who_approves_must_see_the_call() -> None:
    with pytest.raises(ConfigurationError, match="events=True"):
        server(events=False)
    async with client(server(approver=None), KEY) as http:
        assert (await http.post("/v1/approvals/x", json={})).status_code == 404
