"""One HTTP request and its reply, as ASGI has them."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from anyio import move_on_after

from agentkit.server.errors import Refusal

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = {"content-type": "application/json"}
"""The headers of a reply that is JSON."""
_DIGITS = 18
_PATIENCE = 5.0
"""Seconds that an error waits for a client that does not read."""
_ALWAYS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


class Gone(Exception):
    """The client went away before its request had come."""


class Exchange:
    """A request, and the way back to whoever sent it.

    Args:
        scope: What ASGI says of the request.
        receive: Gives what comes.
        send: Takes what goes.

    Attributes:
        method: The method.
        path: The path, below that at which the app is mounted.
        begun: Whether the reply has begun.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._to = send
        self._headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        self.method: str = scope["method"]
        path: str = scope["path"]
        root = str(scope.get("root_path") or "").rstrip("/")
        self.path = path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path
        self.begun = False

    def header(self, name: str) -> str:
        """Give a header of the request, empty if it has none."""
        return self._headers.get(name, "").strip()

    async def body(self, most: int, seconds: float) -> bytes:
        """Read the body.

        Args:
            most: How many bytes it may have.
            seconds: In which it must have come.

        Raises:
            Refusal: If it is too large, or too slow.
            Gone: If the client went away.
        """
        length = self.header("content-length")
        if length.isdecimal() and (len(length) > _DIGITS or int(length) > most):
            raise _too_large(most)
        body = bytearray()
        with move_on_after(seconds):
            more = True
            while more:
                message = await self._receive()
                if message["type"] != "http.request":
                    raise Gone
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > most:
                    raise _too_large(most)
            return bytes(body)
        raise Refusal(408, f"the request did not come within {seconds:g} s", headers={"connection": "close"})

    async def until_gone(self) -> None:
        """Wait until the client goes away. Whatever else comes is of no interest."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Reply as a whole."""
        await self.begin(status, {"content-length": str(len(body)), **headers})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin a reply whose body comes in pieces."""
        self.begun = True
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in (_ALWAYS | dict(headers)).items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def write(self, piece: bytes) -> None:
        """Send a piece."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        """Say that nothing more comes."""
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, refusal: Refusal) -> None:
        """Say that there is no answer: as a reply of its own, or as the last event of a stream that has begun."""
        with move_on_after(_PATIENCE):
            if self.begun:
                await self.write(b"data: " + refusal.body + b"\n\n")
                await self.end()
            else:
                await self.reply(refusal.status, refusal.body, JSON | refusal.headers)

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        with suppress(OSError):  # the client went away, which is told where it is waited for
            await self._to(message)


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"a request may have {most} bytes", code="request_too_large", headers={"connection": "close"})
