"""Serving with uvicorn."""

import errno
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_address
from math import ceil
from typing import Any

from agentkit.core.checks import check_number
from agentkit.core.errors import ConfigurationError, MissingExtra
from agentkit.server.access import LOOPBACK
from agentkit.server.app import ChatServer
from agentkit.server.connections import Connections

_LARGEST_HEAD, _BACKLOG = 65_536, 2_048
_NOT_STARTED = 3
"""The exit code of uvicorn where an app does not start."""
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def serve(
    app: ChatServer, host: str = "127.0.0.1", port: int = 8000, *, ready: Callable[[int], object] | None = None
) -> None:
    """Serve until the process is asked to stop; then running requests have `Bounds(grace=…)` seconds to end.

    Connections are bounded too: their number and that of each address, `Bounds(connections=…)`, the size of headers,
    and the time that they take, `Bounds(head=…)`.

    Args:
        app: What to serve.
        host: The address to listen at.
        port: The port; 0 for any that is free.
        ready: Called with the port, once clients can connect.

    Raises:
        MissingExtra: If uvicorn is not installed.
        ConfigurationError: If other machines could reach a server without keys. Give it `keys`, or `hosts` if a proxy
            in front of it authenticates. Also if it cannot listen there.
    """
    check_serving(app, host)
    check_number("serve(port=…)", port, least=0, most=65_535, whole=True)
    uvicorn: Any = import_module("uvicorn")
    h11_protocol = import_module("uvicorn.protocols.http.h11_impl").H11Protocol
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Connections(app.bounds).protocol(h11_protocol),
        ws="none",
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        timeout_graceful_shutdown=ceil(app.bounds.grace),
        log_level="warning",
    )
    server = uvicorn.Server(config)
    with ExitStack() as stack:
        sockets = [stack.enter_context(listener) for listener in _listeners(host, port)]
        if ready is not None:
            ready(sockets[0].getsockname()[1])
        with suppress(KeyboardInterrupt):
            server.run(sockets=sockets)
    if not server.started:
        sys.exit(_NOT_STARTED)


def _listeners(host: str, port: int) -> list[socket.socket]:
    """Listen at each address of a host, at the same port."""
    listeners: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, (address, _, *more) in dict.fromkeys(found):
            at = (address, listeners[0].getsockname()[1] if listeners else port, *more)
            try:
                listeners.append(socket.create_server(at, family=family, backlog=_BACKLOG))
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS or len(found) == 1:  # such as IPv6, on a machine without it
                    raise
    except OSError as error:
        for listener in listeners:
            listener.close()
        reason = (error.strerror or "").partition(" (")[0]
        text = f"cannot listen at {host}, port {port}: {reason}; give another host or port"
        raise ConfigurationError(text) from error
    return listeners


def check_serving(app: ChatServer, host: str) -> None:
    """Raise what `serve` raises if it cannot serve at this address."""
    if find_spec("uvicorn") is None:
        raise MissingExtra("serving needs uvicorn, the extra `server`: pip install uvicorn")
    if not (app.access.guarded or is_loopback(host) or app.access.hosts - set(LOOPBACK)):
        raise ConfigurationError(
            f"at {host} other machines could reach an agent without a key: pass ChatServer(…, keys=[…]), or "
            'ChatServer(…, hosts=["*"]) if that is intended'
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
