"""Models in this process, for tests: one that plays a script, and one that is a function."""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from inspect import isawaitable
from threading import Lock
from typing import Any, TypeAlias, cast

from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice
from agentkit.core.errors import AgentkitError, ConfigurationError, ConnectionFailed, ModelError, ModelTimeout
from agentkit.core.json import decode, object_of
from agentkit.core.messages import AssistantMessage, Usage
from agentkit.core.model import OnChunk
from agentkit.core.reply_limits import ReplyLimits
from agentkit.models.client.endpoint_errors import endpoint_error
from agentkit.models.client.reply_reader import ReplyReader
from agentkit.testing.replies import Raw, Reply, answer

_SIZES = ReplyLimits()
_USAGE = Usage(1, 10, 5)
_SHOWN = 100
_SUCCESS = range(200, 300)

Spoken: TypeAlias = str | AssistantMessage | ChatResponse | Reply | Exception
"""What a model in this process may reply: a text; what `chaos` plays, such as `calling(…)`, `status(429)` or `cut(…)`;
a message or a whole reply as it is; or an exception, which is raised."""

Play: TypeAlias = Spoken | Callable[[ChatRequest], Spoken | Awaitable[Spoken]]
"""The same, or a function, async or not, that makes it from the request."""


class UnexpectedRequest(AgentkitError):
    """A model was asked what the test has no reply for; the text says what, and the way out."""


class Scripted:
    """A model that plays a script: each request takes the next reply.

    The replies are those of the fake endpoint, `chaos`, and are read by the code that reads an endpoint's. So a reply
    is streamed if the request asks for that, `status(429)` is `RateLimited`, and a reply that is `cut` is the error
    that it would be. Nothing is sent again: that is what a client does.

    Args:
        replies: The replies, in order.
        repeat: Whether the last is played again and again. Without it, one request more is an error.
        name: The model's name.

    Attributes:
        name: The model's name.
        replies: The replies.
        requests: What it was asked, in order. With `requests.clear()` the script begins anew.
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
        """Play the next reply; see `Model.complete`.

        Raises:
            UnexpectedRequest: If there is none.
        """
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
        if number <= len(self.replies):
            return await _played(self.replies[number - 1], request, on_chunk, self.name)
        if self._repeat and self.replies:
            return await _played(self.replies[-1], request, on_chunk, self.name)
        raise UnexpectedRequest(
            f"{self.name} was asked {number} times and has {_counted(len(self.replies))}; it was asked after "
            f"{_last(request)}. Give it one more reply, or repeat=True if the last is to be played again"
        )

    def assert_complete(self) -> None:
        """Assert that the script was played to its end, and nothing more was asked.

        Raises:
            AssertionError: If it was not.
        """
        asked, given = len(self.requests), len(self.replies)
        if asked < given:
            left = ", ".join(repr(each) for each in self.replies[asked:])
            raise AssertionError(f"{self.name} has {_counted(given)} and was asked {asked} times; not played: {left}")
        if asked > given and not self._repeat:
            raise AssertionError(f"{self.name} has {_counted(given)} and was asked {asked} times")


class FunctionModel:
    """A model that is a function from the request to the reply.

    Args:
        function: The function, async or not. It gives a text, `calling(…)`, or anything else that `Scripted` plays.
        name: The model's name; without it the function's.

    Attributes:
        name: The model's name.
        requests: What it was asked, in order.
    """

    def __init__(self, function: Callable[[ChatRequest], Spoken | Awaitable[Spoken]], name: str = "") -> None:
        self.name: str = name or getattr(function, "__name__", type(function).__name__)
        self.requests: list[ChatRequest] = []
        self._function = function

    def __repr__(self) -> str:
        return f"FunctionModel({self.name})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer with what the function gives; see `Model.complete`."""
        self.requests.append(request)
        return await _played(self._function, request, on_chunk, self.name)


def whole_chunk(reply: ChatResponse) -> ChatChunk:
    """Give the one chunk that says all of a reply, as a plain body does."""
    choices = [
        {"index": at, "delta": _delta(each.message), "finish_reason": each.finish_reason}
        for at, each in enumerate(reply.choices)
    ]
    return ChatChunk({"choices": choices})


def _delta(message: AssistantMessage) -> dict[str, object]:
    calls = [
        {"index": at, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for at, call in enumerate(message.tool_calls)
    ]
    return object_of(decode(message.encoded)) | ({"tool_calls": calls} if calls else {})


async def _played(play: Play, request: ChatRequest, on_chunk: OnChunk | None, name: str) -> ChatResponse:
    if isinstance(play, str):
        play = answer(play)
    if isinstance(play, Exception):
        raise play
    if isinstance(play, AssistantMessage):
        play = ChatResponse((Choice(play, "tool_calls" if play.tool_calls else "stop"),), _USAGE)
    if isinstance(play, ChatResponse):
        if on_chunk is not None:
            on_chunk(whole_chunk(play))
        return play
    if hasattr(play, "raw"):
        asked = object_of(decode(request.encode(name, stream=on_chunk is not None)))
        return _read(cast("Reply", play).raw(asked), request, on_chunk, name)
    if not callable(play):
        raise ConfigurationError(f"{play!r} is no reply; give a text, answer(…), calling(…), or a function that does")
    made = play(request)
    return await _played(await made if isawaitable(made) else made, request, on_chunk, name)


def _read(raw: Raw, request: ChatRequest, on_chunk: OnChunk | None, name: str) -> ChatResponse:
    """Read a reply as a client does."""
    headers = {key.lower(): value for key, value in raw.headers.items()}
    if raw.status is not None and raw.status not in _SUCCESS:
        raise endpoint_error(raw.status, headers, b"".join(_writes(raw)), name, time.time())
    reading = ReplyReader(request, _SIZES, on_chunk)
    try:
        reading.begin(headers)
        for each in _writes(raw):
            deque(reading.feed(each), 0)
        if raw.then != "end" and not reading.done:
            raise _broken(raw, name)
        return reading.end()
    except ModelError as error:
        error.text, error.calls = error.text or reading.assembly.text, error.calls or reading.assembly.calls
        raise
    finally:
        del reading  # an error leads to this frame, which would hold all that had come


def _writes(raw: Raw) -> Iterator[bytes]:
    for each in raw.writes:
        if isinstance(each, bytes):
            yield each
        elif each.times is not None:
            yield each.data * each.times
        else:
            raise ConfigurationError(
                "what has no end needs the endpoint, chaos(…): a model in this process waits for it"
            )


def _broken(raw: Raw, name: str) -> ModelError:
    if raw.then == "stall":
        return ModelTimeout(f"{name} said nothing more", 0, "idle" if raw.writes else "first_byte")
    return ConnectionFailed(f"{name}: the connection broke")


def _counted(replies: int) -> str:
    return f"{replies} {'reply' if replies == 1 else 'replies'}"


def _last(request: ChatRequest) -> str:
    """Show the last message of a request."""
    if not request.messages:
        return "nothing"
    message: Mapping[str, Any] = request.messages[-1].to_dict()
    text = " ".join(str(message["content"]).split())
    return f"{message['role']}: {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"
