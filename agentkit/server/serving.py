"""Serving with uvicorn."""

from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_address
from math import ceil
from typing import Any

from agentkit.core.errors import ConfigurationError, MissingExtra
from agentkit.server.access import LOOPBACK
from agentkit.server.app import ChatServer
from agentkit.server.connections import Connections

_LARGEST_HEAD = 65_536


def serve(app: ChatServer, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until the process is asked to stop; then running requests have `Bounds(grace=…)` seconds to end.

    Connections are bounded too: their number and that of each address, `Bounds(connections=…)`, the size of headers,
    and the time that they take, `Bounds(head=…)`.

    Args:
        app: What to serve.
        host: The address to listen at.
        port: The port.

    Raises:
        MissingExtra: If uvicorn is not installed.
        ConfigurationError: If other machines could reach a server without keys. Give it `keys`, or `hosts` if a proxy
            in front of it authenticates.
    """
    check_serving(app, host)
    uvicorn: Any = import_module("uvicorn")
    h11_protocol = import_module("uvicorn.protocols.http.h11_impl").H11Protocol
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=Connections(app.bounds).protocol(h11_protocol),
        ws="none",
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        timeout_graceful_shutdown=ceil(app.bounds.grace),
        log_level="warning",
    )


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
