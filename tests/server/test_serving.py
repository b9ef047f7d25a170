import socket
import sys
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from agentkit import Agent, ConfigurationError, MissingExtra
from agentkit.server import Bounds, ChatServer, serve, serving
from agentkit.server.connections import GuardedProtocol
from agentkit.server.serving import is_loopback
from tests.scripted import Scripted, said

AGENT = Agent(Scripted(said("Hello")))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations of uvicorn that are run, at sockets of this machine."""
    configs: list[Any] = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        server.started = True
        configs.append(server.config)

    monkeypatch.setattr(uvicorn.Server, "run", run)

    def listeners(host: str, port: int) -> list[socket.socket]:
        return [socket.create_server(("127.0.0.1", 0))]

    monkeypatch.setattr(serving, "_listeners", listeners)
    return configs


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_this_machine_needs_no_key(host: str, served: list[Any]) -> None:
    app = ChatServer(AGENT, bounds=Bounds(grace=2.5))
    serve(app, host, 9000)
    (config,) = served
    assert config.app is app
    protocol = config.http(config=uvicorn.Config(app), server_state=ServerState(), app_state={}, _loop=object())
    assert isinstance(protocol, GuardedProtocol)
    assert (config.host, config.port, config.timeout_graceful_shutdown) == (host, 9000, 3)
    assert (config.ws, config.h11_max_incomplete_event_size, config.log_level) == ("none", 65_536, "warning")
    assert is_loopback(host)


def test_clients_can_connect_once_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    ports: list[int] = []

    def connect(port: int) -> None:
        ports.append(port)
        socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(ConfigurationError, match=f"port {port}: "):
            serve(ChatServer(AGENT), port=port)

    def interrupted(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        server.started = True
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", interrupted)
    serve(ChatServer(AGENT), port=0, ready=connect)
    assert ports > [0]


def test_an_app_that_does_not_start_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        assert not server.started

    monkeypatch.setattr(uvicorn.Server, "run", run)
    with pytest.raises(SystemExit, match="3"):
        serve(ChatServer(AGENT), port=0)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_where_nobody_can_listen(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot listen at {host}, port 0: "):
        serve(ChatServer(AGENT, keys="sk-1"), host, 0)
    with pytest.raises(ConfigurationError, match="port"):
        serve(ChatServer(AGENT), port=70_000)


def test_each_address_of_a_host_is_listened_at(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = socket.SOCK_STREAM
    found: list[Any] = [
        (socket.AF_INET, stream, 6, "", ("192.0.2.1", 0)),  # which no machine has
        (socket.AF_INET, stream, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, stream, 6, "", ("127.0.0.2", 0)),
    ]

    def look_up(*_: Any, **__: Any) -> list[Any]:
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    listeners = serving._listeners("box", 0)
    names = [listener.getsockname() for listener in listeners]
    assert [name[0] for name in names] == ["127.0.0.1", "127.0.0.2"]
    assert names[0][1] == names[1][1] > 0
    found.insert(0, (*found[2][:4], names[0]))
    with pytest.raises(ConfigurationError):
        serving._listeners("box", 0)
    for listener in listeners:
        listener.close()


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
