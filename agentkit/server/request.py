"""Requests: each field is checked by itself, and the error names the field."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from agentkit.core.chat import Settings
from agentkit.core.choice import AUTO, ToolChoice
from agentkit.core.dicts import REST, messages_of
from agentkit.core.errors import InvalidRequest
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import AssistantMessage, Message, ToolMessage
from agentkit.server.client_tools import parse_tool_choice, parse_tools
from agentkit.server.conversations import CONVERSATION_ID
from agentkit.server.errors import HttpError, invalid_field
from agentkit.server.limits import Bounds
from agentkit.server.response_format import ResponseFormat, parse_response_format
from agentkit.tools.tool import Tool

_SETTINGS = ("temperature", "top_p", "max_tokens", "stop", "presence_penalty", "frequency_penalty", "user", "seed")
_MAX_COMPLETION = "max_completion_tokens"
_OBSOLETE = {"functions": "tools", "function_call": "tool_choice"}
_MESSAGE_PATH = re.compile(r"messages\[\d+\][\w.\[\]]*")


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """The body of a request. `model` is the name of the agent, and `tools` are the client's own.

    `extra` has fields that are passed on to the model's endpoint. `usage` and `events` are whether a stream ends with
    the token counts, and has events of the agent's own tools. `conversation` is the id of one that the server keeps:
    `messages` are then only what is new in it.
    """

    model: str
    messages: tuple[Message, ...]
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    extra: Mapping[str, object] = field(default_factory=dict[str, object])
    format: ResponseFormat | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = AUTO
    parallel: bool = True
    n: int = 1
    stream: bool = False
    usage: bool = False
    events: bool = False
    conversation: str | None = None

    @property
    def tool_names(self) -> frozenset[str]:
        """The names of the client's tools."""
        return frozenset([tool.name for tool in self.tools])

    def override(self, settings: Settings) -> Settings:
        """Return an agent's settings, overridden by those of the request."""
        checked: dict[str, Any] = dict(self.settings)
        merged = settings.merged(Settings(**checked, extra=self.extra))
        if "max_tokens" not in self.settings:
            return merged
        return replace(merged, extra={name: value for name, value in merged.extra.items() if name != _MAX_COMPLETION})


def parse_request(data: object, bounds: Bounds, passed: Collection[str]) -> CompletionRequest:
    """Read the body of a request; a wrong field is an `HttpError` 400 that names it.

    Fields that are not known are ignored, except those in `passed`, which the model gets.
    """
    if not isinstance(data, dict):
        raise HttpError(400, "the body must be a JSON object")
    body = {name: value for name, value in object_of(cast("object", data)).items() if value is not None}
    for old, new in _OBSOLETE.items():
        if old in body:
            raise invalid_field(old, f"{old} is obsolete; use {new}")
    tools = parse_tools(body.get("tools"), bounds.tools)
    options: object = body.get("stream_options", {})
    if not isinstance(options, dict):
        raise invalid_field("stream_options", "stream_options must be an object")
    stream_options = object_of(cast("object", options)).items()
    flags = {f"stream_options.{name}": value for name, value in stream_options if value is not None}
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid_field("model", "model must be a non-empty string")
    conversation = _parse_conversation(body, tools)
    messages: object = body.get("messages")
    return CompletionRequest(
        model,
        () if conversation and messages == [] else _parse_messages(messages, bounds.messages),
        _parse_settings(body),
        _passed_on(body, passed),
        parse_response_format(body.get("response_format", {"type": "text"})),
        tools,
        parse_tool_choice(body.get("tool_choice"), [tool.name for tool in tools]),
        _parse_flag(body, "parallel_tool_calls", default=True),
        _parse_n(body.get("n", 1), bounds.choices),
        _parse_flag(body, "stream"),
        _parse_flag(flags, "stream_options.include_usage"),
        _parse_flag(flags, "stream_options.include_events"),
        conversation,
    )


def _parse_conversation(body: Mapping[str, object], tools: Collection[Tool]) -> str | None:
    """Read the field `conversation`, beside which a request has one choice, no tools, and only new questions."""
    conversation = body.get("conversation")
    if conversation is None:
        return None
    if not isinstance(conversation, str) or not CONVERSATION_ID.fullmatch(conversation):
        raise invalid_field("conversation", "conversation must be 1 to 64 letters, digits, _ and -")
    if tools or body.get("n", 1) != 1:
        raise invalid_field(
            "conversation", "a conversation that the server keeps takes no tools of the client, and no n"
        )
    for position, message in enumerate(list_of(body.get("messages"))):
        if object_of(message).get("role") != "user":
            text = f"messages[{position}].role must be user: the server keeps the rest of the conversation"
            raise invalid_field(f"messages[{position}].role", text)
    return conversation


def _parse_flag(body: Mapping[str, object], name: str, *, default: bool = False) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise invalid_field(name, f"{name} must be true or false")
    return value


def _parse_n(value: object, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise invalid_field("n", f"n must be a whole number from 1 to {most}, not {value!r:.80}")
    return value


def _parse_settings(body: Mapping[str, object]) -> dict[str, object]:
    settings = {name: _check_setting(name, name, body[name]) for name in _SETTINGS if name in body}
    if _MAX_COMPLETION in body:
        settings["max_tokens"] = _check_setting(_MAX_COMPLETION, "max_tokens", body[_MAX_COMPLETION])
    return settings


def _check_setting(param: str, name: str, value: object) -> object:
    setting: dict[str, Any] = {name: value}
    try:
        Settings(**setting)
    except InvalidRequest as error:
        raise invalid_field(param, f"{param}{str(error).removeprefix(name)}"[:300]) from None
    return value


def _passed_on(body: Mapping[str, object], passed: Collection[str]) -> dict[str, object]:
    return {name: value for name, value in body.items() if name in passed}


def _parse_messages(data: object, most: int) -> tuple[Message, ...]:
    if not isinstance(data, list) or not data:
        raise invalid_field("messages", "messages must be a list with at least one message")
    entries = list_of(cast("object", data))
    objects = [object_of(entry) for entry in entries]
    count = sum([1 + len(list_of(entry.get("content"))) + len(list_of(entry.get("tool_calls"))) for entry in objects])
    if count > most:
        raise invalid_field("messages", f"messages may have {most} messages, blocks and calls, not {count}")
    # A client has no say in what only this side knows of a message, such as the outcome of a tool.
    plain = [
        {name: value for name, value in fields.items() if name != REST} if fields else entry
        for entry, fields in zip(entries, objects, strict=True)
    ]
    try:
        messages = messages_of(cast("list[Mapping[str, object]]", plain))
    except InvalidRequest as error:
        path = _MESSAGE_PATH.match(str(error))
        raise invalid_field(path[0] if path else "messages", str(error)) from None
    _check_calls(messages)
    return messages


def _check_calls(messages: tuple[Message, ...]) -> None:
    """Refuse results of no call, and an end that leaves the model nothing to answer."""
    waiting: Counter[str] = Counter()
    called_at = 0
    for position, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            waiting, called_at = Counter([call.id for call in message.tool_calls]), position
        elif isinstance(message, ToolMessage):
            if not waiting[message.tool_call_id]:
                text = f"messages[{position}] is a result of {message.tool_call_id[:80]!r}, which is no open call"
                raise invalid_field(f"messages[{position}].tool_call_id", text)
            waiting[message.tool_call_id] -= 1
    missing = next(waiting.elements(), None)
    if missing is not None and isinstance(messages[-1], AssistantMessage | ToolMessage):
        text = f"messages[{called_at}] has the call {missing[:80]!r}, which has no result"
        raise invalid_field(f"messages[{called_at}].tool_calls", text)
    if isinstance(messages[-1], AssistantMessage):
        text = "messages must not end with an assistant message: the model has nothing to answer"
        raise invalid_field(f"messages[{called_at}].role", text)
