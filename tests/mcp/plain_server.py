"""A small MCP server as a program, which neither agentkit nor the SDK has a part in.

`plain_server.py` speaks over stdio; `plain_server.py PORT STATUS` over HTTP, and answers a session that it does not know
with that status. It prints a line when it listens, and one when `hang` is called.
"""

import json
import os
import signal
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAMES = ("pid", "hang", "die", "refuse")
sessions: set[str] = set()


def reply_to(message: dict[str, Any]) -> dict[str, Any]:
    """The reply to a request."""
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    match message["method"], message.get("params", {}).get("name"):
        case "initialize", _:
            info = {"name": "plain", "version": "1"}
            return reply | {
                "result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            }
        case "tools/list", _:
            tools: list[dict[str, Any]] = [
                {"name": name, "inputSchema": {"type": "object"}} for name in (*NAMES, "task")
            ]
            tools[-1]["execution"] = {"taskSupport": "required"}
            return reply | {"result": {"tools": tools}}
        case "tools/call", "pid":
            return reply | {"result": {"content": [{"type": "text", "text": str(os.getpid())}]}}
        case "tools/call", "hang":
            print("called", flush=True, file=sys.stderr)  # noqa: T201 (the test reads it)
            signal.pause()
        case "tools/call", "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "tools/call", "refuse":
            return reply | {"error": {"code": -32000, "message": "not on Sundays"}}
        case _:
            pass
    return reply | {"error": {"code": -32601, "message": "no such method"}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 404

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        session = self.headers["mcp-session-id"]
        if message["method"] == "initialize":
            sessions.add(session := uuid.uuid4().hex)
        elif session not in sessions and message["method"] != "server/discover":
            return self.answer(self.status, b"", None)
        if "id" not in message:
            return self.answer(202, b"", None)
        return self.answer(200, json.dumps(reply_to(message)).encode(), session)

    def do_GET(self) -> None:
        self.answer(405, b"", None)

    do_DELETE = do_GET  # noqa: N815 (as above)

    def answer(self, status: int, body: bytes, session: str | None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if session:
            self.send_header("mcp-session-id", session)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 (the library's name)
        pass


def over_stdio() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            print(json.dumps(reply_to(message)), flush=True)  # noqa: T201 (the protocol)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        over_stdio()
    else:
        Handler.status = int(sys.argv[2])
        server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
        print("listening", flush=True, file=sys.stderr)  # noqa: T201 (the test reads it)
        server.serve_forever()
