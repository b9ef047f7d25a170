"""A request, its reply, and the chunks of a streamed reply.

Tools and settings are encoded when they are made, as messages are, so a request body is a join of bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, TypeAlias, cast

from agentkit.core.blocks import joined
from agentkit.core.checks import check_number
from agentkit.core.choice import AUTO, ToolChoice, Values
from agentkit.core.errors import ConfigurationError, InvalidRequest
from agentkit.core.http_request import HttpRequest
from agentkit.core.json import encode, list_of, object_of, whole
from agentkit.core.messages import AssistantMessage, Message, Usage
from agentkit.core.reasoning import reasoning_of
from agentkit.core.value_limits import limit_values

FINAL_ANSWER = "final_answer"
"""The name of the tool that takes a typed answer."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it.

    Attributes:
        name: The name under which the model calls it.
        description: What it does and when to use it.
        parameters: The JSON schema of its arguments, an object.
        strict: Whether the endpoint is asked to enforce the schema.
    """

    name: str
    description: str
    parameters: Mapping[str, object] = field(hash=False)
    strict: bool = False
    encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoded", encode(self.to_dict()))

    def to_dict(self) -> dict[str, object]:
        """Return the tool as the wire has it."""
        function: dict[str, object] = {"name": self.name}
        if self.description:
            function["description"] = self.description
        function["parameters"] = self.parameters
        if self.strict:
            function["strict"] = True
        return {"type": "function", "function": function}

    def limited(self, values: Sequence[Values]) -> "ToolSpec":
        """Return the tool with the values of its parameters as `enum`; the tool itself if none is about it.

        cancel.limited([Values("cancel", "order", ("A1", "B2"))])
        """
        parameters = self.parameters
        for _, parameter, allowed in [limit for limit in values if limit.tool == self.name]:
            parameters = limit_values(parameters, parameter, allowed)
        return self if parameters is self.parameters else replace(self, parameters=parameters)


_RANGES = {"temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}
_WHOLE = {"max_tokens": None, "n": 128}
_STOPS = 4
_FLAG = bool | None
_KINDS = {
    "user": (str | None, "a text"),
    "seed": (int | None, "a whole number"),
    "reasoning_effort": (str | None, "a text"),
    "parallel_tool_calls": (_FLAG, "true or false"),
}
_OWN = {"model", "messages", "tools", "tool_choice", "stream", "stream_options", "response_format"}


@dataclass(frozen=True, slots=True)
class Settings:
    """How the model answers. A field that is `None` is not sent, so the endpoint's own default applies.

    Attributes:
        temperature: 0 to 2; lower is more predictable.
        top_p: 0 to 1; sample from the most likely tokens that together have this probability.
        max_tokens: The most tokens to generate.
        stop: A string, or up to 4, at which the answer ends.
        n: How many answers to generate, 1 to 128.
        presence_penalty: -2 to 2; above 0 makes new topics more likely.
        frequency_penalty: -2 to 2; above 0 makes repetition less likely.
        user: An id of your end user, for the endpoint's abuse detection.
        seed: A whole number; the same one makes the answers of some endpoints repeat.
        reasoning_effort: How much the model thinks, in the endpoint's word, such as `low`, `medium` or `high`.
        parallel_tool_calls: Whether one reply may have several calls.
        extra: Any other field of the body, sent as it is, such as `{"top_k": 40}`.

    Raises:
        InvalidRequest: If a value is out of its range; the text names the field.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: str | Sequence[str] | None = None
    n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    user: str | None = None
    seed: int | None = None
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    extra: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            check_number(name, getattr(self, name), least=least, most=most, optional=True, error=InvalidRequest)
        for name, limit in _WHOLE.items():
            value = getattr(self, name)
            check_number(name, value, least=1, most=limit, whole=True, optional=True, error=InvalidRequest)
        object.__setattr__(self, "stop", _checked_stop(self.stop))
        for name, (kind, what) in _KINDS.items():
            if not isinstance(value := getattr(self, name), kind) or (kind is not _FLAG and isinstance(value, bool)):
                raise InvalidRequest(f"{name} must be {what}, not {value!r}")
        if not isinstance(self.extra, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] (as above)
            raise InvalidRequest(f"extra must be a mapping, not {self.extra!r}")
        known = {name: getattr(self, name) for name in _KNOWN}
        if clash := sorted((known.keys() | _OWN) & self.extra.keys()):
            raise InvalidRequest(f"extra has the field {clash[0]!r}, which is set elsewhere; take it out of extra")
        body = {name: value for name, value in known.items() if value is not None} | dict(self.extra)
        try:
            object.__setattr__(self, "encoded", encode(body)[1:-1])
        except ValueError as error:
            raise InvalidRequest(f"extra has a value with no JSON form: {error}") from error

    def merged(self, own: "Settings") -> "Settings":
        """Return these settings with the fields that are set in others in their place.

        >>> Settings(temperature=1, n=2).merged(Settings(temperature=0))
        Settings(temperature=0, n=2)
        """
        known = {name: value for name in _KNOWN if (value := getattr(own, name)) is not None}
        return replace(self, **known, extra={**self.extra, **own.extra})


_KNOWN = [own.name for own in fields(Settings) if own.name not in ("extra", "encoded")]


SettingsLike: TypeAlias = Settings | Mapping[str, object]
"""Settings, or a mapping of the fields of a request: `{"temperature": 0, "top_k": 40}`."""


def settings_of(settings: object) -> Settings:
    """Return the settings that a mapping means: fields that `Settings` does not have are sent as they are."""
    if isinstance(settings, Settings):
        return settings
    if not isinstance(settings, Mapping):
        raise ConfigurationError(f"settings must be Settings(temperature=…) or a mapping of fields, not {settings!r}")
    given = cast("Mapping[str, object]", settings)
    known: dict[str, Any] = {name: value for name, value in given.items() if name in _KNOWN}
    extra = {name: value for name, value in given.items() if name not in known and name != "extra"}
    return Settings(**known, extra={**object_of(given.get("extra")), **extra})


def _checked_stop(stop: object) -> str | tuple[str, ...] | None:
    if stop is None or isinstance(stop, str):
        return stop
    texts = tuple(cast("Sequence[object]", stop)) if isinstance(stop, list | tuple) else (stop,)
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(f"stop must be a text or a list of texts, not {stop!r}")
    if len(texts) > _STOPS:
        raise InvalidRequest(f"stop takes at most {_STOPS} texts, not {len(texts)}")
    return cast("tuple[str, ...]", texts)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request for a completion. The client that sends it adds the model's name and whether to stream.

    Attributes:
        messages: The conversation so far.
        tools: The tools that the model sees.
        tool_choice: What the model may do with them.
        settings: How it answers.
        response_format: A JSON schema for the answer, as the wire has it, or `None`.
        all_tools: The tools that the agent has, if the choice offers only some of them. An endpoint that knows
            `allowed_tools` gets them all, so that its prompt cache hits.
    """

    messages: Sequence[Message]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = AUTO
    settings: Settings = field(default_factory=Settings)
    response_format: Mapping[str, object] | None = field(default=None, hash=False)
    all_tools: tuple[ToolSpec, ...] = ()

    def encode(self, model: str, *, stream: bool = False) -> bytes:
        """Return the body, as UTF-8 JSON. The same request always gives the same bytes.

        Args:
            model: The name of the model.
            stream: Whether to ask for a stream.
        """
        return b"".join(self.pieces(model, stream=stream))

    def pieces(  # noqa: PLR0913 (parts that a profile may encode in another way)
        self,
        model: str,
        *,
        stream: bool = False,
        stream_usage: bool = True,
        messages: Sequence[bytes] | None = None,
        tools: Sequence[bytes] | None = None,
        tool_choice: object = None,
        settings: bytes | None = None,
    ) -> list[bytes]:
        """Return the body in pieces, which are encoded already: a copy of a long history would take most of a turn.

        Args:
            model: The name of the model.
            stream: Whether to ask for a stream.
            stream_usage: Whether to ask for the usage at the end of a stream; a few endpoints refuse the field.
            messages: The encoded messages, as `joined` returns them, if this endpoint needs other bytes.
            tools: The encoded tools, likewise, one by one.
            tool_choice: The tool choice as the wire has it, likewise.
            settings: The encoded settings, likewise: fields with commas between them.
        """
        if messages is None:
            messages = joined(self.messages, "encoded", lambda message: message.encoded)
        if settings is None:
            settings = self.settings.encoded
        head = b'{"model":' + encode(model) + b',"messages":['
        *blocks, last = messages or (b"",)
        parts = [b"]"]
        if self.tools:
            if tools is None:
                tools = [tool.encoded for tool in self.tools]
            parts += b',"tools":[', b",".join(tools), b"]"
            parts += b',"tool_choice":', encode(tool_choice or self.tool_choice.to_wire())
        if self.response_format is not None:
            parts += b',"response_format":', encode(self.response_format)
        if settings:
            parts += b",", settings
        if stream:
            parts.append(
                b',"stream":true,"stream_options":{"include_usage":true}' if stream_usage else b',"stream":true'
            )
        parts.append(b"}")
        return [head, *blocks, last, b"".join(parts)] if blocks else [b"".join([head, last, *parts])]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers in a reply.

    Attributes:
        message: What the model said.
        finish_reason: Why it stopped: `stop`, `tool_calls`, `length`, `content_filter`, an endpoint's own word, or
            `None` if the endpoint did not say.
        extra: Fields of this answer that agentkit does not know, such as `logprobs`.
    """

    message: AssistantMessage
    finish_reason: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)


class Retried(NamedTuple):
    """A request that failed and was sent again.

    Attributes:
        error: What failed: the kind of the error, and its text.
        after: The seconds from the first request to this failure.
        delay: How many seconds the client waited before the next request.
    """

    error: str
    after: float
    delay: float


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A whole reply.

    Attributes:
        choices: The answers: one, unless the request asked for more.
        usage: What the request cost, or `None` if the endpoint did not say.
        id: The endpoint's id for the reply.
        model: The model that answered, as the endpoint calls it.
        extra: Top-level fields that agentkit does not know.
        sent: The HTTP request for it; of several, the last. `None` if the model does not tell.
        retried: The requests before it that failed.
    """

    choices: tuple[Choice, ...]
    usage: Usage | None = None
    id: str | None = None
    model: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    sent: HttpRequest | None = field(default=None, repr=False, compare=False)
    retried: tuple[Retried, ...] = field(default=(), repr=False, compare=False)

    def with_lost(self, lost: Usage) -> "ChatResponse":
        """Return the reply with the cost of broken replies before it."""
        return self if lost == Usage() else replace(self, usage=(self.usage or Usage(1)) + lost)

    @property
    def message(self) -> AssistantMessage:
        """The first answer's message."""
        return self.choices[0].message

    @property
    def finish_reason(self) -> str | None:
        """Why the first answer stopped."""
        return self.choices[0].finish_reason


@dataclass(frozen=True, slots=True)
class ChatChunk:
    """A piece of a streamed reply, exactly as the endpoint sent it; a plain body is one piece with everything."""

    data: Mapping[str, object] = field(hash=False)

    @property
    def text(self) -> str:
        """The text that this chunk adds to the first answer; often empty."""
        return whole(text_of(delta_of(first_choice(self)).get("content")))

    @property
    def reasoning(self) -> str:
        """The reasoning that this chunk adds to the first answer; often empty."""
        return whole(reasoning_of(delta_of(first_choice(self))))


class StreamedText:
    """Takes the first choice of each chunk of a reply, and returns its text. An emoji may be split over two of them."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def add(self, choice: Mapping[str, object]) -> str:
        """Return the text that a choice adds; half a character waits for its other half."""
        text = text_of(delta_of(choice).get("content"))
        if not self._half and text.isascii():
            return text
        text = self._half + text
        self._half = text[-1] if "\ud800" <= text[-1] <= "\udbff" and not choice.get("finish_reason") else ""
        return whole(text.removesuffix(self._half))


def first_choice(chunk: ChatChunk) -> dict[str, object]:
    """Return what a chunk adds to the first answer."""
    for choice in map(object_of, list_of(chunk.data.get("choices"))):
        if not choice.get("index"):
            return choice
    return {}


def delta_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return the delta of a choice, or the whole message of a plain reply."""
    delta = choice.get("delta")
    return object_of(choice.get("message") if delta is None else delta)


def text_of(content: object) -> str:
    """Return the text of a content; of a list, that of its text blocks, without thinking and other blocks."""
    if content is None or isinstance(content, str):
        return content or ""
    blocks = cast("list[object]", content) if isinstance(content, list) else [content]
    texts = [
        block if isinstance(block, str) else object_of(block).get("text")
        for block in blocks
        if isinstance(block, str) or object_of(block).get("type") in ("text", "output_text")
    ]
    return "".join([text for text in texts if isinstance(text, str)])
