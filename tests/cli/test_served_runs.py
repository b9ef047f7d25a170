"""The runs of a served agent, as `agentkit view --live` asks for them."""

import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from agentkit import Agent, ConfigurationError
from agentkit.cli.served_runs import ServedRuns, is_url
from agentkit.server import ChatServer
from tests.cli.commands import give
from tests.programs import free_port
from tests.scripted import Scripted, said
from tests.server.served import COMPLETIONS, KEY, asking, served


def app(**options: Any) -> ChatServer:
    return ChatServer(Agent(Scripted(said("It rains.")), name="agent"), **options)


def items(runs: ServedRuns) -> list[Any]:
    (page,), more = anyio.run(runs.load)
    assert more == {}
    found: Any = page["items"]
    return list(found)


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_runs_of_a_server_are_items_of_one(suffix: str) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    with served(app(keys=KEY, show_runs=True)) as url, ServedRuns(url + suffix, KEY) as runs:
        assert (runs.url, items(runs)) == (url, [])
        for text in ("Rain?", "Snow?"):
            httpx.post(url + COMPLETIONS, json=asking(text), headers=headers)
            assert items(runs)[-1]["items"][0]["parts"] == [{"text": text}]
        assert [run["stop"] for run in items(runs)] == ["answer"] * 2


def test_a_server_that_took_its_place_is_followed() -> None:
    port = free_port()
    with ServedRuns(f"http://127.0.0.1:{port}", None) as runs:
        for _ in range(2):
            with served(app(show_runs=True), port=port) as url:
                httpx.post(url + COMPLETIONS, json=asking())
                assert len(items(runs)) == 1


@pytest.mark.parametrize(("options", "message"), [
    ({"show_runs": True, "keys": KEY}, "needs its key: --api-key"), ({}, "--show-runs"),
    ({"show_runs": True, "hosts": ["chat.lan"]}, "answers with the status 403"),
])  # fmt: skip
def test_what_a_server_refuses_is_said(options: dict[str, Any], message: str) -> None:
    with served(app(**options)) as url, ServedRuns(url, None) as runs:
        with pytest.raises(ConfigurationError, match=message):
            anyio.run(runs.load)
        done = give("view", url, "--live")
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr


def test_there_is_no_server_or_another_one() -> None:
    async def other(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"<p>"})

    url = f"http://127.0.0.1:{free_port()}"
    done = give("view", "--live", url)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"there is no server at {url}" in done.stderr
    with served(other, lifespan="off") as url:
        assert "is no served agent" in give("view", "--live", url).stderr


@pytest.mark.parametrize(("words", "message"), [
    (["http://127.0.0.1:1"], "agentkit view --live http://127.0.0.1:1"),
    (["b.json", "https://a.example"], "agentkit view --live https://a.example"),
    (["http://127.0.0.1:1", "--live", "--agent", "weather.py"], "--agent is for a stored run"),
    (["http://ann:pw@127.0.0.1:1", "--live"], "a user name or a password"),
])  # fmt: skip
def test_what_a_server_cannot_be_asked(folder: Path, words: list[str], message: str) -> None:
    (folder / "b.json").write_text(json.dumps([{"role": "user", "content": "Hi"}]))
    done = give("view", *words)
    assert (done.exit_code, message in done.stderr) == (2, True)


@pytest.mark.parametrize(("text", "url"), [("https://a.example", True), ("http.db", False), ("shop.db:ann", False)])
def test_what_is_a_url(text: str, url: bool) -> None:
    assert is_url(text) is url
