"""The loop by hand over asyncio's streams, where each message is encoded once: about as fast as Python can be here."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from peers._by_hand import ByHand, Pieces

_MOST = 1 << 22


class P(ByHand):
    """HTTP/1.1 by hand, connections kept."""

    def open(self, base_url: str) -> None:
        """Keep the address."""
        found = urlsplit(base_url)
        self.host, self.port = found.hostname, found.port
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.encoded: dict[int, tuple[object, bytes]] = {}

    async def close(self) -> None:
        """Close the connections."""
        for _, writer in self.idle:
            writer.close()

    def _bytes(self, value: object) -> bytes:
        """Encode a message, or the tools, once; the value is kept so that its id stays its own."""
        known = self.encoded.get(id(value))
        if known is None or known[0] is not value:
            known = self.encoded[id(value)] = value, json.dumps(value).encode()
        return known[1]

    async def _sent(self, request: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        parts = [b'"messages":[%s]' % b",".join(map(self._bytes, request["messages"]))]
        parts += [b'"%s":%s' % (k.encode(), self._bytes(v)) for k, v in request.items() if k != "messages"]
        body = b"{%s}" % b",".join(reversed(parts))
        reader, writer = (
            self.idle.pop() if self.idle else await asyncio.open_connection(self.host, self.port, limit=_MOST)
        )
        top = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self.host}\r\nauthorization: Bearer x\r\n"
        writer.write(f"{top}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        return reader, writer, (await reader.readuntil(b"\r\n\r\n")).lower()

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write it, and read as much as the head says."""
        reader, writer, head = await self._sent(request)
        length = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
        reply = json.loads(await reader.readexactly(length))
        self.idle.append((reader, writer))
        message: dict[str, Any] = reply["choices"][0]["message"]
        return message

    async def read(self, request: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Write it, and read the chunks; the endpoint puts one event into each."""
        reader, writer, _ = await self._sent(request)
        pieces = Pieces()
        while size := int(await reader.readuntil(b"\r\n"), 16):
            event = await reader.readexactly(size + 2)
            if not event.startswith(b"data: [DONE]"):
                pieces.take(event[6:])
        await reader.readexactly(2)
        self.idle.append((reader, writer))
        return pieces.message()
