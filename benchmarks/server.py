"""A fake chat-completions endpoint: answers are made once and kept, so that it is never what a measure waits for.

The name of the model says what happens, and the ids of the calls in the request say how far it is:

    loop-50           50 turns with one call of `add` each, then an answer
    work-32           one turn with 32 calls of `work`, then an answer
    text-2000         an answer in 2,000 chunks
    arguments-2000    one call of `save` whose arguments come in 2,000 pieces, then an answer

`-delay50` behind it waits 50 ms before each reply. `GET /last` gives the last request.
"""

import asyncio
import json
import re
import ssl
import sys
from functools import lru_cache
from typing import Any

_TURN = re.compile(rb"call_turn(\d+)x\d+")
_MODEL = re.compile(rb'"model":\s*"([^"]+)"')
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream":\s*true')
_TAIL = 4096  # the last ids stand there
_USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}

Call = tuple[str, str, str]


def word(i: int) -> str:
    """Return a piece of a text."""
    return f"word{i:05d} "


def said(model: str, turn: int) -> tuple[str | None, list[Call]]:
    """Return the answer or the calls of a turn."""
    kind, size, *_ = model.split("-")
    number = int(size)
    if kind == "text":
        return "".join(map(word, range(number))), []
    if turn >= (number if kind == "loop" else 1):
        return f"done {number}", []
    if kind == "loop":
        made: list[tuple[str, dict[str, Any]]] = [("add", {"a": turn, "b": 1})]
    elif kind == "work":
        made = [("work", {"i": i}) for i in range(number)]
    else:
        made = [("save", {"text": "".join(map(word, range(number)))})]
    return None, [(f"call_turn{turn:05d}x{k}", name, json.dumps(given)) for k, (name, given) in enumerate(made)]


def head(kind: bytes, length: int | None) -> bytes:
    """Return the head of a response."""
    size = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s\r\n\r\n" % (kind, size)


@lru_cache(maxsize=10_000)
def whole(model: str, turn: int) -> bytes:
    """Return a reply in one piece."""
    content, made = said(model, turn)
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if made:
        message["tool_calls"] = [
            {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call, name, arguments in made
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if made else "stop"}
    reply = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    body = json.dumps({**reply, "usage": _USAGE}).encode()
    return head(b"application/json", len(body)) + body


@lru_cache(maxsize=100)
def streamed(model: str, turn: int) -> bytes:
    """Return a reply as a stream of events, in one write."""
    content, made = said(model, turn)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if made else ""}]
    for k, (call, name, arguments) in enumerate(made):
        begun = {"index": k, "id": call, "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [begun]})
        size = len(word(0)) if name == "save" else len(arguments)
        pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
        deltas += [{"tool_calls": [{"index": k, "function": {"arguments": piece}}]} for piece in pieces]
    if content is not None:
        size = len(word(0))
        deltas += [{"content": content[at : at + size]} for at in range(0, len(content), size)]
    events = [_event(model, delta, None) for delta in deltas]
    events += [_event(model, {}, "tool_calls" if made else "stop"), b"data: [DONE]\n\n"]
    return head(b"text/event-stream", None) + b"".join(b"%x\r\n%s\r\n" % (len(e), e) for e in events) + b"0\r\n\r\n"


def _event(model: str, delta: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: %s\n\n" % json.dumps(chunk).encode()


class Endpoint(asyncio.Protocol):
    """One connection."""

    last = b"{}"
    transport: asyncio.WriteTransport

    def __init__(self) -> None:
        self._received = bytearray()
        self._wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 (it is, over TCP)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take what came, until a request is whole; a client sends its next one after the reply."""
        self._received += data
        if not self._wanted:
            begin = self._received.find(b"\r\n\r\n")
            if begin < 0:
                return
            length = _LENGTH.search(self._received, 0, begin)
            self._wanted = begin + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= self._wanted:
            request = bytes(self._received)
            self._received.clear()
            self._wanted = 0
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"GET"):
            self.transport.write(head(b"application/json", len(Endpoint.last)) + Endpoint.last)
            return
        begin = request.index(b"\r\n\r\n") + 4
        Endpoint.last = request[begin:]
        named = _MODEL.search(request, begin, begin + 200) or _MODEL.search(request, begin)
        model = named[1].decode() if named else ""
        ids = _TURN.findall(request, max(begin, len(request) - _TAIL)) or _TURN.findall(request, begin)
        turn = int(ids[-1]) + 1 if ids else 0
        reply = streamed(model, turn) if _STREAM.search(request, begin) else whole(model, turn)
        delay = int(model.rpartition("-delay")[2]) / 1000 if "-delay" in model else 0.0
        asyncio.get_running_loop().call_later(delay, self._send, reply)

    def _send(self, reply: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(reply)


async def serve(certificate: str | None = None) -> None:
    """Serve on a free port, which is printed, until the process ends; with a file of a key and certificate over TLS."""
    secure = None
    if certificate:
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0, backlog=4096, ssl=secure)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
