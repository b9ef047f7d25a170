from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from agentkit import Agent, AssistantMessage, ImagePart, Sqlite, TextPart, ToolCall, UserMessage, tool
from agentkit.core.errors import EndpointUnavailable
from agentkit.server import ChatServer, conversations
from tests.scripted import Scripted, called, said
from tests.server.served import COMPLETIONS, KEY, THEIRS, Json, client, search, served

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

PIXEL = "data:image/png;base64,AA=="
LIST = "/v1/models/agent/conversations"


@tool
def look() -> list[str | ImagePart]:
    """Look."""
    return ["a picture", ImagePart(PIXEL)]


@tool(ends=True)
def send() -> str:
    """Send."""
    return "sent"


class Trip(BaseModel):
    city: str


def asking(text: str | None = "Hello", **fields: Any) -> Json:
    messages = [] if text is None else [{"role": "user", "content": text}]
    return {"model": "agent", "conversation": "c-1", "messages": messages, **fields}


def server(file: Path, *plays: Any, options: Any = None, **more: Any) -> ChatServer:
    given: dict[str, Any] = {"tools": [search, look, send], **(options or {})}
    agent: Agent[Any, Any] = Agent(Scripted(*(plays or (said("Hi"),))), **given)
    return ChatServer({"agent": agent, "a/b": agent}, sessions=Sqlite(file / "chats.db"), **more)


async def answer(http: httpx.AsyncClient, body: Json) -> str:
    response = await http.post(COMPLETIONS, json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


async def test_the_server_keeps_a_conversation(tmp_path: Path) -> None:
    model = Scripted(said("Hi"), said("Yes."))
    agent = Agent(model, instructions="Be kind.", name="agent")
    store = Sqlite(tmp_path / "chats.db")
    with served(ChatServer(agent, sessions=store)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            assert (await http.get("/v1/models/agent")).json()["conversations"] is True
            assert (await http.get(LIST)).json() == {"object": "list", "data": []}
            assert await answer(http, asking("Who\n are you?")) == "Hi"
            assert await answer(http, asking("Really?")) == "Yes."
            assert [message.to_dict()["content"] for message in model.requests[-1].messages] == [
                "Be kind.", "Who\n are you?", "Hi", "Really?",
            ]  # fmt: skip
            assert (await http.get(LIST)).json()["data"] == [{"id": "c-1", "title": "Who are you?"}]
            kept = (await http.get(f"{LIST}/c-1")).json()
            assert (kept["id"], kept["object"], kept["complete"]) == ("c-1", "conversation", True)
            assert [message["content"] for message in kept["messages"]] == ["Who\n are you?", "Hi", "Really?", "Yes."]
            # It had ended: the answer is given again, and the model is not asked.
            assert await answer(http, asking(None)) == "Yes."
            assert (await http.head(f"{LIST}/c-1")).content == b""
            assert (await http.delete(f"{LIST}/c-1")).json()["deleted"] is True
            for response in (await http.delete(f"{LIST}/c-1"), await http.get(f"{LIST}/c-1")):
                assert (response.status_code, response.json()["error"]["code"]) == (404, "conversation_not_found")
    assert len(model.requests) == 2
    assert await store.conversations() == ()


async def test_what_failed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    app = server(tmp_path, called(("search", {"query": "x"})), EndpointUnavailable("down", status=503), said("Found."))
    async with client(app) as http:
        assert (await http.post(COMPLETIONS, json=asking())).status_code == 502
        assert (await http.get(f"{LIST}/c-1")).json()["complete"] is False
        assert await answer(http, asking(None)) == "Found."
        kept = (await http.get(f"{LIST}/c-1")).json()
    assert [message["role"] for message in kept["messages"]] == ["user", "assistant"]  # without events


@pytest.mark.parametrize("events", [False, True])
async def test_a_view_has_what_the_client_saw(tmp_path: Path, events: bool) -> None:
    thought = AssistantMessage(
        "Wait.", (ToolCall("c0", "look", "{}"), ToolCall("c1", "send", "{}")), extra={"reasoning": "Hm."}
    )
    app = server(tmp_path, thought, said("A picture."), events=events)
    async with client(app) as http:
        image = [{"type": "image_url", "image_url": {"url": PIXEL}}, {"type": "text", "text": "See?"}]
        first = asking(messages=[{"role": "user", "content": image}])
        await answer(http, first)
        kept = (await http.get(f"{LIST}/c-1")).json()
        assert (await http.get(LIST)).json()["data"][0]["title"] == "See?"
    views = kept["messages"]
    assert views[0]["content"] == image
    assert views[-1]["content"] == "sent"  # the tool that ended the run
    roles = [view["role"] for view in views]
    if events:
        assert (views[1]["reasoning"], views[1]["tool_calls"][0]["id"]) == ("Hm.", "c0")
        assert "tool" in roles
        assert "outcome" in str(views)
    else:
        assert roles == ["user", "assistant", "assistant"]
        assert views[1] == {"role": "assistant", "content": "Wait."}


async def test_images_of_tools(tmp_path: Path) -> None:
    app = server(tmp_path, called(("look", {})), said("A picture."), events=True)
    async with client(app) as http:
        await answer(http, asking())
        views = (await http.get(f"{LIST}/c-1")).json()["messages"]
    assert [view["role"] for view in views] == ["user", "assistant", "tool", "assistant"]
    assert (views[2]["images"], views[2]["outcome"]) == ([PIXEL], "ok")


async def test_a_typed_answer(tmp_path: Path) -> None:
    typed: Json = {"output": Trip, "tools": []}
    app = server(tmp_path, called(("final_answer", {"city": "Rome"})), options=typed, events=True)
    async with client(app) as http:
        assert await answer(http, asking()) == '{"city":"Rome"}'
        kept = (await http.get(f"{LIST}/c-1")).json()
    assert kept["complete"] is True
    assert [view["content"] for view in kept["messages"]] == ["Hello", '{"city":"Rome"}']


async def test_each_key_and_each_agent_has_its_own(tmp_path: Path) -> None:
    app = server(tmp_path, keys=[KEY, "sk-other"])
    async with client(app, KEY) as http, client(app, "sk-other") as other, client(app) as nobody:
        await answer(http, asking())
        await answer(http, asking(model="a/b", conversation="c-2"))
        assert [item["id"] for item in (await http.get(LIST)).json()["data"]] == ["c-1"]
        assert [item["id"] for item in (await http.get("/v1/models/a/b/conversations")).json()["data"]] == ["c-2"]
        assert (await http.get("/v1/models/a/b/conversations/c-1")).status_code == 404
        assert (await other.get(LIST)).json()["data"] == []
        for method in ("GET", "DELETE"):
            assert (await other.request(method, f"{LIST}/c-1")).status_code == 404
            assert (await nobody.request(method, f"{LIST}/c-1")).status_code == 401
        assert (await http.get("/v1/models/x/conversations")).status_code == 404
        assert (await http.delete(LIST)).status_code == 405
        assert (await http.get(f"{LIST}/c.1")).status_code == 404
    assert all(KEY not in name for name in await Sqlite(tmp_path / "chats.db").conversations())


@pytest.mark.parametrize(("fields", "param"), [
    ({"conversation": "a.b"}, "conversation"), ({"conversation": 3}, "conversation"), ({"conversation": "x" * 65}, "conversation"),
    ({"tools": THEIRS}, "conversation"), ({"n": 2}, "conversation"), ({"messages": []}, "messages"), ({"messages": 3}, "messages"),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]}, "messages[1].role"),
])  # fmt: skip
async def test_what_a_conversation_takes(tmp_path: Path, fields: Json, param: str) -> None:
    async with client(server(tmp_path)) as http:
        response = await http.post(COMPLETIONS, json=asking(**fields))
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    async with client(ChatServer(Agent(Scripted(said("Hi"))))) as http:
        response = await http.post(COMPLETIONS, json=asking())
        assert (response.status_code, response.json()["error"]["param"]) == (400, "conversation")
        assert (await http.get(LIST)).status_code == 404


@pytest.mark.parametrize("remembered", [10, 0])
async def test_a_long_title_and_what_has_none(tmp_path: Path, remembered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "_REMEMBERED", remembered)
    store = Sqlite(tmp_path / "chats.db")
    await store.conversation("agent.long").append([UserMessage((TextPart("word " * 99), TextPart("x")))])
    await store.conversation("agent.silent").append([said("Hi")])
    await store.conversation("agent.other.name").append([said("Hi")])
    await store.conversation("somebody").append([said("Hi")])
    async with client(server(tmp_path)) as http:
        listed = (await http.get(LIST)).json()["data"]
        assert (await http.get(LIST)).json()["data"] == listed
    assert [(item["id"], len(item["title"])) for item in listed] == [("silent", 0), ("long", 80)]
