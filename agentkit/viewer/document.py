"""A run as plain data: what the page shows.

    {"title": "…", "agent": "…", "stop": "answer", "usage": {…}, "seconds": 2.1, "items": [
        {"kind": "message", "role": "user", "parts": [{"text": "…"}]},
        {"kind": "step", "number": 1, "choice": "required", "by": "first(…)", "began": 0.0, "seconds": 0.8,
         "reasoning": "…", "text": "…", "usage": {…}, "calls": [
            {"id": "c1", "name": "search", "arguments": "{…}", "outcome": "ok", "result": "…", "runs": […]}]}]}

What is not known is left out. `runs` of a call are those of sub-agents, in the same form.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TypeAlias, cast

from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.parts import AudioPart, ImagePart, Part, TextPart
from agentkit.core.state import Step

Json: TypeAlias = dict[str, object]

_NOTHING: Json = {}
_NO_CALLS: Mapping[tuple[int, str], Json] = {}


def run_of(
    messages: Sequence[Message],
    steps: Sequence[Json] = (),
    calls: Mapping[tuple[int, str], Json] = _NO_CALLS,
    *,
    start: int = 0,
    **facts: object,
) -> Json:
    """Return a run as data for the page.

    Args:
        messages: The whole conversation.
        steps: What is known of each request, in order; the first belongs to the first reply from `start` on.
        calls: What is known of calls beside their results, by the index of the step and the call's id. Calls that were
            open when the run began have the index -1.
        start: How many of the messages were there before the run.
        facts: What is known of the run: `title`, `agent`, `model`, `stop`, `error`, `usage`, `seconds`.
    """
    items: list[Json] = []
    known, index, results = iter(steps), -1, dict[str, Json]()
    for at, message in enumerate(messages):
        in_run = at >= start
        match message:
            case AssistantMessage():
                index += in_run
                about = [calls.get((index, call.id), {}) if in_run else {} for call in message.tool_calls]
                shown = [_call(call) | facts for call, facts in zip(message.tool_calls, about, strict=True)]
                results = {str(call["id"]): call for call in shown}
                step = {"number": index + 1, **next(known, _NOTHING)} if in_run else {"before": True}
                items.append(_reply(message, shown) | step)
            case ToolMessage() if call := results.get(message.tool_call_id):
                call |= _result(message)
                call |= calls.get((-1, message.tool_call_id), {}) if in_run and index < 0 else {}
            case _:
                items.append(_message(message))
    return {**_known(**facts), "items": items}


def _known(**facts: object) -> Json:
    return {name: value for name, value in facts.items() if value not in (None, "", [], {}, ())}


def _message(message: Message) -> Json:
    role = str(message.to_dict()["role"])
    content = cast("str | Sequence[Part]", message.content)
    parts = [{"text": content}] if isinstance(content, str) else [*map(_part, content)]
    note = isinstance(message, UserMessage) and message.note
    name = None if isinstance(message, ToolMessage) else message.name
    return {"kind": "message", "role": role, "parts": parts, **_known(name=name, note=note or None)}


def _part(part: Part) -> Json:
    match part:
        case TextPart():
            return {"text": part.text}
        case ImagePart():
            return {"image": part.url}
        case AudioPart():
            return {"audio": f"data:audio/{part.format};base64,{part.data}"}
        case _:
            return {"file": part.filename or part.file_id or "unnamed"}


def _reply(message: AssistantMessage, calls: list[Json]) -> Json:
    said = _known(text=message.content, reasoning=message.reasoning, refusal=message.refusal, calls=calls)
    return {"kind": "step", **said}


def _call(call: ToolCall) -> Json:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def _result(message: ToolMessage) -> Json:
    """Return what is known of a call by its result: the text that the model read, and the whole text if it was cut."""
    whole = message.full if message.full != message.content else None
    images = [*map(_part, message.images)]
    rest = _known(by=message.by, whole=whole, images=images)
    return {"outcome": message.outcome, "result": message.content, **rest}


def step_facts(step: Step) -> Json:
    """Return what is known of a request beside its reply."""
    retried = [] if step.reply is None else [retry._asdict() for retry in step.reply.retried]
    return {
        "choice": str(step.choice),
        **_known(
            by=step.decided_by,
            policy=step.policy if step.policy != step.decided_by else None,
            violation=None if step.violation is None else str(step.violation),
            finish=step.finish_reason,
            known=step.known or None,
            retried=retried,
            usage=usage_facts(step.usage),
        ),
    }


def usage_facts(usage: Usage) -> Json:
    """Return a usage as data, without what no endpoint reported."""
    return _known(**asdict(usage))
