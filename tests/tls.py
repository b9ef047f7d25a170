"""TLS in front of a fake endpoint, with a certificate that the client trusts."""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest
import trustme

from agentkit.models.client import connections
from agentkit.testing import Chaos


class Front:
    """A server with TLS that passes everything on to an endpoint, and back.

    Attributes:
        port: Where it listens.
        polite: Whether it ends TLS before it closes a connection.
        protocols: What each connection has agreed on.
    """

    def __init__(self, behind: int, context: ssl.SSLContext, *, polite: bool) -> None:
        self.polite = polite
        self.protocols: list[str | None] = []
        self._behind, self._context = behind, context
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for opened in (self._listener, *self._open):
            with suppress(OSError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)  # not that of TLS, which forgets its state
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # it was shut down
            while True:
                self._open.append(self._listener.accept()[0])
                self._start(self._serve, self._open[-1])

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), self._context.wrap_socket(connection, server_side=True) as client:
            self._open.append(client)
            self.protocols.append(client.selected_alpn_protocol())
            with socket.create_connection(("127.0.0.1", self._behind)) as endpoint:
                self._pass_on(client, endpoint)
            if self.polite:
                client.unwrap().close()

    def _pass_on(self, client: ssl.SSLSocket, endpoint: socket.socket) -> None:
        while True:
            ready, _, _ = select.select([client, endpoint], [], [])
            while client in ready or client.pending():
                if not (data := client.recv(65_536)):
                    return
                endpoint.sendall(data)
                ready = [endpoint] if endpoint in ready else []
            if endpoint in ready:
                if not (data := endpoint.recv(65_536)):
                    return
                client.sendall(data)


@contextmanager
def trusted(tmp_path: Path, *names: str) -> Generator[ssl.SSLContext]:
    """Have clients trust a new authority, and yield what a server of these names, by default 127.0.0.1, needs."""
    authority = trustme.CA()
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert(*(names or ["127.0.0.1"])).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        connections._certificates.cache_clear()
        yield context
    connections._certificates.cache_clear()


@contextmanager
def with_tls(endpoint: Chaos, tmp_path: Path, *, polite: bool = True) -> Generator[Front]:
    """Put TLS in front of an endpoint."""
    port = int(endpoint.url.removeprefix("http://127.0.0.1:").removesuffix("/v1"))
    with trusted(tmp_path) as context, Front(port, context, polite=polite) as front:
        endpoint.url = f"https://127.0.0.1:{front.port}/v1"
        yield front
