"""One HTTP request and its response over ASGI."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from secrets import token_hex
from typing import Any, TypeAlias

from anyio import move_on_after

from agentkit.server.errors import HttpError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON_HEADERS = {"content-type": "application/json"}
_ALWAYS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
_LONGEST_LENGTH = 18
"""Digits of a content-length; a longer one is too large in any case."""
_ERROR_SECONDS = 5.0
"""How long an error response waits for a client that does not read."""


_DRAIN_SECONDS, _DRAIN_BYTES = 2.0, 64_000_000


class ClientDisconnected(Exception):
    """The client disconnected before its request was complete."""


class HttpExchange:
    """A request, and the means to respond to it.

    `path` is relative to where the app is mounted, and `query` is what follows it; `begun` is whether the response has
    begun. `id` is that of the request: the response has it as `x-request-id`.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._asgi_send = send
        self._headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        self.method: str = scope["method"]
        self.client = str((scope.get("client") or ("",))[0])  # the address
        path: str = scope["path"]
        root = str(scope.get("root_path") or "").rstrip("/")
        self.path = path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path
        self.query = bytes(scope.get("query_string") or b"").decode("latin-1")
        self.begun = False
        self.id = token_hex(6)
        # Asking for the body of a client that waits for `100 Continue` would have it sent.
        self._unread = "expect" not in self._headers

    def header(self, name: str) -> str:
        """Return a header of the request, `""` if it is missing."""
        return self._headers.get(name, "").strip()

    async def body(self, max_bytes: int, seconds: float) -> bytes:
        """Read the request's body.

        Raises:
            HttpError: 413 if it is larger than `max_bytes`; 408 if it is not complete within `seconds`.
            ClientDisconnected: If the client disconnects first.
        """
        length = self.header("content-length")
        if length.isdecimal() and (len(length) > _LONGEST_LENGTH or int(length) > max_bytes):
            raise _too_large(max_bytes)
        body = bytearray()
        with move_on_after(seconds):
            more = True
            while more:
                message = await self._receive()
                if message["type"] != "http.request":
                    raise ClientDisconnected
                body += message.get("body", b"")
                self._unread = more = message.get("more_body", False)
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
            return bytes(body)
        self._unread = False  # it had its time
        raise HttpError(408, f"the request was not complete after {seconds:g} s", headers={"connection": "close"})

    async def until_disconnected(self) -> None:
        """Wait until the client disconnects."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole response."""
        await self.begin(status, {"content-length": str(len(body)), **headers})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin a response whose body follows by `write`."""
        self.begun = True
        headers = {**_ALWAYS, "x-request-id": self.id, **headers}
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def write(self, data: bytes) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """End the body."""
        await self._send({"type": "http.response.body", "body": b""})

    async def _drain(self) -> None:
        """Read the rest of the body and drop it: many clients read no response before they have sent all of it.

        It is bounded: a connection that is closed on a client that still sends is a reset there.
        """
        size = 0
        with move_on_after(_DRAIN_SECONDS):
            while self._unread and size < _DRAIN_BYTES:
                message = await self._receive()
                size += len(message.get("body", b""))
                self._unread = message.get("more_body", False)

    async def fail(self, error: HttpError) -> None:
        """Send an error: as a response of its own, or as the last event of a stream that has begun."""
        if not self.begun:
            await self._drain()
        with move_on_after(_ERROR_SECONDS):
            if self.begun:
                await self.write(b"data: " + error.body + b"\n\n")
                await self.end()
            else:
                await self.respond(error.status, error.body, JSON_HEADERS | error.headers)

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        with suppress(OSError):  # the client is gone, which `until_disconnected` reports
            await self._asgi_send(message)


def _too_large(max_bytes: int) -> HttpError:
    text = f"the request is larger than {max_bytes} bytes"
    return HttpError(413, text, code="request_too_large", headers={"connection": "close"})
