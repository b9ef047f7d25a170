"""An endpoint full of faults, plain and over TLS: `python -m benchmarks.faulty SEED FOLDER`, which `soak.py` starts.

It prints its two addresses. Seven of ten replies are what a model says: texts and calls of the tools that the request
has, some with wrong arguments or unknown names. The others are refusals, cuts, stalls, garbage, and quirks of real
endpoints. Half of the TLS connections break: before, in or after the handshake, or with a certificate of an
authority that nobody trusts. The certificate of the other authority is `FOLDER/trusted.pem`.
"""

import json
import select
import socket
import ssl
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import trustme

from agentkit.testing import Chaos, Raw, Repeat, Reply, answer, bytewise, calling, chaos, cut, quirks, refuse, status
from tests.endpoint import fault_in

KEPT = 200
FAULTY, QUIRKY, CUT, SLOW, ANSWERED = 0.15, 0.06, 0.1, 0.03, 0.2
"""How probable these are; the last grows with the length of the conversation."""
FAULTS: Sequence[Reply] = (
    *(status(code) for code in (429, 500, 502, 503, 529)),
    status(429, {"retry-after": "0"}),
    status(400, body={"error": {"message": "bad", "type": "invalid_request_error"}}),
    *(refuse(then) for then in ("close", "reset", "stall")),
    Raw([b"\x00\xff" * 50], headers={"content-type": "application/json"}),
    Raw([b"<html>busy</html>"], 200, {"content-type": "text/html"}),
    Raw([b'{"choices": ' + b"[" * 5000]),
    Raw([b"data: {\n\n", b"data: [DONE]\n\n"], headers={"content-type": "text/event-stream"}),
    Raw([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"], None),
    Raw([b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 3000], None, then="close"),
    Raw([Repeat(b" " * 1000, 2000)], headers={"content-type": "application/json"}),
)


class Trouble:
    """Replies by a seed: the next one follows from how many there were, and from the request."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 (faults come from seeds)
        self._quirks = [quirk for quirk in quirks() if quirk.is_reply]
        self._lock = threading.Lock()

    def raw(self, request: Mapping[str, Any]) -> Raw:
        """Return a reply, and print what a strict endpoint would refuse in the request."""
        fault = fault_in(request["messages"])
        if fault is not None:
            print(fault, flush=True)
        with self._lock:  # the endpoint has a thread per connection
            return self._reply(request).raw(request)

    def _reply(self, request: Mapping[str, Any]) -> Reply:
        draw = self._random.random
        if draw() < FAULTY:
            return self._random.choice(FAULTS)
        said = self._said(request)
        if draw() < QUIRKY:
            return self._random.choice(self._quirks)
        if draw() < CUT:
            size = said.raw(request).size
            return cut(
                said, after_bytes=self._random.randrange(size), then=self._random.choice(("reset", "close", "end"))
            )
        return bytewise(said) if draw() < SLOW else said

    def _said(self, request: Mapping[str, Any]) -> Reply:
        names = [entry["function"]["name"] for entry in request.get("tools") or ()]
        turns = sum(message["role"] == "assistant" for message in request["messages"])
        if not names or request.get("tool_choice") == "none" or self._random.random() < ANSWERED + turns / 10:
            return answer(self._random.choice(("done", "", "# A table\n| a |", "\u202e\x1b[2Jhidden", "é" * 300)))
        return calling(*[self._call(names) for _ in range(self._random.choice((1, 1, 1, 2, 3)))])

    def _call(self, names: list[str]) -> tuple[str, object]:
        name = self._random.choice([*names, *names, *names, "nobody"])
        number = self._random.randrange(4)
        good: dict[str, object] = {"a": number, "b": 1, "invoice": number, "row": number, "prompt": "Look."}
        arguments = self._random.choice([good] * 8 + [{}, {"a": "x"}, '{"a": 1', "", "NaN", '{"a": 1e999, "b": 1}'])
        if arguments is good:
            wanted = {"add": ("a", "b"), "pay": ("invoice",), "delete": ("row",), "research": ("prompt",)}
            arguments = {key: good[key] for key in wanted.get(name, ())}
        return name, arguments


class Front:
    """TLS in front of the endpoint, with faults of its own, by a seed."""

    def __init__(self, behind: int, good: ssl.SSLContext, bad: ssl.SSLContext, seed: int) -> None:
        self._behind, self._good, self._bad = behind, good, bad
        self._random = Random(seed)  # noqa: S311 (faults come from seeds)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])

    def serve(self) -> None:
        """Accept connections until the process ends."""
        while True:
            connection, _ = self._listener.accept()
            fault = self._random.choice(["", "", "", "", "", "close", "garbage", "authority", "cut", "silent", "rude"])
            after = self._random.randrange(4000)
            threading.Thread(target=self._serve, args=(connection, fault, after), daemon=True).start()

    def _serve(self, connection: socket.socket, fault: str, after: int) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            if fault == "close":
                return
            if fault == "garbage":
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            if fault == "silent":
                connection.recv(10_000)
                connection.recv(1)  # until the client gives up
                return
            context = self._bad if fault == "authority" else self._good
            with context.wrap_socket(connection, server_side=True) as client:
                with socket.create_connection(("127.0.0.1", self._behind)) as endpoint:
                    _pass_on(client, endpoint, after if fault == "cut" else None)
                if fault != "rude":
                    client.unwrap()


def _pass_on(client: ssl.SSLSocket, endpoint: socket.socket, left: int | None) -> None:
    """Pass everything on, at most so many bytes to the client."""
    while True:
        ready, _, _ = select.select([client, endpoint], [], [], 60)
        if not ready:
            return
        if client in ready or client.pending():
            data = client.recv(65_536)
            if not data:
                return
            endpoint.sendall(data)
        if endpoint in ready:
            data = endpoint.recv(65_536)
            client.sendall(data[:left])
            if not data or (left is not None and left <= len(data)):
                return
            left = None if left is None else left - len(data)


def forget(endpoint: Chaos) -> None:
    """Drop what the endpoint keeps of its requests, so that it does not grow."""
    for kept in (endpoint.requests, endpoint.bodies, endpoint.headers, endpoint.targets, endpoint.times):
        del kept[:-KEPT]


def main(seed: int, folder: Path) -> None:
    """Serve until the standard input ends, and print a line for each request that a strict endpoint would refuse."""
    good, bad = trustme.CA(), trustme.CA()
    good.cert_pem.write_to_path(str(folder / "trusted.pem"))
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2)]
    for authority, context in zip((good, bad), contexts, strict=True):
        authority.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    with chaos(Trouble(seed)) as endpoint:
        front = Front(int(endpoint.url.split(":")[2].split("/")[0]), contexts[0], contexts[1], seed)
        threading.Thread(target=front.serve, daemon=True).start()
        print(json.dumps([endpoint.url, f"https://127.0.0.1:{front.port}/v1"]), flush=True)
        while select.select([sys.stdin], [], [], 5)[0] == []:
            forget(endpoint)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
