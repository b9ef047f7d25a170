"""Requests over an HTTP client of the caller's, `httpx.AsyncClient` or its like; or over one that uses proxies.

This file is loaded when a client has one: httpx takes as long to import as a hundred turns of the loop.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
from anyio.lowlevel import RunVar

from agentkit.core.http_request import masked_url


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


class _MaskedQuery(logging.Filter):
    """Masks the query in what an HTTP library logs of agentkit's requests: some endpoints want the key there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _sending.get() and isinstance(record.args, tuple):
            record.args = tuple([masked_url(str(arg)) if type(arg).__name__ == "URL" else arg for arg in record.args])
        return True


_sending: ContextVar[bool] = ContextVar("agentkit_sending", default=False)
for _name in ("httpx", "httpx2"):
    logging.getLogger(_name).addFilter(_MaskedQuery())


_proxied: RunVar[tuple[httpx.AsyncClient, AsyncGenerator[None, None]]] = RunVar("agentkit_proxied")


async def _proxied_client() -> httpx.AsyncClient:
    """Return the running event loop's client, which uses the proxies that the environment has when it is made."""
    try:
        return _proxied.get()[0]
    except LookupError:
        http = httpx.AsyncClient()
        http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))  # several keys may share it
        lifetime = _lifetime(http)
        _proxied.set((http, lifetime))
        await anext(lifetime)  # as for the pool in `connections`
        return http


async def _lifetime(http: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await http.aclose()


async def send(http: Any, url: str, headers: dict[str, str], body: bytes, connect_seconds: float | None) -> Any:
    """Send a request and return the response, its body not read yet; `None` stands for the environment's proxies."""
    http = await _proxied_client() if http is None else http
    timeouts = (connect_seconds, None, None, None)
    request = http.build_request("POST", url, content=body, headers=headers, timeout=timeouts)
    if isinstance(request, httpx.Request):
        request.stream = RequestBody(body)
    token = _sending.set(True)
    try:
        return await http.send(request, stream=True, follow_redirects=False)
    finally:
        _sending.reset(token)
