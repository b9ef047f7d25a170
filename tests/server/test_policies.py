from typing import Any

import pytest

from agentkit import Agent
from agentkit.server import ChatServer
from agentkit.tool_choice import before_answer
from agentkit.tool_choice.graph import Graph
from tests.scripted import Scripted
from tests.server.served import KEY, client, search

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

POLICY = "/v1/models/shop/policy"


def server(**options: Any) -> ChatServer:
    shop = Agent(Scripted(), tools=[search], tool_choice=before_answer(search))
    agents = {"shop": shop, "org/policy": Agent(Scripted()), "org": Agent(Scripted())}
    return ChatServer(agents, **(dict[str, Any](page=True) | options))


async def test_the_policy_of_an_agent_is_text() -> None:
    async with client(server()) as http:
        response = await http.get(POLICY)
        data = response.json()
        assert response.headers["content-type"] == "application/json"
        assert (data["id"], data["object"], data["report"]) == ("shop", "policy", "2 states")
        assert data["policy"].startswith("before_answer('search')")
        assert data["graph"] == "0: required\n   search:ok → 1\n1: auto, may answer\n"
        assert (await http.head(POLICY)).content == b""
        # An agent's own name comes first.
        assert (await http.get("/v1/models/org/policy")).json()["object"] == "model"
        assert (await http.get("/v1/models/org/policy/policy")).json()["id"] == "org/policy"
        assert (await http.get("/v1/models/other/policy")).status_code == 404
        assert (await http.post(POLICY)).status_code == 405


async def test_the_policy_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Graph] = []

    def svg(graph: Graph) -> str:
        drawn.append(graph)
        return "<svg/>"

    monkeypatch.setattr(Graph, "svg", svg)
    async with client(server()) as http:
        for _ in range(2):
            response = await http.get(f"{POLICY}.svg")
            assert (response.status_code, response.text) == (200, "<svg/>")
            assert response.headers["content-type"] == "image/svg+xml"
            assert "default-src 'none'" in response.headers["content-security-policy"]
    assert len(drawn) == 1


@pytest.mark.parametrize(("options", "host", "status"), [
    ({"page": False}, "localhost", 404), ({"keys": KEY}, "localhost", 401), ({}, "evil.example", 403),
])  # fmt: skip
async def test_only_those_who_may_use_the_page_see_the_policy(options: Any, host: str, status: int) -> None:
    async with client(server(**options)) as http:
        for path in (POLICY, f"{POLICY}.svg"):
            assert (await http.get(path, headers={"host": host})).status_code == status
    async with client(server(keys=KEY), KEY) as http:
        assert (await http.get(POLICY)).status_code == 200
