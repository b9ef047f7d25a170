"""The loop by hand over asyncio's streams and orjson: what Python comes to where nothing is done that need not be.

A body grows by the bytes of its new messages, and a stream is taken apart as it arrives, as many events at a time as
there are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from functions import Function
from orjson import dumps, loads

from peers import Peer
from peers._by_hand import Made, Pieces, made_of

_MOST = 1 << 20
_READ = 1 << 18

Answer: TypeAlias = tuple[dict[str, Any], int]
Ask: TypeAlias = Callable[[bytes], Awaitable[Answer]]


class P(Peer):
    """HTTP/1.1 by hand, connections kept."""

    longest = 5000
    most_runs = 3000

    def open(self, base_url: str) -> None:
        """Make the head of all requests but for their length."""
        address = urlsplit(base_url)
        self.address = address.hostname, address.port
        self.head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer x\r\n"
            "content-type: application/json\r\ncontent-length: %d\r\n\r\n"
        ).encode()
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def close(self) -> None:
        """Close the connections."""
        for _, writer in self.idle:
            writer.close()

    def tools(self, functions: Sequence[Function]) -> Any:
        """Describe them."""
        return made_of(functions)

    def agent(self, model: str, tools: Any, max_turns: int = 10) -> Any:  # noqa: ARG002 (a run is told)
        """Encode what stands behind the messages in each body."""
        rest = dumps({"model": model, **({"tools": [made.spec for made in tools]} if tools else {})})
        return b"]," + rest[1:-1], {made.function.__name__: made for made in tools}

    async def run(self, agent: Any, prompt: str, max_turns: int = 10) -> str:
        """Run until there are no calls."""
        answer, _ = await self._loop(agent, prompt, max_turns, self._whole, b"}")
        return answer

    async def stream(self, agent: Any, prompt: str, max_turns: int = 10) -> tuple[str, int]:
        """Do the same over streams."""
        return await self._loop(agent, prompt, max_turns, self._streamed, b',"stream":true}')

    async def _loop(self, agent: Any, prompt: str, max_turns: int, ask: Ask, end: bytes) -> tuple[str, int]:
        rest, made = agent
        body = bytearray(b'{"messages":[') + dumps({"role": "user", "content": prompt})
        for _ in range(max_turns + 1):
            message, pieces = await ask(body + rest + end)
            calls = message.get("tool_calls")
            if not calls:
                return message["content"], pieces
            if len(calls) == 1:
                results = [await self._result(made, calls[0])]
            else:
                results = await asyncio.gather(*[self._result(made, call) for call in calls])
            body += b",".join((b"", dumps(message), *results))
        raise RuntimeError("too many turns")

    async def _result(self, made: dict[str, Made], call: dict[str, Any]) -> bytes:
        tool, given = made[call["function"]["name"]], loads(call["function"]["arguments"])
        result = await (tool.function(**given) if tool.is_async else asyncio.to_thread(tool.function, **given))
        return dumps({"role": "tool", "tool_call_id": call["id"], "content": str(result)})

    async def _sent(self, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        """Send a body, and read the head of the response."""
        if self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection(*self.address, limit=_MOST)
        writer.write(self.head % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head[:16]:
            raise RuntimeError(head.decode())
        return reader, writer, head

    async def _whole(self, body: bytes) -> Answer:
        reader, writer, head = await self._sent(body)
        length = head.partition(b"content-length:")[2].partition(b"\r")[0]
        reply = loads(await reader.readexactly(int(length)))
        self.idle.append((reader, writer))
        return reply["choices"][0]["message"], 1

    async def _streamed(self, body: bytes) -> Answer:
        reader, writer, _ = await self._sent(body)
        pieces, framed, text, ended = Pieces(loads), b"", b"", False
        while not ended:
            framed += await reader.read(_READ)
            chunks, framed, ended = _unframed(framed)
            *events, text = (text + b"".join(chunks)).split(b"\n\n")
            for event in events:
                if event != b"data: [DONE]":
                    pieces.take(event[6:])
        self.idle.append((reader, writer))
        return pieces.message()


def _unframed(framed: bytes) -> tuple[list[bytes], bytes, bool]:
    """Return the contents of the whole chunks, the rest, and whether the last chunk was there."""
    chunks: list[bytes] = []
    begin = 0
    while (line := framed.find(b"\r\n", begin)) >= 0:
        size = int(framed[begin:line], 16)
        end = line + 2 + size
        if len(framed) < end + 2:
            break
        if not size:
            return chunks, b"", True
        chunks.append(framed[line + 2 : end])
        begin = end + 2
    return chunks, framed[begin:], False
