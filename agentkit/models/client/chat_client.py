"""The client of a chat-completions endpoint.

`complete` is the retry loop. `_attempt` sends one request and turns whatever goes wrong into one of agentkit's errors.
`_exchange` is the HTTP exchange, and `_read_reply` feeds the body to a `ReplyReader`. Errors are built outside of the
exception handlers, so that none leads to a frame of the connection, where the key is in clear text.
"""

import logging
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from random import random
from typing import Any, NoReturn, Protocol

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from agentkit.core.chat import ChatRequest, ChatResponse, Retried
from agentkit.core.checks import check_number
from agentkit.core.concurrency import Limiter
from agentkit.core.errors import (
    ConfigurationError,
    ConnectionFailed,
    InvalidRequest,
    ModelError,
    ModelTimeout,
    ReplyTooLarge,
)
from agentkit.core.http_request import HttpRequest, masked_header
from agentkit.core.messages import Usage
from agentkit.core.model import OnChunk, restart
from agentkit.core.reply_limits import ReplyLimits
from agentkit.core.secrets import NOT_PICKLED, Secret, Secrets
from agentkit.models.client.address import find_endpoint, header_value, parse_address
from agentkit.models.client.connections import connection_pool
from agentkit.models.client.endpoint_errors import endpoint_error
from agentkit.models.client.http1 import request_bytes, request_head
from agentkit.models.client.pacing import Pacing
from agentkit.models.client.profile import Profile, RequestBody
from agentkit.models.client.profiles import profile_of
from agentkit.models.client.providers import provided_endpoint
from agentkit.models.client.reply_reader import BYTES_PER_TOKEN, ErrorBodyReader, ReplyReader
from agentkit.models.client.retries import Retries, RetryBudget
from agentkit.models.client.timeouts import Deadlines, Timeouts

_log = logging.getLogger("agentkit")
_DRAIN_SECONDS = 0.5
_ERROR_SECONDS = 5.0
_ERROR_BYTES = 10_000
_HTTPX_POOL_SIZE = 100
_TOO_MANY_REQUESTS = 429
_SUCCESS = range(200, 300)
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # OpenSSL's words for bytes that are not TLS
_NO_HTTP = ("the response is malformed", "without a response")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_NOBODY = ("connection attempts failed", "Name or service not known", "nodename nor servname")
_NO_LIMITER = nullcontext()
_REPLY_LIMITS = ReplyLimits()
_TIMEOUTS = Timeouts()
_RETRIES = Retries()


class HttpClient(Protocol):
    """What your own HTTP client must have: `httpx.AsyncClient`, or anything of its shape."""

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: bytes,
        headers: dict[str, str],
        timeout: tuple[float | None, float | None, float | None, float | None],
    ) -> Any:
        """Build a request. The timeouts are: to connect, to read, to write, and to get a connection."""
        ...

    async def send(self, request: Any, *, stream: bool, follow_redirects: bool) -> Any:
        """Send it, and return the response with its body not read yet."""
        ...


class ChatClient:
    """A model behind `POST {base_url}/chat/completions`.

        model = ChatClient("gpt-4o-mini", timeout=30, retries=2)
        agent = Agent(model, tools=[get_weather])

    Any number of agents, event loops and threads may share it. Connections are pooled per event loop and closed when it
    ends. Redirects are not followed, and `.netrc` is not used; proxies are with `trust_env=True`.

    Args:
        model: The model's name, as the endpoint knows it.
        provider: The name of a provider, such as `"groq"`, whose address and key are known; see `providers`.
        base_url: The URL up to `/chat/completions`. The default is `AGENTKIT_BASE_URL`, then `OPENAI_BASE_URL`, then
            OpenAI's own URL if `OPENAI_API_KEY` is set.
        api_key: The bearer key; `""` for none. The default is `AGENTKIT_API_KEY`. `OPENAI_API_KEY` is used for the
            address in `OPENAI_BASE_URL` and for OpenAI's own, and is sent nowhere else.
        timeout: Seconds for one request as a whole, or `Timeouts(…)`.
        retries: How transient failures are retried: `Retries(…)`, or how often; 0 for never.
        reply_limits: The largest reply to accept.
        profile: How the endpoint deviates from the protocol. The default depends on the address.
        headers: Additional headers, such as an organisation's id.
        trust_env: Whether to use the proxies in `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as httpx does.
        http: Your own `httpx.AsyncClient`, for certificates or a transport of your own. It is not closed here, and the
            timeouts are those of `timeout`, not its own.
        concurrency: The most concurrent requests per event loop. With `trust_env` or an `http` of your own, it must not
            exceed the size of the pool, and defaults to 100: requests that are cancelled while they wait for a
            connection can block that pool for good (https://github.com/encode/httpcore/pull/1099).
        pacing: `Pacing()` holds requests back while the endpoint's rate limits, as its headers state them, are used up.

    Raises:
        ConfigurationError: If there is no address, if it or the key cannot be sent, or with both `trust_env` and
            `http`.
    """

    def __init__(  # noqa: PLR0913 (what an endpoint needs)
        self,
        model: str,
        *,
        provider: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float | Timeouts | None = _TIMEOUTS,
        retries: Retries | int = _RETRIES,
        reply_limits: ReplyLimits = _REPLY_LIMITS,
        profile: Profile | None = None,
        headers: Mapping[str, str] | None = None,
        trust_env: bool = False,
        http: HttpClient | None = None,
        concurrency: int | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        # As secrets, they do not show in the traceback of an error that is raised below.
        headers = {name.lower(): Secret(value) for name, value in (headers or {}).items()}
        api_key = None if api_key is None else Secret(api_key)
        base_url = None if base_url is None else Secret(base_url)
        self.name, self.base_url = model, ""
        find = find_endpoint if provider is None else partial(provided_endpoint, provider)
        address, key = find(base_url, api_key)
        self._address = parse_address(address)
        self.base_url = self._address.base
        self._timeouts = Timeouts.of(timeout)
        self._retries = Retries(attempts=retries + 1) if isinstance(retries, int) else retries
        self._retry_budget = RetryBudget(self._retries.budget)
        self._reply_limits = reply_limits
        self._profile = profile or profile_of(self.base_url)
        if trust_env and http is not None:
            raise ConfigurationError(
                "trust_env=True and http=… exclude each other: httpx.AsyncClient() uses the proxies, too"
            )
        self._http, self._trusts_env = http, trust_env
        self._pacing = pacing
        check_number("concurrency", concurrency, least=1, whole=True, optional=True)
        self._limiter = Limiter(concurrency or _HTTPX_POOL_SIZE) if concurrency or trust_env or http else None
        key = header_value("api_key", key)
        if key.lower().startswith("bearer "):
            raise ConfigurationError("api_key is the key alone; `Bearer` is put before it when it is sent")
        self._headers: dict[str, str] = {"content-type": "application/json", "accept-encoding": "identity"}
        if key:
            self._headers["authorization"] = Secret(f"Bearer {key}")
        self._headers |= {name: header_value(name, value) for name, value in headers.items()}
        tokens = [value.strip().rpartition(" ")[2] for name, value in headers.items() if "auth" in name]
        self._secrets = Secrets([key, *[value.strip() for value in headers.values()], *tokens, *self._address.secrets])
        shown = [(name, masked_header(v) if isinstance(v, Secret) else v) for name, v in self._headers.items()]
        self._shown = self._address.masked, tuple(shown)
        self._head: Secret | None = None  # of every request, once there is one

    def __repr__(self) -> str:
        return f"ChatClient({self.name!r}, base_url={self.base_url!r})"

    def __copy__(self) -> "ChatClient":
        return self

    def __deepcopy__(self, memo: object) -> "ChatClient":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(NOT_PICKLED)

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Send a request and read the whole reply; see `Model.complete`.

        Transient failures are retried, as `Retries` says; the last one is raised.
        """
        sent = self._preview(request, stream=on_chunk is not None)
        body = self._profile.pieces(request, self.name, self.base_url, stream=on_chunk is not None)
        attempt, lost, tokens = 1, Usage(), sum(map(len, body)) // BYTES_PER_TOKEN
        retried: list[Retried] = []
        began = time.monotonic()
        while True:
            if self._pacing is not None:
                await _wait_for(self._pacing, tokens + (request.settings.max_tokens or 0))
            reader = ReplyReader(
                request, self._reply_limits, on_chunk, self.base_url, think_tags=self._profile.think_tags
            )
            outcome = await self._attempt(body, reader, sent)
            if isinstance(outcome, ChatResponse):
                self._retry_budget.give_back(attempt - 1)
                return replace(outcome.with_lost(lost), retried=tuple(retried)) if retried else outcome
            lost += reader.spent(tokens)
            outcome.attempts, outcome.sent, outcome.usage = attempt, sent, lost if lost.requests else None
            delay = self._retries.delay(outcome, attempt, random())  # noqa: S311 (jitter)
            if (
                delay is None
                or (reader.streamed and not restart(on_chunk))
                or anyio.current_time() + delay > anyio.current_effective_deadline()
                or not self._retry_budget.take()
            ):
                try:
                    raise outcome
                finally:  # the error refers to this frame, which would keep the error and the whole reply alive
                    del outcome, reader
            attempt += 1
            failure = f"{type(outcome).__name__}: {outcome}"
            retried.append(Retried(failure, round(time.monotonic() - began, 4), round(delay, 4)))
            _log.info("%s; retrying in %.2f s, attempt %d", outcome, delay, attempt)
            await anyio.sleep(delay)

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Return what would be sent for a request; see `Sends.sends`. An `http` of your own may add headers.

        Raises:
            InvalidRequest: If the endpoint would refuse it, as its profile says.
        """
        sent = self._preview(request, stream=streamed)
        sent.encode()  # raises for what cannot be sent
        return sent

    def _preview(self, request: ChatRequest, *, stream: bool) -> HttpRequest:
        """Return the request with its secrets masked; its body is made on demand."""
        return HttpRequest(*self._shown, RequestBody(self._profile, request, self.name, self.base_url, stream=stream))

    async def _attempt(
        self, body: Sequence[bytes], reader: ReplyReader, sent: HttpRequest
    ) -> ChatResponse | ModelError:
        """Send one request, and return the reply or the error."""
        deadlines = Deadlines(self._timeouts)
        raised: Exception | None = None
        try:
            async with _NO_LIMITER if self._limiter is None else self._limiter.here():
                with deadlines:
                    raised = await self._exchange(body, reader, deadlines)
        except Exception as error:  # noqa: BLE001 (converted, or raised again)
            raised = None if reader.is_whole() else self._converted(error)
        except BaseException as cancellation:  # noqa: BLE001 (raised again)
            # It often becomes the context of another error, such as a timeout's, so it must not refer to frames either.
            cancellation.__context__ = None
            raise cancellation.with_traceback(None) from None
        if deadlines.passed and not reader.is_whole():
            raised = deadlines.error(self.base_url)
        if raised is None:
            try:
                return reader.end(sent)
            except Exception as error:  # noqa: BLE001 (raised again unless it is a failure of the endpoint)
                raised = error
        if isinstance(raised, MemoryError):
            raised = ReplyTooLarge("the reply needs more memory than there is, and was dropped", "memory", 0)
        if not isinstance(raised, ModelError):
            raise raised
        raised.text, raised.calls = raised.text or reader.assembly.text, raised.calls or reader.assembly.calls
        return self._secrets.taken_from(raised)

    async def _exchange(self, body: Sequence[bytes], reader: ReplyReader, deadlines: Deadlines) -> ModelError | None:
        """Send the request and read the reply; return the endpoint's error if it answers with one."""
        sent = time.monotonic()
        response = await self._send(body)
        try:
            if self._pacing is not None:
                refused = response.status_code == _TOO_MANY_REQUESTS
                self._pacing.learn(response.headers, time.monotonic(), time.time(), sent=sent, refused=refused)
            if response.status_code not in _SUCCESS:
                error_body = await _read_error_body(response)
                url = f"{self.base_url}/chat/completions"
                return endpoint_error(
                    response.status_code, response.headers, error_body, url, time.time(), forced=reader.forced
                )
            await _read_reply(response, reader, deadlines)
        finally:
            await response.aclose()
        return None

    async def _send(self, body: Sequence[bytes]) -> Any:
        """Send the request and return the response: one of httpx, or of this shape."""
        connect_seconds = self._timeouts.connect
        if self._http is not None or self._trusts_env:
            from agentkit.models.client.callers_http import send  # noqa: PLC0415 (it imports httpx)

            url, headers = str(self._address.url), dict(self._headers)
            return await send(self._http, url, headers, b"".join(body), connect_seconds)
        if self._head is None:
            head = request_head(self._address.target, {"host": self._address.host, **self._headers})
            self._head = Secret(head)  # it has the key
        request = request_bytes(self._head, body)
        return await (await connection_pool()).send(self._address.origin, request, connect_seconds)

    def _converted(self, error: Exception) -> Exception:
        """Return agentkit's error for one of the HTTP library, whichever library it is: class names decide."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        text = f"{self.base_url}: {str(error) or type(error).__name__}"
        if any(sign in text for sign in _NO_TLS):
            text += "; the server there does not speak TLS: if that is right, begin the base URL with http://"
        elif any(sign in text for sign in _NO_HTTP) and self._address.origin.scheme == "http":
            text += "; if the server there speaks TLS, begin the base URL with https://"
        if kinds & {"LocalProtocolError", "UnsupportedProtocol", "InvalidURL"}:
            return InvalidRequest(self._secrets.shown(f"{text}; nothing was sent"))
        if kinds & {"ConnectTimeout", "PoolTimeout"}:
            return ModelTimeout(text, self._timeouts.connect or 0, "connect")
        if kinds & {"TimeoutException", "TimeoutError"}:
            return ModelTimeout(text, self._timeouts.total or 0, "idle")
        if any(sign in text for sign in _NOBODY):
            text += "; nothing answers there: start the server, or correct base_url"
        if self._http is None and (proxies := [name for name in _PROXIES if os.environ.get(name)]):
            used = "which trust_env=True uses" if self._trusts_env else "which is used only with trust_env=True"
            text += f"; {proxies[0]} is set, {used}"
        if self._http is None or kinds & {"HTTPError", "StreamError", "OSError", "BrokenResourceError"}:
            return ConnectionFailed(text)
        return error


async def _wait_for(pacing: Pacing, tokens: int) -> None:
    """Wait until the endpoint's limits have room. This does not count toward the request's timeouts."""
    delay = pacing.reserve(tokens, time.monotonic())
    if delay > 0:
        try:
            await anyio.sleep(delay)
        except BaseException:
            pacing.give_back(tokens)
            raise


def _headers_and_body(response: Any) -> tuple[Mapping[str, str], AsyncIterator[bytes]]:
    """Return the headers and the body's bytes. A body that was read before, as a mock's is, is decompressed already."""
    if not response.is_stream_consumed:
        return response.headers, response.aiter_raw()
    headers = {name: value for name, value in response.headers.items() if name != "content-encoding"}
    return headers, response.aiter_bytes()


async def _read_reply(response: Any, reader: ReplyReader, deadlines: Deadlines) -> None:
    """Feed the reader until the reply or the body ends.

    What follows a reply is read for a moment, so that the connection can be used again. A body of httpx's is read by
    nested generators, and only an end or a cancellation from within finishes them all. So this never leaves them early.
    """
    data_before = 0
    expired = False
    headers, pieces = _headers_and_body(response)
    reader.begin(headers)
    while not reader.done:
        received = await anext(pieces, None)
        if expired:  # the reader gets nothing more; the cancellation comes as soon as an await has to wait
            if received is None:
                await anyio.sleep_forever()
            continue
        if received is None:
            return
        expired = await _feed(reader, received)
        if reader.data != data_before and not response.is_closed and not expired:
            data_before = reader.data
            deadlines.begin("usage" if reader.finished else "idle")
    if not response.is_closed:
        with anyio.move_on_after(_DRAIN_SECONDS if reader.raised is None else 0):
            async for _ in pieces:
                pass


async def _feed(reader: ReplyReader, received: bytes) -> bool:
    """Feed the reader, and return whether the time was over before its end: then what is left is lost."""
    for number, _ in enumerate(reader.feed(received)):
        if number:
            await cancel_shielded_checkpoint()
            if anyio.current_effective_deadline() <= anyio.current_time():
                return True
    return False


async def _read_error_body(response: Any) -> bytes:
    """Read the beginning of an error's body, for a few seconds at most."""
    headers, pieces = _headers_and_body(response)
    reader = ErrorBodyReader(headers, _ERROR_BYTES)
    # If the body breaks off, what was received is enough: the status is known.
    with suppress(Exception), anyio.CancelScope(deadline=anyio.current_time() + _ERROR_SECONDS) as scope:
        async for received in pieces:
            if reader.feed(received):
                scope.deadline = min(scope.deadline, anyio.current_time() + _DRAIN_SECONDS)
    return reader.body
