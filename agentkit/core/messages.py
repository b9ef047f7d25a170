"""Messages: what a conversation is made of.

Each message is encoded when it is made, and a request body is a join of those bytes. So a turn costs the same however
long the conversation is. The prefix of a conversation has the same bytes every time, which prompt caches rely on.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias, TypeVar, cast

from agentkit.core.json import decode, encode, normalized
from agentkit.core.parts import Content, ImagePart, Media, Part, TextPart, check_text
from agentkit.core.reasoning import reasoning_of

_ODD = "[^a-zA-Z0-9_-]"
_LONGEST_NAME = 64
_LONGEST_KEPT = 10_000
_NONE: frozenset[str] = frozenset()

Outcome: TypeAlias = Literal["ok", "error", "refused", "cancelled"]
"""How a call ended: the tool returned; it failed or had wrong arguments; it was not allowed; it was stopped."""


class _Canonical:
    """Has room for what a call is compared by, which is no field: `dataclasses.asdict` does not show it."""

    __slots__ = ("_canonical",)
    _canonical: bytes


@dataclass(frozen=True, slots=True)
class ToolCall(_Canonical):
    """A tool call in a reply.

    Attributes:
        id: The call's id, as the endpoint sent it.
        name: The name of the tool.
        arguments: The arguments as the model wrote them, normally a JSON object.
        extra: Fields from the endpoint that agentkit does not know, such as a signature of the reasoning.
    """

    id: str
    name: str
    arguments: str
    extra: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)

    @property
    def canonical(self) -> bytes:
        """Bytes that are equal for the same call of a tool, whatever the id, the order of keys and the form of numbers.

        Arguments that are no JSON are compared as text. Those of up to 10,000 characters are read once.
        """
        kept: bytes | None = getattr(self, "_canonical", None)
        if kept is not None:
            return kept
        try:
            arguments = normalized(decode(self.arguments))
        except ValueError:
            arguments = self.arguments
        canonical = encode([self.name, arguments])
        if len(self.arguments) <= _LONGEST_KEPT:
            object.__setattr__(self, "_canonical", canonical)
        return canonical

    def to_dict(self, echo: frozenset[str] = _NONE) -> dict[str, object]:
        """Return the call as the wire has it.

        A name or arguments that the endpoint refuses would make every later request fail. So a name is sent with
        letters, digits, `_` and `-` only, at most 64. Arguments that are not a JSON object are sent as an empty one;
        the result of the call says what was wrong with them.

        Args:
            echo: The fields of `extra` to send.
        """
        name = self.name if self.name.isidentifier() and self.name.isascii() else re.sub(_ODD, "_", self.name)
        function = {"name": name[:_LONGEST_NAME] or "_", "arguments": _object_or_empty(self.arguments)}
        call: dict[str, object] = {"id": self.id, "type": "function", "function": function}
        return call | {key: value for key, value in self.extra.items() if key in echo} if echo else call


def _object_or_empty(arguments: str) -> str:
    try:
        return arguments if isinstance(decode(arguments), dict) else "{}"
    except ValueError:
        return "{}"


class _Encoded:
    __slots__ = ()

    def __post_init__(self) -> None:
        content: object = getattr(self, "content")  # noqa: B009 (of each message)
        if not isinstance(content, str):
            self._check_content(content)
        object.__setattr__(self, "encoded", encode(self.to_dict()))

    def _check_content(self, content: object) -> None:
        check_text(type(self).__name__, content)

    def to_dict(self) -> dict[str, object]:
        """Return the message as the wire has it."""
        raise NotImplementedError


def _wire_message(role: str, content: object, name: str | None) -> dict[str, object]:
    return {"role": role, "content": content} if name is None else {"role": role, "name": name, "content": content}


@dataclass(frozen=True, slots=True)
class _Instructions(_Encoded):
    _role: ClassVar[str]
    content: str
    name: str | None = None
    encoded: bytes = field(init=False, repr=False, compare=False)

    def to_dict(self) -> dict[str, object]:
        return _wire_message(self._role, self.content, self.name)


class SystemMessage(_Instructions):
    """Instructions to the model."""

    __slots__ = ()
    _role = "system"


class DeveloperMessage(_Instructions):
    """A system message under its newer name."""

    __slots__ = ()
    _role = "developer"


@dataclass(frozen=True, slots=True)
class UserMessage(_Encoded):
    """A message of the user.

    Attributes:
        content: The text, or blocks of text, images, recordings and files.
        name: The name of the speaker, if there are several.
        note: Whether it belongs to the turn before it: agentkit wrote it, to correct the model, or it was sent to a run
            under way. The wire does not carry this.
    """

    content: Content
    name: str | None = None
    note: bool = False
    encoded: bytes = field(init=False, repr=False, compare=False)

    def _check_content(self, content: object) -> None:
        parts = cast("Iterable[object]", content) if isinstance(content, tuple | list) else [None]
        if not all(isinstance(part, Part) for part in parts):
            raise TypeError(
                "UserMessage takes a text, or a tuple of TextPart, ImagePart, AudioPart and FilePart, not "
                f"{content!r:.80}"
            )

    def to_dict(self) -> dict[str, object]:
        content = self.content if isinstance(self.content, str) else [part.to_dict() for part in self.content]
        return _wire_message("user", content, self.name)


@dataclass(frozen=True, slots=True)
class AssistantMessage(_Encoded):
    """A message of the model.

    Attributes:
        content: The text, if any.
        tool_calls: The tool calls.
        refusal: The model's own words when it declines.
        name: The name of the speaker, if there are several.
        extra: Fields from the endpoint that agentkit does not know, such as its reasoning.
        origin: The endpoint that sent it. Fields of `extra` are sent back only there, if its profile names them.
    """

    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    name: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    origin: str | None = None
    encoded: bytes = field(init=False, repr=False, compare=False)
    _echo: tuple[frozenset[str], bytes] = field(init=False, repr=False, compare=False, default=(_NONE, b""))

    def _check_content(self, content: object) -> None:
        if content is not None:
            check_text("AssistantMessage", content)

    @property
    def reasoning(self) -> str:
        """What the model thought before it answered, if the endpoint tells; it is in `extra`."""
        return reasoning_of(self.extra)

    def to_dict(self, echo: frozenset[str] = _NONE) -> dict[str, object]:
        """Return the message as the wire has it: `content` is null only beside calls or a refusal.

        Args:
            echo: The fields of `extra`, its own and those of its calls, to send.
        """
        silent = None if self.tool_calls or self.refusal else ""
        message = _wire_message("assistant", self.content or silent, self.name)
        if self.refusal:
            message["refusal"] = self.refusal
        if self.tool_calls:
            message["tool_calls"] = [call.to_dict(echo) for call in self.tool_calls]
        return message | {key: value for key, value in self.extra.items() if key in echo} if echo else message

    def encoded_for(self, origin: str, echo: frozenset[str]) -> bytes:
        """Return the bytes for one endpoint.

        Args:
            origin: The endpoint.
            echo: The fields of `extra` that it wants back. They are sent if it sent the message.
        """
        if origin != self.origin:
            return self.encoded
        if self._echo[0] != echo:
            object.__setattr__(self, "_echo", (echo, encode(self.to_dict(echo))))
        return self._echo[1] or self.encoded


@dataclass(frozen=True, slots=True)
class ToolMessage(_Encoded):
    """A tool result. The wire carries the call's id and the text; the rest is for policies and for people.

    Attributes:
        tool_call_id: The id of the call.
        content: The text that the model reads.
        outcome: How the call ended.
        full: The whole text, if `content` has only its head and its tail.
        images: Images that the tool returned. They are sent in a user message after the results, because endpoints
            refuse them in a result.
        returned: What the tool returned, if `content` has a note beside it.
        by: The policy that denied the call, or had a person asked, as code.
    """

    tool_call_id: str
    content: str
    outcome: Outcome = "ok"
    full: str | None = None
    images: tuple[Media, ...] = ()
    returned: str | None = None
    by: str = ""
    encoded: bytes = field(init=False, repr=False, compare=False)

    @property
    def result(self) -> str:
        """The whole text that the tool returned, without a note: what policies read, and what a run may end with."""
        if self.returned is not None:
            return self.returned
        return self.content if self.full is None else self.full

    def to_dict(self) -> dict[str, object]:
        return {"role": "tool", "tool_call_id": self.tool_call_id, "content": self.content}


def shown(media: Iterable[Media]) -> UserMessage:
    """Return the message that shows the model the images, recordings and files that tools returned."""
    parts = tuple(media)
    what = "images" if all(isinstance(part, ImagePart) for part in parts) else "files"
    return UserMessage((TextPart(f"The {what} that the tools returned:"), *parts), note=True)


Message: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of requests. `None` means that no endpoint reported it, which is not the same as zero.

    Attributes:
        requests: How many requests were answered.
        prompt_tokens: Tokens that the model read.
        completion_tokens: Tokens that it wrote.
        cached_tokens: The tokens of the prompt that came from the endpoint's cache.
        cost: The price, in the unit of the endpoint or of your prices.
    """

    requests: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None

    @property
    def total_tokens(self) -> int | None:
        """Prompt and completion together, or `None` if neither is known."""
        return _plus(self.prompt_tokens, self.completion_tokens)

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            _plus(self.prompt_tokens, other.prompt_tokens),
            _plus(self.completion_tokens, other.completion_tokens),
            _plus(self.cached_tokens, other.cached_tokens),
            _plus(self.cost, other.cost),
        )


Number = TypeVar("Number", int, float)


def _plus(left: Number | None, right: Number | None) -> Number | None:
    if left is None or right is None:
        return right if left is None else left
    return left + right
