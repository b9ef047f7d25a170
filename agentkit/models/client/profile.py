"""A profile: how an endpoint's dialect deviates from the protocol, and how requests are encoded for it.

Endpoints of the same protocol refuse different things. A profile changes what goes over the wire and nothing else:
histories, tools and the validation of arguments stay the same. Messages that fit are sent as the bytes that they were
encoded to when they were made.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from string import ascii_letters, digits
from typing import Literal, NamedTuple, TypeAlias, cast

from agentkit.core.blocks import joined, lengthened
from agentkit.core.chat import ChatRequest, Settings, ToolSpec
from agentkit.core.errors import InvalidRequest
from agentkit.core.growing import folded, grown
from agentkit.core.json import encode, object_of
from agentkit.core.messages import AssistantMessage, DeveloperMessage, Message, SystemMessage, ToolMessage, UserMessage
from agentkit.core.parts import Content, TextPart
from agentkit.models.client.plain_schema import plain_tool

_NONE: frozenset[str] = frozenset()
_ALPHANUMERIC = ascii_letters + digits
_ID_LENGTH = 9
_LONGEST_KEPT = 200
_PARALLEL = "parallel_tool_calls"
_OPENING = "Continue."
_BRIDGE = AssistantMessage("I have seen the results.")

_SentCalls: TypeAlias = dict[str, tuple[str, str]]
"""The id and the name that are sent of a call, by its own id."""


class _Sent(NamedTuple):
    """Messages as they are sent."""

    encoded: tuple[bytes, ...]
    calls: _SentCalls


@dataclass(frozen=True, slots=True)
class Profile:
    """The dialect of an endpoint. The defaults are the standard; `dataclasses.replace` makes another one.

        gateway = replace(OPENAI, most_tools=64)

    Attributes:
        echo: Fields of `extra`, of messages and of calls, that the endpoint wants back. They are sent to it alone.
        signed: A pattern for the models that refuse a message with calls none of which has a field of `echo`: calls
            that the model did not make, as `given` makes them, or that another endpoint sent.
        signature: The fields that the first call of such a message gets.
        demanded: Fields that every assistant message must have; a space is sent where one has none.
        silent: The `content` of an assistant message that has calls and no text.
        blank: What replaces an empty or blank text; `None` sends it as it is.
        refusals: Whether `refusal` may be sent; otherwise its text is sent as `content`.
        alternate: Whether user and assistant must take turns, after at most one system message.
        user_after_answers: Whether a user or system message may follow tool results; otherwise a short assistant
            message is put in between.
        developer: Whether the role `developer` is known; otherwise it is sent as `system`.
        names: Whether messages may have a `name`.
        answer_names: Whether a tool result must have the name of its tool.
        ids: A pattern for the whole id of a call. An id that does not match is replaced by 9 letters and digits derived
            from it, in the call and its result. Messages with echoed fields keep their ids, which the fields may name.
        unforced: A pattern for the models that think unless a request turns that off, with `thinking` or
            `enable_thinking` in `Settings(extra=…)`. While they think, the endpoint refuses a forced tool choice. They
            get `auto`, with the forced tool alone if there is one; agentkit still rejects a reply that calls nothing,
            and asks again.
        named_choice: Whether the endpoint enforces a tool choice that names a tool. Otherwise it gets `required`, with
            that tool alone.
        parallel_tool_calls: A pattern for the models that know this field. It is sent as false where only one call of
            a reply may run.
        allowed_tools: If only some tools are offered and the agent has at most so many, all of them are sent, and
            those that are offered as `allowed_tools` in the tool choice. So the list keeps its bytes, and the
            endpoint's prompt cache hits. With more tools, only those that are offered are sent.
        most_tools: The most tools in one request.
        longest_description: The most characters of a tool's description.
        schemas: `plain` sends tool schemas as `plain_schema` makes them, and never `strict`.
        stream_usage: Whether a streamed request may ask for its usage.
        max_tokens: The name of the field for the most tokens to generate.
        think_tags: Whether models write their reasoning into the text, between `<think>` and `</think>`. It becomes
            `AssistantMessage.reasoning`, and is not sent back as text.
    """

    echo: frozenset[str] = frozenset({"extra_content"})
    signed: str | None = None
    signature: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    demanded: frozenset[str] = _NONE
    silent: Literal["null", "empty", "absent"] = "null"
    blank: str | None = None
    refusals: bool = True
    alternate: bool = False
    user_after_answers: bool = True
    developer: bool = True
    names: bool = True
    answer_names: bool = False
    ids: str | None = None
    unforced: str | None = None
    named_choice: bool = True
    parallel_tool_calls: str | None = None
    allowed_tools: int = 0
    most_tools: int | None = None
    longest_description: int | None = None
    schemas: Literal["whole", "plain"] = "whole"
    stream_usage: bool = True
    max_tokens: str = "max_tokens"
    think_tags: bool = False

    def encode(self, request: ChatRequest, model: str, origin: str, *, stream: bool) -> bytes:
        """Return the body of a request, in one piece; see `pieces`."""
        return b"".join(self.pieces(request, model, origin, stream=stream))

    def pieces(self, request: ChatRequest, model: str, origin: str, *, stream: bool) -> list[bytes]:
        """Return the body of a request in pieces. The same request always has the same bytes.

        Args:
            request: The request.
            model: The name of the model.
            origin: The endpoint, as in `AssistantMessage.origin`.
            stream: Whether to ask for a stream.

        Raises:
            InvalidRequest: If the endpoint would refuse it and there is no other way to express it.
        """
        tools, tool_choice = request.tools, None
        if self.unforced is not None or self.allowed_tools or not self.named_choice:
            tools, tool_choice = self._offer(request, model)
        self._check_tools(tools)
        messages: Sequence[Message] = request.messages
        if self.alternate:
            messages = _alternating(messages)
        elif not self.user_after_answers:
            messages = folded(messages, _bridged, (), _bridged)
        if self._sends_as_is():
            echo = self.echo

            def encoded_for(message: Message) -> bytes:
                if type(message) is AssistantMessage and message.origin:
                    return message.encoded_for(origin, echo)
                return message.encoded

            encoded = joined(messages, (origin, echo), encoded_for)
        else:
            signed = self.signed is not None and re.fullmatch(self.signed, model) is not None
            encoded = self._rewritten(messages, origin, signed=signed)
        encoded_tools = [tool.encoded for tool in tools]
        if self.schemas == "plain":
            encoded_tools = [plain_tool(tool) for tool in encoded_tools]
        return request.pieces(
            model,
            stream=stream,
            stream_usage=self.stream_usage,
            messages=encoded,
            tools=encoded_tools,
            tool_choice=tool_choice,
            settings=self._encoded_settings(request, model),
        )

    def _offer(self, request: ChatRequest, model: str) -> tuple[tuple[ToolSpec, ...], object]:
        """Return the tools to send, and the tool choice as the wire has it."""
        choice, tools = request.tool_choice, request.tools
        wire = choice.to_wire()
        if choice.mode in ("required", "tool") and self._refuses_force(request.settings, model):
            return tuple([tool for tool in tools if choice.tool in (None, tool.name)]), "auto"
        if choice.mode == "tool" and not self.named_choice:
            return tuple([tool for tool in tools if tool.name == choice.tool]), "required"
        if 0 < len(tools) < len(request.all_tools) <= self.allowed_tools:
            tools = request.all_tools
            if choice.mode in ("auto", "required"):
                names = [{"type": "function", "function": {"name": tool.name}} for tool in request.tools]
                wire = {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": names}}
        return tools, wire

    def _refuses_force(self, settings: Settings, model: str) -> bool:
        """Whether the model thinks, and the endpoint refuses a forced choice meanwhile."""
        if self.unforced is None:
            return False
        if "enable_thinking" in settings.extra:
            return settings.extra["enable_thinking"] is not False
        thinking = object_of(settings.extra.get("thinking")).get("type")
        return thinking != "disabled" if thinking else re.fullmatch(self.unforced, model) is not None

    def _check_tools(self, tools: tuple[ToolSpec, ...]) -> None:
        if self.most_tools is not None and len(tools) > self.most_tools:
            raise InvalidRequest(
                f"{len(tools)} tools are offered, and this endpoint accepts at most {self.most_tools}; offer fewer, "
                "with the policy `only` or with an agent for each part of the task"
            )
        if self.longest_description is not None:
            for tool in tools:
                if len(tool.description) > self.longest_description:
                    raise InvalidRequest(
                        f"{tool.name}: the description has {len(tool.description)} characters, and this endpoint "
                        f"accepts at most {self.longest_description}; shorten it"
                    )

    def _encoded_settings(self, request: ChatRequest, model: str) -> bytes:
        settings = request.settings
        encoded = settings.encoded
        if settings.max_tokens is not None and self.max_tokens != "max_tokens":
            if self.max_tokens in settings.extra:
                raise InvalidRequest(
                    f"extra has {self.max_tokens!r}, which max_tokens sets on this endpoint; set only one"
                )
            # Only numbers stand before it, so the first match is the field and not a text.
            encoded = encoded.replace(b'"max_tokens":', encode(self.max_tokens) + b":", 1)
        if not (request.tool_choice.once and request.tools and self.parallel_tool_calls):
            return encoded
        if settings.parallel_tool_calls is not None or not re.fullmatch(self.parallel_tool_calls, model):
            return encoded
        return b",".join([b'"parallel_tool_calls":false', *([encoded] if encoded else [])])

    def _sends_as_is(self) -> bool:
        """Whether no message ever has to be rewritten."""
        return (
            self.refusals
            and self.developer
            and self.names
            and self.ids is self.blank is self.signed is None
            and self.silent == "null"
            and not (self.demanded or self.answer_names)
        )

    def _rewritten(self, messages: Sequence[Message], origin: str, *, signed: bool) -> tuple[bytes, ...]:
        def add(before: _Sent | None, new: Iterable[Message]) -> _Sent:
            encoded, calls = before or ((), {})
            rewritten = [self._encoded(message, origin, calls, signed=signed) for message in new]
            return _Sent(lengthened(encoded, rewritten), calls)

        sent = folded(messages, (self, origin, signed), None, add)
        return () if sent is None else sent.encoded

    def _encoded(self, message: Message, origin: str, calls: _SentCalls, *, signed: bool) -> bytes:
        if isinstance(message, AssistantMessage):
            return self._assistant(message, origin, calls, signed=signed)
        if isinstance(message, ToolMessage):
            return self._tool_result(message, calls)
        if (message.name and not self.names) or self.blank is not None or isinstance(message, DeveloperMessage):
            return self._instruction(message)
        return message.encoded

    def _instruction(self, message: SystemMessage | DeveloperMessage | UserMessage) -> bytes:
        data = message.to_dict()
        if not self.names:
            data.pop("name", None)
        if data["role"] == "developer" and not self.developer:
            data["role"] = "system"
        if self.blank is not None:
            data["content"] = _without_blanks(message.content) or self.blank
        return encode(data)

    def _assistant(self, message: AssistantMessage, origin: str, sent: _SentCalls, *, signed: bool) -> bytes:
        fits = self._fits(message)
        if fits and not message.tool_calls:
            return message.encoded_for(origin, self.echo)
        own = message.origin == origin
        ids = [call.id for call in message.tool_calls]
        if self.ids is not None and not (own and self.echo & message.extra.keys()):
            ids = [_fitting_id(self.ids, id_) for id_ in ids]
        for call, id_ in zip(message.tool_calls, ids, strict=True):
            name = object_of(call.to_dict()["function"])["name"] if self.answer_names else ""
            sent[call.id] = (id_, str(name))
        unsigned = signed and not (own and any(self.echo & call.extra.keys() for call in message.tool_calls))
        if fits and not unsigned and ids == [call.id for call in message.tool_calls]:
            return message.encoded_for(origin, self.echo)
        data = message.to_dict(self.echo if own else _NONE)
        calls = cast("list[dict[str, object]]", data.get("tool_calls", []))
        for call_sent, id_ in zip(calls, ids, strict=True):
            call_sent["id"] = id_
        if unsigned and calls:
            calls[0].update(self.signature)
        if not self.names:
            data.pop("name", None)
        if message.refusal and not self.refusals:
            del data["refusal"]
            data["content"] = _joined(message.content, message.refusal)
        for name in sorted(self.demanded):
            data[name] = data.get(name) or " "
        return encode(self._with_silence(data))

    def _with_silence(self, data: dict[str, object]) -> dict[str, object]:
        """Return an assistant message with an empty text as the endpoint wants it."""
        if self.blank is not None and not str(data["content"] or "").strip():
            data["content"] = None if "tool_calls" in data else self.blank
        if data["content"] is None and "tool_calls" in data and self.silent != "null":
            data["content"] = ""
            if self.silent == "absent":
                del data["content"]
        return data

    def _fits(self, message: AssistantMessage) -> bool:
        """Whether a message may be sent as it is, apart from the ids of its calls."""
        return (
            (self.refusals or not message.refusal)
            and (self.names or not message.name)
            and (self.silent == "null" or bool(message.content) or not message.tool_calls)
            and self.blank is None
            and not self.demanded
        )

    def _tool_result(self, message: ToolMessage, sent: _SentCalls) -> bytes:
        id_, name = sent.get(message.tool_call_id, (message.tool_call_id, ""))
        blank = self.blank if not message.content.strip() else None
        if id_ == message.tool_call_id and not name and blank is None:
            return message.encoded
        data = message.to_dict() | {"tool_call_id": id_}
        return encode(data | ({"name": name} if name else {}) | ({} if blank is None else {"content": blank}))


class RequestBody:
    """Encodes the body of a request when it is called. It is one object, because a run keeps one per step."""

    __slots__ = ("_model", "_origin", "_profile", "_request", "_stream")

    def __init__(self, profile: Profile, request: ChatRequest, model: str, origin: str, *, stream: bool) -> None:
        self._profile = profile
        self._request = request
        self._model = model
        self._origin = origin
        self._stream = stream

    def __call__(self) -> bytes:
        return self._profile.encode(self._request, self._model, self._origin, stream=self._stream)


def _fitting_id(pattern: str, id_: str) -> str:
    """Return an id that matches: the same one, or one derived from it. A long one, of a stranger, is not kept."""
    return (_kept_id if len(id_) <= _LONGEST_KEPT else _kept_id.__wrapped__)(pattern, id_)


@lru_cache(maxsize=4096)
def _kept_id(pattern: str, id_: str) -> str:
    if re.fullmatch(pattern, id_):
        return id_
    return "".join([_ALPHANUMERIC[byte % len(_ALPHANUMERIC)] for byte in sha256(encode(id_)).digest()[:_ID_LENGTH]])


def _joined(*texts: str | None) -> str:
    return "\n\n".join([text for text in texts if text])


def _without_blanks(content: Content) -> object:
    """Return a content without blank texts; something false if nothing remains."""
    if isinstance(content, str):
        return content.strip() and content
    return [part.to_dict() for part in content if not isinstance(part, TextPart) or part.text.strip()]


def _bridged(before: Sequence[Message], new: Iterable[Message]) -> Sequence[Message]:
    """Put an assistant message between tool results and what is not one."""
    turns: list[Message] = []
    last = before[-1] if before else None
    for message in new:
        if isinstance(last, ToolMessage) and not isinstance(message, AssistantMessage | ToolMessage):
            turns.append(_BRIDGE)
        turns.append(message)
        last = message
    return grown(before, turns)


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """Merge neighbours of the same role, and all system messages into one at the start."""
    instructions = [message for message in messages if isinstance(message, SystemMessage | DeveloperMessage)]
    others = [message for message in messages if not isinstance(message, SystemMessage | DeveloperMessage)]
    turns: list[Message] = []
    turns += [SystemMessage(_joined(*[message.content for message in instructions]))] if instructions else []
    for message in _bridged((), others):
        last = turns[-1] if turns else None
        if isinstance(message, AssistantMessage) and not isinstance(last, UserMessage | ToolMessage):
            if last is None or isinstance(last, SystemMessage):
                turns.append(UserMessage(_OPENING))
            elif isinstance(last, AssistantMessage) and not last.tool_calls:
                text = _joined(last.content, last.refusal, message.content, message.refusal)
                turns[-1] = replace(message, content=text or None, refusal=None)
                continue
        elif isinstance(message, UserMessage) and isinstance(last, UserMessage):
            turns[-1] = _merged_question(last, message)
            continue
        turns.append(message)
    return turns


def _merged_question(first: UserMessage, second: UserMessage) -> UserMessage:
    name = first.name if first.name == second.name else None
    one, other = first.content, second.content
    if isinstance(one, str) and isinstance(other, str):
        return UserMessage(_joined(one, other), name)
    texts = [(TextPart(content),) if isinstance(content, str) else content for content in (one, other) if content]
    return UserMessage(tuple(chain.from_iterable(texts)), name)
