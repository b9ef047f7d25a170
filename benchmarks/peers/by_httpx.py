"""The loop by hand over httpx: what people write who use no framework."""

from importlib import import_module
from typing import Any

from peers._by_hand import ByHand, Pieces


class P(ByHand):
    """httpx, with a pool that has room for all."""

    library = "httpx"

    def open(self, base_url: str) -> None:
        """Make the client."""
        library: Any = import_module(self.library)
        most = library.Limits(max_connections=None, max_keepalive_connections=None)
        self.url = f"{base_url}/v1/chat/completions"
        self.client = library.AsyncClient(timeout=600, limits=most, headers={"authorization": "Bearer x"})

    async def close(self) -> None:
        """Close the client."""
        await self.client.aclose()

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Post it."""
        response = await self.client.post(self.url, json=request)
        response.raise_for_status()
        message: dict[str, Any] = response.json()["choices"][0]["message"]
        return message

    async def read(self, request: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Post it, and read the lines that come."""
        pieces = Pieces()
        async with self.client.stream("POST", self.url, json=request) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    pieces.take(line[6:])
        return pieces.message()
