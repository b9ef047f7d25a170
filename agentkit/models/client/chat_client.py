"""The client of a chat-completions endpoint."""

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from random import random
from typing import Any, NoReturn, Protocol, cast

import httpx
from anyio import CancelScope, current_effective_deadline, current_time, sleep
from anyio.lowlevel import cancel_shielded_checkpoint

from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.checks import check_number
from agentkit.core.concurrency import Limiter
from agentkit.core.errors import (
    ConnectionFailed,
    InvalidRequest,
    ModelError,
    ModelTimeout,
    ReplyTooLarge,
)
from agentkit.core.http_request import HttpRequest, masked_header
from agentkit.core.model import OnChunk
from agentkit.core.reply_limits import ReplyLimits
from agentkit.core.secrets import NOT_PICKLED, Secret, Secrets
from agentkit.models.client.address import find_endpoint, header_value, parse_address
from agentkit.models.client.connections import RequestBody, connection_pool
from agentkit.models.client.endpoint_errors import endpoint_error
from agentkit.models.client.pacing import Pacing
from agentkit.models.client.profiles import Profile, profile_of
from agentkit.models.client.reply_reader import Beginning, ReplyReader
from agentkit.models.client.retries import Retries, RetryBudget
from agentkit.models.client.timeouts import Deadlines, Timeouts

_log = logging.getLogger("agentkit")
_DRAIN_SECONDS = 0.5
_ERROR_SECONDS = 5.0
_ERROR_BYTES = 10_000
_USUAL_POOL = 100
_TOO_MANY = 429
_BYTES_PER_TOKEN = 4
_SIZES = ReplyLimits()
_TIMEOUTS = Timeouts()
_RETRIES = Retries()


class HttpClient(Protocol):
    """What a caller's own HTTP client must do; `httpx.AsyncClient` does, and what has its shape."""

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: bytes,
        headers: dict[str, str],
        timeout: tuple[float | None, float | None, float | None, float | None],
    ) -> Any:
        """Make a request; the timeouts are those to connect, to read, to write, and to get a connection."""
        ...

    async def send(self, request: Any, *, stream: bool, follow_redirects: bool) -> Any:
        """Send it and give the response, its body not read yet."""
        ...


class ChatClient:
    """A model behind `POST {base_url}/chat/completions`.

    It may be shared by any number of agents, event loops and threads. Connections are kept for the next request in the
    same event loop and closed when that ends. No redirect is followed, and neither proxies nor `.netrc` are looked for:
    give an `http` of your own where you want them.

    Args:
        model: The model's name, as the endpoint knows it.
        base_url: The address up to `/chat/completions`. Without it `AGENTKIT_BASE_URL` holds, then `OPENAI_BASE_URL`,
            then, if there is an `OPENAI_API_KEY`, OpenAI's own.
        api_key: The bearer key; `""` for none. Without it `AGENTKIT_API_KEY` holds. `OPENAI_API_KEY` holds for the
            address in `OPENAI_BASE_URL` and for OpenAI's own, and is sent nowhere else.
        timeout: Seconds for one request as a whole, or `Timeouts(…)`.
        retries: How a failed request is sent again: `Retries(…)`, or how often; 0 for never.
        reply_limits: The largest reply that is taken.
        profile: How the endpoint differs from the standard. Without it, what is known of the address holds.
        headers: More headers, such as an organisation's id.
        http: Your own `httpx.AsyncClient`, for proxies, certificates or a transport of your own. It is not closed here,
            and the timeouts are those of `timeout`, not its own.
        concurrency: How many requests may be under way at once in an event loop. With an `http` of your own it must not
            be more than its pool has connections, 100 if you did not say: requests that are cancelled in a queue for
            one can block the pool for good (https://github.com/encode/httpcore/pull/1099).
        pacing: `Pacing()` holds requests back where the endpoint's rate limits, as its headers tell them, have no room.

    Raises:
        ConfigurationError: If there is no address, or it or the key cannot be sent.
    """

    __slots__ = (
        "_headers",
        "_http",
        "_limiter",
        "_pacing",
        "_profile",
        "_reply_limits",
        "_retries",
        "_retry_budget",
        "_secrets",
        "_shown",
        "_timeouts",
        "_url",
        "base_url",
        "name",
    )

    def __init__(  # noqa: PLR0913 (what an endpoint needs)
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float | Timeouts | None = _TIMEOUTS,
        retries: Retries | int = _RETRIES,
        reply_limits: ReplyLimits = _SIZES,
        profile: Profile | None = None,
        headers: Mapping[str, str] | None = None,
        http: HttpClient | None = None,
        concurrency: int | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        headers = {name.lower(): Secret(value) for name, value in (headers or {}).items()}
        api_key = None if api_key is None else Secret(api_key)
        base_url = None if base_url is None else Secret(base_url)  # it may have a key in its query
        self.name, self.base_url = model, ""
        address, key = find_endpoint(base_url, api_key)
        self._url, self.base_url, masked, values = parse_address(address)
        self._timeouts = Timeouts.of(timeout)
        self._retries = Retries(attempts=retries + 1) if isinstance(retries, int) else retries
        self._retry_budget = RetryBudget(self._retries.budget)
        self._reply_limits = reply_limits
        self._profile = profile or profile_of(self.base_url)
        self._http = http
        self._pacing = pacing
        check_number("concurrency", concurrency, least=1, whole=True, optional=True)
        self._limiter = Limiter(concurrency or _USUAL_POOL) if concurrency or http is not None else None
        key = header_value("api_key", key)
        self._headers: dict[str, str] = {"content-type": "application/json", "accept-encoding": "identity"}
        if key:
            self._headers["authorization"] = Secret(f"Bearer {key}")
        self._headers |= {name: header_value(name, value) for name, value in headers.items()}
        given = [value.strip() for value in headers.values()]
        bare = [value.strip().rpartition(" ")[2] for name, value in headers.items() if "auth" in name]
        known = [key, *given, *bare, *values]
        self._secrets = Secrets(known)
        shown = [(name, masked_header(v) if isinstance(v, Secret) else v) for name, v in self._headers.items()]
        self._shown = masked, tuple(shown)

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

        A failure that may pass is tried again, as `Retries` says; the last one is raised.
        """
        sent = self._sent(request, on_chunk is not None)
        body = sent.encode()
        attempt = 1
        while True:
            await self._paced(len(body) // _BYTES_PER_TOKEN + (request.settings.max_tokens or 0))
            reading = ReplyReader(request, self._reply_limits, on_chunk, self.base_url)
            outcome = await self._attempt(body, reading)
            if isinstance(outcome, ChatResponse):
                self._retry_budget.give_back(attempt - 1)
                object.__setattr__(outcome, "sent", sent)  # nobody else has it yet, and `replace` takes a while
                return outcome
            outcome.attempts, outcome.sent = attempt, sent
            delay = None if reading.told else self._retries.delay(outcome, attempt, random())  # noqa: S311 (no secret)
            if delay is None or current_time() + delay > current_effective_deadline() or not self._retry_budget.take():
                try:
                    raise outcome
                finally:  # the error leads to this frame, which would hold it in turn, and all that had come
                    del outcome, reading
            attempt += 1
            _log.info("%s; asking again in %.2f s, attempt %d", outcome, delay, attempt)
            await sleep(delay)

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Show what would be sent for a request; see `Sends.sends`. An `http` of your own may add headers to it.

        Raises:
            InvalidRequest: If the endpoint would refuse it, as its profile says.
        """
        sent = self._sent(request, streamed)
        sent.encode()  # what cannot be sent is told at once
        return sent

    def _sent(self, request: ChatRequest, stream: bool) -> HttpRequest:  # noqa: FBT001 (not for callers)
        """Give what is sent for a request. The body is made when it is asked for, and is the same each time."""
        url, headers = self._shown
        profile, name, origin = self._profile, self.name, self.base_url
        return HttpRequest(url, headers, lambda: profile.encode(request, name, origin, stream=stream))

    async def _attempt(self, body: bytes, reading: ReplyReader) -> ChatResponse | ModelError:
        """Send once.

        What failed is made into an error outside of the handlers, so that it leads to no frame of the HTTP library,
        where the key stands in the clear.
        """
        deadlines = Deadlines(self._timeouts)
        raised: Exception | None = None
        try:
            async with self._turn():
                with deadlines:
                    raised = await self._exchange(body, reading, deadlines)
        except Exception as error:  # noqa: BLE001 (made into one of ours, or raised again)
            raised = None if reading.done else self._failure(error)
        except BaseException as stopped:  # noqa: BLE001 (raised again)
            # A cancellation goes on as what it is; but it is often the context of another error, such as a timeout's.
            stopped.__context__ = None
            raise stopped.with_traceback(None) from None
        if deadlines.passed and not reading.done:
            raised = deadlines.error(self.base_url)
        if raised is None:
            try:
                return reading.end()
            except Exception as error:  # noqa: BLE001 (raised again if it is no failure of the endpoint's)
                raised = error
        if isinstance(raised, MemoryError):
            raised = ReplyTooLarge("the reply needs more memory than there is, and was dropped", "memory", 0)
        if not isinstance(raised, ModelError):
            raise raised
        raised.text, raised.calls = raised.text or reading.assembly.text, raised.calls or reading.assembly.calls
        return self._secrets.taken_from(raised)

    def _turn(self) -> AbstractAsyncContextManager[object]:
        return nullcontext() if self._limiter is None else self._limiter.here()

    async def _exchange(self, body: bytes, reading: ReplyReader, deadlines: Deadlines) -> ModelError | None:
        """Send, and read the reply; give the endpoint's error if it answers with one."""
        sent = time.monotonic()
        response = await self._send(body)
        try:
            if self._pacing is not None:
                refused = response.status_code == _TOO_MANY
                self._pacing.learn(response.headers, time.monotonic(), time.time(), sent=sent, refused=refused)
            if not response.is_success:
                said = await _beginning(response)
                url = f"{self.base_url}/chat/completions"
                return endpoint_error(response.status_code, response.headers, said, url, time.time())
            await _consume(response, reading, deadlines)
        finally:
            await response.aclose()
        return None

    async def _paced(self, tokens: int) -> None:
        """Wait until the endpoint's limits have room; that is no time of the request's."""
        if self._pacing is None:
            return
        delay = self._pacing.reserve(tokens, time.monotonic())
        if delay > 0:
            try:
                await sleep(delay)
            except BaseException:
                self._pacing.give_back(tokens)
                raise

    async def _send(self, body: bytes) -> httpx.Response:
        if self._http is not None:
            timeouts = (self._timeouts.connect, None, None, None)
            request = self._http.build_request(
                "POST", str(self._url), content=body, headers=dict(self._headers), timeout=timeouts
            )
            sent = await self._http.send(request, stream=True, follow_redirects=False)
            return cast("httpx.Response", sent)
        timeout = {"connect": self._timeouts.connect, "read": None, "write": None, "pool": None}
        headers = {"host": self._url.netloc.decode(), **self._headers, "content-length": str(len(body))}
        request = httpx.Request(
            "POST", self._url, headers=headers, stream=RequestBody(body), extensions={"timeout": timeout}
        )
        return await (await connection_pool()).handle_async_request(request)

    def _failure(self, error: Exception) -> Exception:
        """Make an error of the HTTP library into one of ours. It is known by its name, whichever library it is."""
        kinds = {each.__name__ for each in type(error).__mro__}
        said = f"{self.base_url}: {str(error) or type(error).__name__}"
        if kinds & {"LocalProtocolError", "UnsupportedProtocol", "InvalidURL"}:
            return InvalidRequest(self._secrets.shown(f"{said}; nothing was sent"))
        if kinds & {"ConnectTimeout", "PoolTimeout"}:
            return ModelTimeout(said, self._timeouts.connect or 0, "connect")
        if kinds & {"TimeoutException", "TimeoutError"}:
            return ModelTimeout(said, self._timeouts.total or 0, "idle")
        if self._http is None or kinds & {"HTTPError", "StreamError", "OSError", "BrokenResourceError"}:
            return ConnectionFailed(said)
        return error


def _opened(response: httpx.Response) -> tuple[Mapping[str, str], AsyncIterator[bytes]]:
    """Give the headers and the body. One that was read before, as a mock has it, is unpacked."""
    if not response.is_stream_consumed:
        return response.headers, response.aiter_raw()
    headers = {name: value for name, value in response.headers.items() if name != "content-encoding"}
    return headers, response.aiter_bytes()


async def _consume(response: httpx.Response, reading: ReplyReader, deadlines: Deadlines) -> None:
    """Hand over what comes, until the reading has all it needs, or the body ends.

    The rest is read for a moment, so that the connection can be used again. Generators inside generators read the body,
    and only an end or a cancellation that comes from within finishes them all; so this never leaves them half-way.
    """
    heard = 0
    headers, pieces = _opened(response)
    with CancelScope() as scope:
        reading.begin(headers)
        if reading.done:
            scope.deadline = _leaving(reading)
        async for received in pieces:
            for number, done in enumerate(reading.take(received)):
                if done:
                    scope.deadline = min(scope.deadline, _leaving(reading))
                elif reading.data != heard:
                    heard = reading.data
                    deadlines.begin("idle")
                if number and await _left():
                    break


def _leaving(reading: ReplyReader) -> float:
    """Say when to stop reading what is of no use but for the connection; after a bad end, neither is that."""
    return current_time() + (_DRAIN_SECONDS if reading.raised is None else 0)


async def _left() -> bool:
    """Let others run, and tell whether this is to stop, which it does where it next waits."""
    await cancel_shielded_checkpoint()
    return current_effective_deadline() <= current_time()


async def _beginning(response: httpx.Response) -> bytes:
    """Read the beginning of an error's body, for a few seconds at most."""
    headers, pieces = _opened(response)
    text = Beginning(headers, _ERROR_BYTES)
    # Where it breaks off, what came is enough: the status is known.
    with suppress(Exception), CancelScope(deadline=current_time() + _ERROR_SECONDS) as scope:
        async for received in pieces:
            if text.take(received):
                scope.deadline = min(scope.deadline, current_time() + _DRAIN_SECONDS)
    return text.body
