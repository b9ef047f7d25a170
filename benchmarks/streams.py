"""Many streams at once from one server process: all must be whole, and their memory is told.

python benchmarks/streams.py --clients 500
"""

import argparse
import asyncio
import json
import multiprocessing
import re
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import anyio
import uvicorn

from agentkit import Agent, AssistantMessage, ChatChunk, ChatRequest, ChatResponse, ToolCall, ToolMessage, Usage, tool
from agentkit.core.chat import Choice
from agentkit.core.model import OnChunk
from agentkit.server import Bounds, ChatServer

WORDS, PAUSE = 60, 0.05
TEXT = " ".join(f"word{at}" for at in range(WORDS))


class Slow:
    """A model that calls a tool, and then writes a word now and then."""

    name = "slow"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request."""
        if not isinstance(request.messages[-1], ToolMessage):
            call = ToolCall("c0", "look", "{}")
            return ChatResponse((Choice(AssistantMessage(tool_calls=(call,)), "tool_calls"),), Usage(1, 9, 9))
        for at, word in enumerate(TEXT.split(" ")):
            await anyio.sleep(PAUSE)
            if on_chunk is not None:
                on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": f" {word}" if at else word}}]}))
        return ChatResponse((Choice(AssistantMessage(TEXT), "stop"),), Usage(1, 9, 9))


@tool
async def look() -> str:
    """Look."""
    await anyio.sleep(PAUSE)
    return "seen"


def serve(ready: Connection, clients: int) -> None:
    """Serve, and tell the port."""
    app = ChatServer(Agent(Slow(), tools=[look]), bounds=Bounds(requests=clients))
    config = uvicorn.Config(app, port=0, log_level="error", backlog=clients)
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    socket.listen(clients)
    ready.send(socket.getsockname()[1])
    server.run([socket])


async def ask(port: int) -> float:
    """Ask for one stream, and hold it to being whole; give the seconds until its first word."""
    began = perf_counter()
    body = json.dumps({"model": "agent", "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json"
    )
    writer.write(f"{head}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
    first, said, done = 0.0, "", False
    async for line in reader:
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                piece = choice["delta"].get("content") or ""
                first = first or (perf_counter() - began if piece else 0.0)
                said += piece
        done = done or line.startswith(b"data: [DONE]")
    writer.close()
    if not done or said != TEXT:
        raise SystemExit(f"a stream is not whole: {said!r}")
    return first


def memory(pid: int, name: str) -> float:
    """Return the memory of a process in MB: now (`VmRSS`) or at its highest (`VmHWM`)."""
    (found,) = re.findall(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return int(found) / 1024


async def ask_all(port: int, clients: int) -> list[float]:
    """Ask for all streams at once."""
    return await asyncio.gather(*[ask(port) for _ in range(clients)])


def main() -> None:
    """Start a server, ask, and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=500)
    clients: int = parser.parse_args().clients
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, clients))
    server.start()
    try:
        port = mine.recv()
        asyncio.run(ask_all(port, 1))
        pid = server.pid or 0
        idle = memory(pid, "VmRSS")
        began = perf_counter()
        firsts = sorted(asyncio.run(ask_all(port, clients)))
        seconds = perf_counter() - began
        print(f"{clients} streams of {WORDS} words, all whole, in {seconds:.1f} s (alone: {WORDS * PAUSE:.1f} s)")
        print(f"first word after {firsts[len(firsts) // 2]:.2f} s (median), {firsts[-1]:.2f} s (last)")
        peak = memory(pid, "VmHWM")
        each = (peak - idle) / clients * 1000
        print(f"memory of the server: {idle:.0f} MB idle, {peak:.0f} MB at its peak: {each:.0f} kB a stream")
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
