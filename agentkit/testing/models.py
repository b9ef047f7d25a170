"""Models in this process, for tests: one that plays a script, and one that is a function."""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from threading import Lock
from typing import Any, TypeAlias, cast

from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice
from agentkit.core.errors import AgentkitError, ConfigurationError, ConnectionFailed, ModelError, ModelTimeout
from agentkit.core.json import decode, excerpt, object_of
from agentkit.core.messages import AssistantMessage, Usage
from agentkit.core.model import OnChunk
from agentkit.core.printable import LINES
from agentkit.core.reply_limits import ReplyLimits
from agentkit.models.client.endpoint_errors import endpoint_error
from agentkit.models.client.reply_reader import ReplyReader
from agentkit.testing.replies import Raw, Repeat, Reply, answer, pieces, wire_call

_SUCCESS = range(200, 300)

Spoken: TypeAlias = str | AssistantMessage | ChatResponse | Reply | Exception
"""A reply of a model in this process: a text; a reply of `chaos`, such as `calling(…)`, `status(429)` or `cut(…)`; a
message; a `ChatResponse`; or an exception, which is raised."""

Play: TypeAlias = Spoken | Callable[[ChatRequest], Spoken | Awaitable[Spoken]]
"""A reply, or a function, async or not, that makes it from the request."""


class UnexpectedRequest(AgentkitError):
    """A model got a request that the test has no reply for; the text says what to do."""

    _keep = LINES  # of the diff


class Scripted:
    """A model that plays a script: each request takes the next reply.

    The replies are those of the fake endpoint `chaos`, and the client's code reads them: a reply is streamed if the
    request asks for it, `status(429)` raises `RateLimited`, and a `cut` reply raises the client's error. There are no
    retries; those are the client's.

        Scripted(calling(("get_weather", {"city": "Paris"})), "It rains.")

    Args:
        replies: The replies, in order.
        repeat: Whether to repeat the last reply. If not, one more request raises an error.
        name: The model's name.

    Attributes:
        name: The model's name.
        replies: The replies.
        requests: The requests, in order. `requests.clear()` restarts the script.
    """

    def __init__(self, *replies: Play, repeat: bool = False, name: str = "scripted") -> None:
        self.name = name
        self.replies = replies
        self.requests: list[ChatRequest] = []
        self._repeat = repeat
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Scripted({', '.join(map(repr, self.replies))})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Return or raise the next reply; see `Model.complete`.

        Raises:
            UnexpectedRequest: If no reply is left.
        """
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
        place = min(number, len(self.replies)) if self._repeat else number
        if 1 <= place <= len(self.replies):
            return await _played(self.replies[place - 1], request, on_chunk, self.name)
        raise UnexpectedRequest(
            f"request {number} to {self.name}, which has {len(self.replies)} replies. Its last message is "
            f"{_last_message(request)}. Add a reply, or repeat the last one with repeat=True"
        )

    def assert_complete(self) -> None:
        """Assert that there was one request per reply.

        Raises:
            AssertionError: If replies are left, or there were too many requests.
        """
        left = ", ".join(map(repr, self.replies[len(self.requests) :]))
        if left or (len(self.requests) > len(self.replies) and not self._repeat):
            counts = f"{self.name} has {len(self.replies)} replies and got {len(self.requests)} requests"
            raise AssertionError(f"{counts}; unused: {left}" if left else counts)


class FunctionModel:
    """A model that is a function from the request to the reply.

    Args:
        function: The function, async or not. It returns a text, `calling(…)`, or another reply of `Scripted`.
        name: The model's name; by default, the function's.

    Attributes:
        name: The model's name.
        requests: The requests, in order.
    """

    def __init__(self, function: Callable[[ChatRequest], Spoken | Awaitable[Spoken]], name: str = "") -> None:
        self.name: str = name or getattr(function, "__name__", type(function).__name__)
        self.requests: list[ChatRequest] = []
        self._function = function

    def __repr__(self) -> str:
        return f"FunctionModel({self.name})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Return or raise what the function returns; see `Model.complete`."""
        self.requests.append(request)
        return await _played(self._function, request, on_chunk, self.name)


def whole_chunk(reply: ChatResponse) -> ChatChunk:
    """Return a whole reply as one chunk."""
    choices = [
        {"index": at, "delta": _delta(choice.message), "finish_reason": choice.finish_reason}
        for at, choice in enumerate(reply.choices)
    ]
    return ChatChunk({"choices": choices})


def _delta(message: AssistantMessage) -> dict[str, object]:
    encoded = object_of(decode(message.encoded))
    calls = [wire_call(call.id, call.name, call.arguments) for call in message.tool_calls]
    return encoded | {"tool_calls": [{"index": at, **call} for at, call in enumerate(calls)]} if calls else encoded


async def _played(play: Play, request: ChatRequest, on_chunk: OnChunk | None, name: str) -> ChatResponse:
    if isinstance(play, str):
        play = answer(play)
    if isinstance(play, Exception):
        raise play
    if isinstance(play, AssistantMessage):
        play = ChatResponse((Choice(play, "tool_calls" if play.tool_calls else "stop"),), Usage(1, 10, 5))
    if isinstance(play, ChatResponse):
        if on_chunk is not None:
            on_chunk(whole_chunk(play))
        return play
    if hasattr(play, "raw"):
        asked = object_of(decode(request.encode(name, stream=on_chunk is not None)))
        return _read_reply(cast("Reply", play).raw(asked), request, on_chunk, name)
    if not callable(play):
        raise ConfigurationError(f"{play!r} is not a reply; use a text, answer(…), calling(…), or a function")
    returned = play(request)
    return await _played(await returned if isawaitable(returned) else returned, request, on_chunk, name)


def _read_reply(raw: Raw, request: ChatRequest, on_chunk: OnChunk | None, name: str) -> ChatResponse:
    headers = {key.lower(): value for key, value in raw.headers.items()}
    if any(isinstance(write, Repeat) and write.times is None for write in raw.writes):
        raise ConfigurationError("a reply without end needs an endpoint, chaos(…); this model would wait for it")
    if raw.status is not None and raw.status not in _SUCCESS:
        raise endpoint_error(raw.status, headers, b"".join(pieces(raw.writes)), name, time.time())
    reader = ReplyReader(request, ReplyLimits(), on_chunk)
    try:
        reader.begin(headers)
        for write in pieces(raw.writes):
            deque(reader.feed(write), 0)
        if raw.then == "end" or reader.done:
            return reader.end()
        if raw.then == "stall":
            raise ModelTimeout(f"{name} stopped sending", 0, "idle" if raw.writes else "first_byte")
        raise ConnectionFailed(f"{name}: the connection broke")
    except ModelError as error:
        error.text, error.calls = error.text or reader.assembly.text, error.calls or reader.assembly.calls
        raise
    finally:
        del reader  # the traceback of an error keeps this frame alive, and with it the whole reply


def _last_message(request: ChatRequest) -> str:
    if not request.messages:
        return "nothing"
    message: Mapping[str, Any] = request.messages[-1].to_dict()
    return f"{message['role']}: {excerpt(message['content'])}"
