"""Requests over an HTTP client of the caller's: `httpx.AsyncClient`, or anything of its shape.

This file is loaded when a client has one: httpx takes as long to import as a hundred turns of the loop.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx


class RequestBody(httpx.AsyncByteStream):
    """The body of a request, in one piece. Unlike httpx's own, it leaves no generator open if sending is cancelled."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._sent = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._sent = False  # authentication of the caller's client may send it again
        return self

    async def __anext__(self) -> bytes:
        if self._sent:
            raise StopAsyncIteration
        self._sent = True
        return self._body


async def send(http: Any, url: str, headers: dict[str, str], body: bytes, connect_seconds: float | None) -> Any:
    """Send a request and return the response, its body not read yet."""
    timeouts = (connect_seconds, None, None, None)
    request = http.build_request("POST", url, content=body, headers=headers, timeout=timeouts)
    if isinstance(request, httpx.Request):
        request.stream = RequestBody(body)
    return await http.send(request, stream=True, follow_redirects=False)
