"""A fake endpoint on 127.0.0.1 that plays replies, quirks of real endpoints, and faults.

from agentkit import Agent, ChatClient
from agentkit.testing import answer, chaos, quirk

with chaos(quirk("S08"), answer("done")) as endpoint:      # repeats the tool's name in every delta
    agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[get_weather])
    assert agent.run_sync("Is it raining in Paris?").output == "done"

Faults of a reply are `cut`, `refuse`, `status` and `Raw`; `faults` says which request they hit.
"""

import http.client
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BufferedIOBase
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

from agentkit.core.errors import ConfigurationError
from agentkit.testing.replies import Cut, Raw, Reply, framed, pieces, status

_PATH = "/v1/chat/completions"
_LONGEST_LINE = 65_536
_LARGEST_BODY = 100_000_000
_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class _Received(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    came: float


class Chaos:
    """A fake endpoint; see `chaos`.

    Requests are kept in the order of arrival: `requests[0]`, `bodies[0]`, `headers[0]` and `times[0]` belong together.

    Attributes:
        url: The address for `ChatClient(…, base_url=…)`, inside the `with` block.
        requests: The request bodies, decoded.
        bodies: The request bodies as bytes.
        headers: The request headers, with names in lower case.
        targets: The request paths, with their query.
        times: The times of arrival, by `time.monotonic()`.
        connections: The number of connections.
    """

    def __init__(self, replies: Sequence[Reply], faults: Mapping[int, Reply], speed: float) -> None:
        if not replies:
            raise ConfigurationError('chaos needs at least one reply: chaos(answer("done"))')
        if speed <= 0 or any(number < 1 for number in faults):
            raise ConfigurationError("faults need request numbers from 1, and speed must be more than 0")
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.times: list[float] = []
        self.connections = 0
        self._replies = replies
        self._faults = faults
        self._speed = speed
        self._turn = 0
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._open: dict[threading.Thread, socket.socket] = {}

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), name="chaos", daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        with self._listener:
            socket.create_connection(self._listener.getsockname()).close()  # wakes the acceptor
            self._acceptor.join()
        for thread, connection in self._open.items():
            with suppress(OSError):  # the client closed it
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            if self._closing.is_set():
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="chaos connection", daemon=True)
            self.connections += 1
            thread.start()
            alive = {other: socket for other, socket in self._open.items() if other.is_alive()}
            self._open = alive | {thread: connection}

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as received:  # a client may disconnect
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (request := _read_request(received)) is not None and self._send(self._raw(request), connection):
                pass

    def _raw(self, asked: _Received | Raw) -> Raw:
        if isinstance(asked, Raw):
            return asked
        if (asked.method, asked.target.partition("?")[0]) != ("POST", _PATH):
            return _refused(404, f"the endpoint has only POST {_PATH}")
        try:
            request = json.loads(asked.body)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return _refused(400, "the body is not a JSON object")
        raw = self._reply(asked, cast("dict[str, Any]", request))
        is_last = asked.headers.get("connection", "").lower() == "close"
        return replace(raw, headers=framed(raw) | {"connection": "close"}) if is_last else raw

    def _reply(self, asked: _Received, request: dict[str, Any]) -> Raw:
        with self._lock:
            self.requests.append(request)
            self.bodies.append(asked.body)
            self.headers.append(asked.headers)
            self.targets.append(asked.target)
            self.times.append(asked.came)
            reply = self._replies[min(self._turn, len(self._replies) - 1)]
            fault = self._faults.get(len(self.requests))
            if fault is None:
                self._turn += 1
            else:
                reply = replace(fault, reply=reply) if isinstance(fault, Cut) and fault.reply is None else fault
        try:
            return reply.raw(request)
        except Exception as error:  # noqa: BLE001 (raised at the end of the block)
            self._error = self._error or error
            return _refused(500, f"the reply failed: {error!r}")

    def _send(self, raw: Raw, connection: socket.socket) -> bool:
        """Send a reply; return whether the connection can take another request."""
        headers = framed(raw)
        if raw.status is not None:
            lines = [f"HTTP/1.1 {raw.status} {http.client.responses.get(raw.status, '')}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        chunked = headers.get("transfer-encoding") == "chunked"
        for piece in pieces(raw.writes):
            if self._closing.wait(raw.pause / self._speed):
                return False
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if raw.then == "end" and chunked:
            connection.sendall(b"0\r\n\r\n")
        elif raw.then == "stall":
            self._closing.wait()
        elif raw.then == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        return raw.then == "end" and headers.get("connection") != "close"


def chaos(*replies: Reply, faults: Mapping[int, Reply] | None = None, speed: float = 1.0) -> Chaos:
    """Return a fake endpoint, for a `with` block.

    It listens on 127.0.0.1 and keeps connections alive. The end of the block closes them and waits for its threads.

    Args:
        replies: The replies, one per request; the last is repeated. Use `answer`, `calling`, `status`, `refuse`,
            a `quirk`, a `Raw`, any of these in `cut` or `bytewise`, or a `Reply` of your own.
        faults: Replies to certain requests instead, by their number from 1. The replaced reply goes to the next
            request. A `cut` without a reply cuts the replaced one.
        speed: Divides all pauses.

    Returns:
        The endpoint. If a reply raises an error, the request gets a 500, and the end of the block raises the error.

    Raises:
        ConfigurationError: If there is no reply, or a number is out of range.
    """
    return Chaos(replies, faults or {}, speed)


def _read_request(received: BufferedIOBase) -> _Received | Raw | None:
    """Read a request; return a refusal if it is malformed, `None` if the client disconnected."""
    line = received.readline(_LONGEST_LINE).decode("latin-1").split()
    came = time.monotonic()
    if not line:
        return None
    method, target, *_ = [*line, ""]
    try:
        headers = {name.lower(): value for name, value in http.client.parse_headers(received).items()}
        length = int(headers["content-length"])
    except (KeyError, ValueError, http.client.HTTPException):
        return _refused(411, "a request needs valid headers with a content-length")
    if not 0 <= length <= _LARGEST_BODY:
        return _refused(413, f"a request has at most {_LARGEST_BODY} bytes")
    body = received.read(length)
    return _Received(method, target, headers, body, came) if len(body) == length else None


def _refused(code: int, message: str) -> Raw:
    return replace(status(code, {"connection": "close"}, {"error": {"message": message}}), then="close")
