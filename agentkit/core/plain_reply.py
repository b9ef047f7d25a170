"""Reads a plain body in its usual form: one answer, whose calls have names, ids and arguments as text.

It takes a third less time than an `Assembly`, which reads every other form. Of this form, both make the same.
"""

from collections.abc import Iterable, Mapping
from types import NoneType

from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.http_request import HttpRequest
from agentkit.core.json import list_of, object_of, whole
from agentkit.core.messages import AssistantMessage, ToolCall
from agentkit.core.usage import usage_of

_TOP = frozenset({"id", "object", "created", "model", "choices", "usage"})
_CHOICE = frozenset({"index", "message", "finish_reason"})
_MESSAGE = frozenset({"role", "content", "tool_calls", "refusal"})
_CALL = frozenset({"index", "id", "type", "function"})
_ENDS = ("stop", "tool_calls")
_USAGE = (dict, NoneType)


def plain_reply(
    body: Mapping[str, object], origin: str | None, most_calls: int, sent: HttpRequest | None = None
) -> ChatResponse | None:
    """Return the reply in a body; `None` if the body has another form.

    Args:
        body: The body, decoded. Only the number of its calls is checked, so it must be small.
        origin: The endpoint.
        most_calls: How many calls it may have.
        sent: The request for it.
    """
    choices, usage = list_of(body.get("choices")), body.get("usage")
    choice = object_of(choices[0]) if len(choices) == 1 else {}
    message = object_of(choice.get("message"))
    end, id_, model = _text(choice.get("finish_reason")), _text(body.get("id")), _text(body.get("model"))
    content, refusal = _text(message.get("content")), _text(message.get("refusal"))
    calls = _calls(message.get("tool_calls") or [], most_calls)
    if calls is None or id_ is None or model is None or content is None or refusal is None or end not in _ENDS:
        return None
    if not message or message.get("function_call") is not None or "delta" in choice or type(usage) not in _USAGE:
        return None
    extra = {key: whole(value) if isinstance(value, str) else value for key, value in _unknown(message, _MESSAGE)}
    said = AssistantMessage(
        whole(content) or None,
        calls,
        whole(refusal) or None,
        extra=extra,
        origin=origin if extra or any(call.extra for call in calls) else None,
    )
    answer = Choice(said, end, dict(_unknown(choice, _CHOICE)))
    cost = usage_of(object_of(usage)) if usage else None
    return ChatResponse((answer,), cost, id_ or None, model or None, dict(_unknown(body, _TOP)), sent=sent)


def _text(value: object) -> str | None:
    """Return a text, empty if it is absent; `None` if it is anything else."""
    return value if isinstance(value, str) else "" if value is None else None


def _calls(value: object, most: int) -> tuple[ToolCall, ...] | None:
    entries, calls = list_of(value), dict[str, ToolCall]()
    for entry in map(object_of, entries):
        function = object_of(entry.get("function"))
        id_, name, arguments = entry.get("id"), function.get("name"), function.get("arguments")
        if not (isinstance(id_, str) and isinstance(name, str) and isinstance(arguments, str) and id_ and name):
            return None
        arguments = whole(arguments) if arguments.strip() else "{}"
        calls[id_] = ToolCall(id_, whole(name), arguments, dict(_unknown(entry, _CALL)))
    return tuple(calls.values()) if isinstance(value, list) and len(calls) == len(entries) <= most else None


def _unknown(fields: Mapping[str, object], known: frozenset[str]) -> Iterable[tuple[str, object]]:
    """Return the fields that are not known, as far as they have a value."""
    if known.issuperset(fields):
        return ()
    return [(key, value) for key, value in fields.items() if key not in known and value is not None]
