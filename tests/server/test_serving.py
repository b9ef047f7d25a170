import sys
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from agentkit import Agent, ConfigurationError, MissingExtra
from agentkit.server import Bounds, ChatServer, serve
from agentkit.server.connections import GuardedProtocol
from agentkit.server.serving import is_loopback
from tests.scripted import Scripted, said

AGENT = Agent(Scripted(said("Hello")))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What uvicorn is called with."""
    calls: list[Any] = []

    def run(app: object, **options: object) -> None:
        calls.append((app, options))

    monkeypatch.setattr(uvicorn, "run", run)
    return calls


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_this_machine_needs_no_key(host: str, served: list[Any]) -> None:
    app = ChatServer(AGENT, bounds=Bounds(grace=2.5))
    serve(app, host, 9000)
    ((served_app, options),) = served
    assert served_app is app
    protocol = options.pop("http")(config=uvicorn.Config(app), server_state=ServerState(), app_state={}, _loop=object())
    assert isinstance(protocol, GuardedProtocol)
    bounded = {"ws": "none", "h11_max_incomplete_event_size": 65_536, "log_level": "warning"}
    assert options == {"host": host, "port": 9000, "timeout_graceful_shutdown": 3, **bounded}
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_others_need_a_key_or_a_word(host: str, served: list[Any]) -> None:
    with pytest.raises(ConfigurationError, match="keys"):
        serve(ChatServer(AGENT), host)
    assert served == []
    serve(ChatServer(AGENT, keys="sk-1"), host)
    serve(ChatServer(AGENT, hosts=["*"]), host)
    serve(ChatServer(AGENT, hosts=["localhost", "chat.lan"]), host)
    assert len(served) == 3


def test_without_uvicorn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtra, match="`server`"):
        serve(ChatServer(AGENT))
