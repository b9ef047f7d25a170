"""The client of a chat-completions endpoint."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, NoReturn, Protocol, cast

import httpx
from anyio import CancelScope, current_time, move_on_after

from agentkit._json import decode_piece
from agentkit._sse import ErrorEvent, EventStream
from agentkit.assembly import Assembly
from agentkit.connections import Sent, connections
from agentkit.errors import ConfigurationError, ConnectionFailed, MalformedReply, ModelTimeout
from agentkit.failures import endpoint_error, error_event, error_inside
from agentkit.model import OnChunk
from agentkit.wire import ChatChunk, ChatRequest, ChatResponse

_OPENAI = "https://api.openai.com/v1"
_CONNECT_SECONDS = 10.0
_DRAIN_SECONDS = 0.5
_ERROR_BYTES = 10_000
_BLANK = b"\xef\xbb\xbf \t\r\n"
_PLAIN = (b"{", b"[", b"<")
_FIELDS = (b":", b"d", b"e", b"i", b"r")


class HttpClient(Protocol):
    """What a caller's own HTTP client must do; `httpx.AsyncClient` does."""

    def build_request(self, method: str, url: str, *, content: bytes, headers: dict[str, str]) -> Any:
        """Make a request."""
        ...

    async def send(self, request: Any, *, stream: bool) -> Any:
        """Send it and give the response, its body not read yet."""
        ...


class ChatClient:
    """A model behind `POST {base_url}/chat/completions`.

    It may be shared by any number of agents, event loops and threads. Connections are kept for the next request in the
    same event loop and closed when that ends.

    Args:
        model: The model's name, as the endpoint knows it.
        base_url: The address up to `/chat/completions`. Without it `AGENTKIT_BASE_URL` holds, then `OPENAI_BASE_URL`,
            then, if there is an `OPENAI_API_KEY`, OpenAI's own.
        api_key: The bearer key; `""` for none. Without it `AGENTKIT_API_KEY` holds. `OPENAI_API_KEY` holds for the
            address in `OPENAI_BASE_URL` and for OpenAI's own, and is sent nowhere else.
        timeout: Seconds for one request as a whole.
        headers: More headers, such as an organisation's id.
        stream_usage: Whether a streamed request asks for its usage; a few endpoints refuse that.
        http: Your own `httpx.AsyncClient`, for proxies, certificates or a transport of your own. It is not closed here.

    Raises:
        ConfigurationError: If there is no address, or it or the key cannot be sent.
    """

    __slots__ = ("_headers", "_http", "_key", "_shown", "_stream_usage", "_timeout", "_url", "base_url", "name")

    def __init__(  # noqa: PLR0913 (what an endpoint needs)
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 600.0,
        headers: Mapping[str, str] | None = None,
        stream_usage: bool = True,
        http: HttpClient | None = None,
    ) -> None:
        headers = {name.lower(): _Secret(value) for name, value in (headers or {}).items()}
        api_key = None if api_key is None else _Secret(api_key)
        self.name, self.base_url = model, base_url or ""
        self.base_url, key = _address(base_url, api_key)
        self._url, self._shown = _url(self.base_url)
        self._timeout = timeout
        self._stream_usage = stream_usage
        self._http = http
        self._key = _sendable("api_key", key)
        self._headers: dict[str, str] = {"content-type": "application/json"}
        if self._key:
            self._headers["authorization"] = _Secret(f"Bearer {self._key}")
        self._headers |= {name: _sendable(name, value) for name, value in headers.items()}

    def __repr__(self) -> str:
        return f"ChatClient({self.name!r}, base_url={self.base_url.partition('?')[0]!r})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Send a request and read the whole reply; see `Model.complete`."""
        body = request.encode(self.name, stream=on_chunk is not None, stream_usage=self._stream_usage)
        assembly = Assembly(frozenset([tool.name for tool in request.tools]))
        try:
            with move_on_after(self._timeout):
                response = await self._send(body)
                try:
                    if not response.is_success:
                        said = await _beginning(response)
                        if self._key:
                            said = said.replace(self._key.encode(), b"...")
                        raise endpoint_error(response.status_code, response.headers, said, self._shown)
                    await _read(response, assembly, on_chunk)
                finally:
                    await response.aclose()
                return assembly.response()
        except httpx.TimeoutException as error:
            allowed = _CONNECT_SECONDS if self._http is None else self._timeout
            raise ModelTimeout(f"{self._shown} did not answer: {type(error).__name__}", allowed) from error
        except httpx.TransportError as error:
            raise ConnectionFailed(f"{self._shown}: {str(error) or type(error).__name__}") from error
        except httpx.RequestError as error:
            raise MalformedReply(f"{self._shown} sent what cannot be read: {error}") from error
        raise ModelTimeout(f"{self._shown} did not answer in {self._timeout:g} s", self._timeout)

    async def _send(self, body: bytes) -> httpx.Response:
        if self._http is not None:
            request = self._http.build_request("POST", str(self._url), content=body, headers=dict(self._headers))
            return cast("httpx.Response", await self._http.send(request, stream=True))
        timeout = {"connect": _CONNECT_SECONDS, "read": None, "write": None, "pool": None}
        headers = {"host": self._url.netloc.decode(), **self._headers, "content-length": str(len(body))}
        request = httpx.Request("POST", self._url, headers=headers, stream=Sent(body), extensions={"timeout": timeout})
        return await (await connections()).handle_async_request(request)


@lru_cache(maxsize=64)
def _url(base_url: str) -> tuple[httpx.URL, str]:
    """Give where requests go, and how errors name it: without the query, which may have a key."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{base_url!r} is not an address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 65536:  # noqa: PLR2004 (ports)
        raise ConfigurationError(f"{base_url!r} is not an address of the form https://host/v1")
    if url.userinfo:
        raise ConfigurationError("the base URL has a name or a password in it; send them with headers={…}")
    url = url.copy_with(path=url.path.rstrip("/") + "/chat/completions")
    return url, str(url.copy_with(query=None))


class _Secret(str):
    """A text that does not show, and is not stored."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"

    def __deepcopy__(self, memo: object) -> "_Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client holds a key and is not pickled; make another where it is needed")


def _sendable(name: str, value: str) -> _Secret:
    value = _Secret(value.strip())
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"{name} has a character that a header cannot have, such as a line break")
    return value


def _address(base_url: str | None, api_key: str | None) -> tuple[str, str]:
    """Find an address and the key that goes with it: a key of OpenAI's goes to the address that was set beside it."""
    ours, theirs = (_Secret(os.environ.get(name, "")) for name in ("AGENTKIT_API_KEY", "OPENAI_API_KEY"))
    beside = os.environ.get("OPENAI_BASE_URL") or (_OPENAI if theirs else None)
    found = base_url or os.environ.get("AGENTKIT_BASE_URL") or beside
    if not found:
        raise ConfigurationError(
            "no endpoint: set AGENTKIT_BASE_URL (and AGENTKIT_API_KEY), or give ChatClient(model, base_url=…, "
            'api_key=…). For a small model inside this process, with no key and no server, use Agent("local")'
        )
    if api_key is not None:
        return found, api_key
    return found, ours or (theirs if found == beside or found.startswith(_OPENAI) else _Secret())


async def _consume(response: httpx.Response, take: Callable[[bytes], bool]) -> None:
    """Hand over what comes, until `take` says that it has all it needs, or the body ends.

    The rest is read for a moment, so that the connection can be used again. Generators inside generators read the body,
    and only an end or a cancellation that comes from within finishes them all; so this never leaves them half-way.
    """
    done = False
    error: Exception | None = None
    with CancelScope() as scope:
        async for received in response.aiter_bytes():
            if done:
                continue
            try:
                done = take(received)
            except Exception as raised:  # noqa: BLE001 (raised again below)
                done, error = True, raised
            if done:
                scope.deadline = current_time() + _DRAIN_SECONDS
    if error is not None:
        raise error


async def _beginning(response: httpx.Response) -> bytes:
    body = bytearray()

    def take(received: bytes) -> bool:
        body.extend(received)
        return len(body) > _ERROR_BYTES

    await _consume(response, take)
    return bytes(body[:_ERROR_BYTES])


async def _read(response: httpx.Response, assembly: Assembly, on_chunk: OnChunk | None) -> None:
    """Read a stream or a plain body; the first byte tells which it is, for endpoints send what was not asked for."""
    stream = EventStream() if "event-stream" in response.headers.get("content-type", "") else None
    body = bytearray()
    begun = False

    def take(received: bytes) -> bool:
        nonlocal begun, stream
        if not begun:
            received = received.lstrip(_BLANK)
            begun = bool(received)
            if received.startswith(_PLAIN):
                stream = None
            elif received.startswith(_FIELDS):
                stream = EventStream()
        if stream is not None:
            return _take_all(stream.feed(received), assembly, on_chunk)
        body.extend(received)
        return False

    await _consume(response, take)
    if stream is None:
        _take(bytes(body), assembly, on_chunk)
        assembly.terminated = True
    elif not assembly.terminated:
        with suppress(MalformedReply):  # an event that was cut is none
            _take_all(stream.close(), assembly, on_chunk)


def _take_all(events: list[bytes], assembly: Assembly, on_chunk: OnChunk | None) -> bool:
    return any(_take(data, assembly, on_chunk) for data in events if data.strip())


def _take(data: bytes, assembly: Assembly, on_chunk: OnChunk | None) -> bool:
    """Take one event of a stream, or a plain body, which is one that says it all; tell whether it was the last."""
    if isinstance(data, ErrorEvent):
        raise error_event(data)
    if data.strip() == b"[DONE]":
        assembly.terminated = True
        return True
    chunk = ChatChunk(_object(data))
    assembly.add(chunk)
    if on_chunk is not None:
        on_chunk(chunk)
    return False


def _object(data: bytes) -> dict[str, object]:
    try:
        found = decode_piece(data)
    except ValueError as error:
        raise MalformedReply(
            f"the endpoint sent what is not JSON ({error})", data[:2000].decode("utf-8", "replace")
        ) from error
    if not isinstance(found, dict):
        raise MalformedReply("the endpoint sent no JSON object", data[:2000].decode("utf-8", "replace"))
    said = cast("dict[str, object]", found)
    if inside := error_inside(said):
        raise inside
    return said
