"""A scripted chat-completions endpoint: a real HTTP server on loopback that plays replies and keeps the requests."""

import json
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


@dataclass
class Raw:
    """A response byte by byte: status, headers and the writes that make its body."""

    writes: Sequence[bytes]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    length: bool = False


Reply: TypeAlias = Json | Raw | Callable[[Json], "Json | Raw"]


def text(content: str, **more: Any) -> Json:
    """An answer."""
    return {"message": {"role": "assistant", "content": content}, "finish_reason": "stop", **more}


def calls(*made: tuple[str, Any], content: str | None = None, ids: Sequence[str] = ()) -> Json:
    """A reply with calls: pairs of a name and arguments (an object, or the text as a model might write it)."""
    entries = [
        {
            "id": ids[at] if ids else f"call_{name}_{at}",
            "type": "function",
            "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
        }
        for at, (name, given) in enumerate(made)
    ]
    message = {"role": "assistant", "content": content, "tool_calls": entries}
    return {"message": message, "finish_reason": "tool_calls"}


def body_of(reply: Json) -> Json:
    """The plain body of a reply."""
    choices = [{"index": 0, **{k: v for k, v in reply.items() if k != "usage"}}]
    usage = reply.get("usage", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": usage,
    }


def stream_of(reply: Json) -> list[bytes]:
    """The same reply as the events of a stream: texts by the word, arguments by three characters."""
    message = reply["message"]
    deltas: list[Json] = [{"role": "assistant", "content": None}]
    words = (message.get("content") or "").split(" ")
    deltas += [{"content": word if at == 0 else f" {word}"} for at, word in enumerate(words) if word or at]
    for at, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        deltas.append({"tool_calls": [{**call, "index": at, "function": {**function, "arguments": ""}}]})
        pieces = [function["arguments"][i : i + 3] for i in range(0, len(function["arguments"]), 3)]
        deltas += [{"tool_calls": [{"index": at, "function": {"arguments": piece}}]} for piece in pieces]
    chunks: list[Json] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reply["finish_reason"]}]})
    chunks.append({"choices": [], "usage": body_of(reply)["usage"]})
    events = [
        b"data: " + json.dumps({"id": "chatcmpl-1", "model": "m", **chunk}).encode() + b"\n\n" for chunk in chunks
    ]
    return [*events, b"data: [DONE]\n\n"]


def fault_in(messages: list[Json]) -> str | None:
    """Say what a strict endpoint would refuse in a history: each call answered once, in order, right after it."""
    open_calls: list[str] = []
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            if not open_calls or open_calls[0] != message["tool_call_id"]:
                return f"message {at} answers {message['tool_call_id']}, open are {open_calls}"
            open_calls.pop(0)
            continue
        if open_calls:
            return f"message {at} comes before the calls {open_calls} are answered"
        if message["role"] == "assistant":
            open_calls = [call["id"] for call in message.get("tool_calls") or ()]
            if len(set(open_calls)) < len(open_calls):
                return f"message {at} has one id twice: {open_calls}"
    return f"the calls {open_calls} are not answered" if open_calls else None


class Endpoint:
    """The server. Each request takes the next reply; the last reply is played again if there are more requests."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.replies = list(replies)
        self.requests: list[Json] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[str] = []
        self.connections = 0
        self.url = ""
        self._lock = threading.Lock()

    def take(self, body: bytes, headers: dict[str, str]) -> tuple[Json | Raw, Json]:
        request: Json = json.loads(body)
        with self._lock:
            reply = self.replies[min(len(self.requests), len(self.replies) - 1)]
            self.requests.append(request)
            self.bodies.append(body)
            self.headers.append(headers)
            if fault := fault_in(request["messages"]):
                self.faults.append(f"request {len(self.requests)}: {fault}")
        return (reply(request) if callable(reply) else reply), request


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    endpoint: Endpoint

    def setup(self) -> None:
        super().setup()
        self.endpoint.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        reply, request = self.endpoint.take(body, {k.lower(): v for k, v in self.headers.items()})
        if isinstance(reply, Raw):
            self._send(reply)
        elif request.get("stream"):
            self._send(Raw(stream_of(reply), headers={"content-type": "text/event-stream"}))
        else:
            self._send(
                Raw([json.dumps(body_of(reply)).encode()], headers={"content-type": "application/json"}, length=True)
            )

    def _send(self, raw: Raw) -> None:
        self.send_response(raw.status)
        for name, value in raw.headers.items():
            self.send_header(name, value)
        if raw.length:
            self.send_header("content-length", str(sum(map(len, raw.writes))))
        else:
            self.send_header("connection", "close")
        self.end_headers()
        try:
            for write in raw.writes:
                self.wfile.write(write)
                self.wfile.flush()
        except OSError:  # the client went away, as some tests have it
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class has it so)
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    closing = False

    def serve(self) -> None:
        while not self.closing:
            self.handle_request()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take nothing at the end: the last connection is there to end the wait for one."""
        return not self.closing

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error here."""


@contextmanager
def serving(*replies: Reply) -> Generator[Endpoint, None, None]:
    """Serve replies; at the end, no request may have had a history that a strict endpoint would refuse."""
    endpoint = Endpoint(replies)
    handler = type("Handler", (_Handler,), {"endpoint": endpoint})
    server = _Server(("127.0.0.1", 0), handler)
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.closing = True
        socket.create_connection(("127.0.0.1", server.server_port)).close()
        thread.join()
        server.server_close()
    assert endpoint.faults == []
