import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from agentkit import Agent, ConfigurationError, MissingExtra
from agentkit.server import Bounds, ChatServer, serve, serving
from agentkit.server.serving import is_loopback
from tests.scripted import Scripted, said

AGENT = Agent(Scripted(said("Hello")))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []

    def run(app: Any, **named: Any) -> None:
        found.append((app, named))

    def imported(_: str) -> SimpleNamespace:
        return SimpleNamespace(run=run)

    monkeypatch.setattr(serving, "import_module", imported)
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_this_machine_needs_no_key(host: str, ran: list[Any]) -> None:
    app = ChatServer(AGENT, bounds=Bounds(grace=2.5))
    serve(app, host, 9000)
    (served,) = ran
    assert served == (app, {"host": host, "port": 9000, "timeout_graceful_shutdown": 3, "log_level": "warning"})
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_others_need_a_key_or_a_word(host: str, ran: list[Any]) -> None:
    with pytest.raises(ConfigurationError, match="others could reach an agent without a key"):
        serve(ChatServer(AGENT), host)
    assert ran == []
    serve(ChatServer(AGENT, keys="sk-1"), host)
    serve(ChatServer(AGENT, hosts=["*"]), host)
    serve(ChatServer(AGENT, hosts=["localhost", "chat.lan"]), host)
    assert len(ran) == 3


def test_without_uvicorn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_: str) -> None:
        """Nothing."""

    monkeypatch.setattr(serving, "find_spec", find)
    with pytest.raises(MissingExtra, match="the extra `server`"):
        serve(ChatServer(AGENT))
    assert importlib.util.find_spec("uvicorn") is not None
