import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentkit import Agent
from agentkit.cli import serve as serving_command
from agentkit.cli.serve import startup_notice
from agentkit.server import ChatServer
from agentkit.server.serving import check_serving
from agentkit.testing import chaos
from tests.cli.commands import Weather, give
from tests.mcp.test_connection import PROGRAM
from tests.programs import PATIENCE, free_port, started
from tests.server.served import served

KEY = "sk-clients-need-this"


@pytest.fixture(autouse=True)
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
    named = "from agentkit import Agent\nfirst = Agent('m', name='ann')\nother = Agent('m', name='ann')\nplain = Agent('m')\n"
    (folder / "several.py").write_text(named)


@pytest.fixture
def listened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ChatServer, Mapping[str, Any]]]:
    """What is served, without anyone listening."""
    apps: list[tuple[ChatServer, Mapping[str, Any]]] = []

    def listen(app: ChatServer, *, ready: Callable[[int], None], **more: Any) -> None:
        check_serving(app, more["host"])
        apps.append((app, more))
        ready(more["port"])

    monkeypatch.setattr(serving_command, "listen", listen)
    return apps


@pytest.mark.parametrize(("words", "names"), [
    (["weather.py"], "weather"), (["several.py:first"], "ann"),
    (["several.py:first", "several.py:other", "several.py:plain"], "first, other, plain"),
    (["several.py:first", "weather.py", "--name", "bob"], "bob, weather"),
    (["gpt-5"], "gpt-5"),
])  # fmt: skip
def test_agents_are_served_by_name(words: list[str], names: str, listened: list[tuple[ChatServer, Any]]) -> None:
    done = give("serve", *words)
    assert (done.exit_code, done.stdout) == (0, "")
    url = "http://127.0.0.1:8000/"
    assert done.stderr.startswith(f"agentkit: serving {names} at {url}v1; try it in a browser: {url}\n")
    ((app, options),) = listened
    assert (repr(app), app.access.guarded) == (f"ChatServer({names})", False)
    assert options == {"host": "127.0.0.1", "port": 8000}


@pytest.mark.parametrize(("words", "env"), [(["--api-key", KEY], {}), (["--no-page", "--port", "80"], {"AGENTKIT_SERVE_KEY": KEY})])  # fmt: skip
def test_a_key_is_needed_and_not_shown(
    words: list[str], env: dict[str, str], listened: list[tuple[ChatServer, Any]]
) -> None:
    done = give("serve", "weather.py", *words, env=env)
    assert (done.exit_code, listened[0][0].access.guarded) == (0, True)
    assert KEY not in done.output
    assert '-H "authorization: Bearer $AGENTKIT_SERVE_KEY"' in done.stderr
    assert ("agentkit: serving weather at http://127.0.0.1:80/v1\n" in done.stderr) == ("80" in words)


@pytest.mark.parametrize("words", [[], ["--no-page"]])
def test_the_pages_user_sees_and_approves_calls(words: list[str], listened: list[tuple[ChatServer, Any]]) -> None:
    denied = [line for line in give("serve", "weather.py", *words).stderr.splitlines() if "need approval" in line]
    ((app, _),) = listened
    with served(app) as url:
        statuses = [
            httpx.get(url).status_code,
            httpx.post(f"{url}/v1/approvals/x", json={"approved": True}).status_code,
        ]
        codes = httpx.post(f"{url}/v1/approvals/x", json={"approved": True}).json()["error"]["code"]
    assert statuses == ([404, 404] if words else [200, 404])
    assert codes == ("not_found" if words else "approval_not_found")
    assert ("the page asks" in denied[0]) == (not words)


@pytest.mark.parametrize(("words", "who"), [
    ([], "everyone who reaches this server"), (["--api-key", KEY, "--host", "::"], "everyone with the key"),
])  # fmt: skip
def test_runs_are_shown_to_whom_the_command_says(
    words: list[str], who: str, listened: list[tuple[ChatServer, Any]]
) -> None:
    url = "http://[::1]:8000" if words else "http://127.0.0.1:8000"
    line = f"agentkit: {who} sees all runs: agentkit view --live {url}\n"
    assert line in give("serve", "weather.py", "--show-runs", *words).stderr
    assert "sees all runs" not in give("serve", "weather.py", *words).stderr
    statuses: list[int] = []
    for app, _ in listened:
        with served(app) as address:
            statuses.append(httpx.get(f"{address}/v1/runs", headers={"authorization": f"Bearer {KEY}"}).status_code)
    assert statuses == [200, 404]


def test_conversations_are_kept_in_a_file(folder: Path, listened: list[tuple[ChatServer, Any]]) -> None:
    assert give("serve", "weather.py", "--session", "chats.db").exit_code == 0
    with served(listened[0][0]) as url:
        assert httpx.get(f"{url}/v1/models/weather/conversations").json()["data"] == []
    assert not (folder / "chats.db").exists()


@pytest.mark.parametrize(("words", "text"), [
    (["weather.py", "--session", "ann.jsonl"], "--session ann.db"), (["weather.py", "--session", "no/a.db"], "mkdir"),
    (["several.py:first", "--name", "a", "--name", "b"], "2 names for 1 agents"),
    (["weather.py", "several.py:first", "--name", "ann"], "two agents are named 'ann'"),
    (["weather.py", "--host", "0.0.0.0"], "without a key"),
    (["several.py"], "name one"), (["weather.py", "--api-key", ""], "the key is empty"),
])  # fmt: skip
def test_wrong_usage(words: list[str], text: str) -> None:
    done = give("serve", *words)
    assert done.exit_code == 2
    assert text in done.stderr.splitlines()[-1]
    assert "serving" not in done.stderr  # it does not


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("::2", "http://[::2]:1"), ("box", "http://box:1")],
)
def test_the_notice_has_an_address_to_call(host: str, url: str) -> None:
    where, curl, _ = startup_notice({"a": Agent("m")}, host, 1, needs_key=False, page=False)
    assert where == f"serving a at {url}/v1"
    assert curl.startswith(f"curl {url}/v1/chat/completions -H 'content-type: application/json' -d '")
    assert json.loads(curl.partition("-d '")[2][:-1])["model"] == "a"


OPENED = f"""
import sys
from contextlib import asynccontextmanager
from agentkit import Agent
from agentkit.mcp import StdioServer, mcp_tools
from weather import get_weather

@asynccontextmanager
async def agent():
    async with mcp_tools(StdioServer(sys.executable, [{PROGRAM!r}])) as tools:
        assert len(tools) == 4
        yield Agent("m", tools=[tools, get_weather])
"""


def test_clients_speak_with_an_agent_until_ctrl_c(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    port = free_port()
    (folder / "opened.py").write_text(OPENED)
    command = [sys.executable, "-m", "agentkit", "serve", "weather.py", "opened.py", "--port", str(port)]
    with chaos(Weather()) as playing:
        monkeypatch.setenv("AGENTKIT_BASE_URL", playing.url)
        with started(command, stderr=subprocess.PIPE) as server:
            assert server.stderr is not None
            lines = [server.stderr.readline() for _ in range(4)]
            assert lines[2].startswith("agentkit: weather has tools that need approval; ")
            assert lines[3] == "agentkit: Ctrl-C stops the server\n"
            body = {"model": "weather", "messages": [{"role": "user", "content": "rain?"}]}
            transport = httpx.HTTPTransport(retries=8)
            with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
                answer, other = [
                    client.post("/v1/chat/completions", json={**body, "model": model}).json()
                    for model in ("weather", "opened")
                ]
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=PATIENCE)
    for reply in (answer, other):
        assert reply["choices"][0]["message"]["content"] == "I heard: light rain in Paris"
    assert server.returncode in (0, 130)
