"""The fields of a request, checked one by one."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from agentkit.core.chat import Settings
from agentkit.core.choice import AUTO, ToolChoice
from agentkit.core.dicts import messages_of
from agentkit.core.errors import InvalidRequest
from agentkit.core.json import list_of, object_of
from agentkit.core.dicts import REST
from agentkit.core.messages import AssistantMessage, Message, ToolMessage
from agentkit.server.client_tools import borrowed, choice_of
from agentkit.server.errors import Refusal, unfit
from agentkit.server.limits import Bounds
from agentkit.tools.tool import Tool

_SETTINGS = ("temperature", "top_p", "max_tokens", "stop", "presence_penalty", "frequency_penalty", "user")
_LONGER = "max_completion_tokens"
_OLD = {"functions": "tools", "function_call": "tool_choice"}
_WHERE = re.compile(r"messages\[\d+\][\w.\[\]]*")
_NO_SETTINGS: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks for.

    Attributes:
        model: The name of the agent.
        messages: The conversation.
        settings: How the model is to answer: fields of `Settings`.
        passed: Other fields that are passed on to the model's endpoint.
        tools: The tools that the client brings.
        choice: What the client wants of them.
        parallel: Whether it takes several calls at once.
        n: How many answers.
        stream: Whether they are streamed.
        usage: Whether a stream ends with what it cost.
        events: Whether it tells of the agent's own tools.
    """

    model: str
    messages: tuple[Message, ...]
    settings: Mapping[str, object] = field(default_factory=lambda: _NO_SETTINGS)
    passed: Mapping[str, object] = field(default_factory=lambda: _NO_SETTINGS)
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = AUTO
    parallel: bool = True
    n: int = 1
    stream: bool = False
    usage: bool = False
    events: bool = False

    @property
    def names(self) -> frozenset[str]:
        """Those of the client's tools."""
        return frozenset([each.name for each in self.tools])

    def over(self, settings: Settings) -> Settings:
        """Give an agent's settings with those of the request in their place."""
        extra = {**settings.extra, **self.passed}
        if "max_tokens" in self.settings:
            extra.pop(_LONGER, None)
        checked: dict[str, Any] = dict(self.settings)
        return replace(settings, **checked, extra=extra)


def asked_in(data: object, bounds: Bounds, passed: Collection[str]) -> Asked:
    """Read a request.

    Args:
        data: The body.
        bounds: What it may ask for.
        passed: The fields, beside those that are known, which are passed on.

    Raises:
        Refusal: If a field is not what it must be; it names the field.
    """
    if not isinstance(data, dict):
        raise Refusal(400, "the body must be a JSON object")
    given = {name: value for name, value in object_of(cast("object", data)).items() if value is not None}
    for old, new in _OLD.items():
        if old in given:
            raise unfit(old, f"{old} is not known here; use {new}")
    _check_format(given)
    tools = borrowed(given.get("tools"), bounds.tools)
    options: object = given.get("stream_options", {})
    if not isinstance(options, dict):
        raise unfit("stream_options", "stream_options must be an object")
    flags = object_of(cast("object", options))
    streamed = {f"stream_options.{name}": value for name, value in flags.items() if value is not None}
    return Asked(
        _text(given, "model"),
        _messages(given.get("messages"), bounds.messages),
        _settings(given),
        _passed(given, passed),
        tools,
        choice_of(given.get("tool_choice"), [each.name for each in tools]),
        _flag(given, "parallel_tool_calls", default=True),
        _count(given, bounds.choices),
        _flag(given, "stream"),
        _flag(streamed, "stream_options.include_usage"),
        _flag(streamed, "stream_options.include_events"),
    )


def _text(given: Mapping[str, object], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise unfit(name, f"{name} must be a text")
    return value


def _flag(given: Mapping[str, object], name: str, *, default: bool = False) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise unfit(name, f"{name} must be true or false")
    return value


def _count(given: Mapping[str, object], most: int) -> int:
    value = given.get("n", 1)
    if type(value) is not int or not 1 <= value <= most:
        raise unfit("n", f"n must be a whole number from 1 to {most}, not {value!r:.80}")
    return value


def _settings(given: Mapping[str, object]) -> dict[str, object]:
    found = {name: _checked(name, name, given[name]) for name in _SETTINGS if name in given}
    if _LONGER in given:
        found["max_tokens"] = _checked(_LONGER, "max_tokens", given[_LONGER])
    return found


def _checked(param: str, name: str, value: object) -> object:
    given: dict[str, Any] = {name: value}
    try:
        Settings(**given)
    except InvalidRequest as error:
        raise unfit(param, f"{param}{str(error).removeprefix(name)}"[:300]) from None
    return value


def _passed(given: Mapping[str, object], passed: Collection[str]) -> dict[str, object]:
    if type(given.get("seed", 0)) is not int:
        raise unfit("seed", "seed must be a whole number")
    return {name: value for name, value in given.items() if name in passed}


def _check_format(given: Mapping[str, object]) -> None:
    kind = object_of(given.get("response_format")).get("type")
    if "response_format" in given and kind != "text":
        said = "the agent decides on the form of its answers; response_format can only be of type text"
        raise unfit("response_format", said)


def _messages(data: object, most: int) -> tuple[Message, ...]:
    """Read the conversation: it ends in what the model is to answer."""
    if not isinstance(data, list) or not data:
        raise unfit("messages", "messages must be a list with at least one message")
    fields = [object_of(each) for each in list_of(cast("object", data))]
    count = sum([1 + len(list_of(each.get("content"))) + len(list_of(each.get("tool_calls"))) for each in fields])
    if count > most:
        raise unfit("messages", f"messages, and the blocks and calls in them, may be {most}, not {count}")
    # A client says what was said, and nothing of what only this side knows, as stored messages have it.
    plain = [_bare(each) for each in list_of(cast("object", data))]
    try:
        messages = messages_of(cast("list[Mapping[str, object]]", plain))
    except InvalidRequest as error:
        where = _WHERE.match(str(error))
        raise unfit(where[0] if where else "messages", str(error)) from None
    _check_calls(messages)
    return messages


def _bare(message: object) -> object:
    fields = object_of(message)
    return {name: value for name, value in fields.items() if name != REST} if fields else message


def _check_calls(messages: tuple[Message, ...]) -> None:
    """Refuse answers to no call, and an end that leaves the model nothing to answer."""
    waiting: Counter[str] = Counter()
    called = 0
    for at, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            waiting, called = Counter([call.id for call in message.tool_calls]), at
        elif isinstance(message, ToolMessage):
            if not waiting[message.tool_call_id]:
                said = f"messages[{at}] answers {message.tool_call_id[:80]!r}, for which no call before it waits"
                raise unfit(f"messages[{at}].tool_call_id", said)
            waiting[message.tool_call_id] -= 1
    missing = next(waiting.elements(), None)
    if missing is not None and isinstance(messages[-1], AssistantMessage | ToolMessage):
        said = f"messages[{called}] has the call {missing[:80]!r}, without an answer"
        raise unfit(f"messages[{called}].tool_calls", said)
    if isinstance(messages[-1], AssistantMessage):
        raise unfit(f"messages[{called}].role", "messages end in one of the model's own, so there is nothing to answer")
