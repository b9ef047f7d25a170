"""Requests and replies in the words of OpenTelemetry's conventions for generative AI, version 1.41."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from agentkit.core.chat import ChatRequest, Choice
from agentkit.core.json import decode, encode
from agentkit.core.messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    Usage,
)
from agentkit.core.state import Step

Attributes: TypeAlias = dict[str, str | int | float | Sequence[str]]

_PORTS = {"http": 80, "https": 443}


def of_request(request: ChatRequest) -> Attributes:
    """Give the attributes of a request, without what is said in it."""
    settings, seed = request.settings, request.settings.extra.get("seed")
    stop = (settings.stop,) if isinstance(settings.stop, str) else settings.stop
    return _known(
        {
            "gen_ai.request.temperature": _real(settings.temperature),
            "gen_ai.request.top_p": _real(settings.top_p),
            "gen_ai.request.presence_penalty": _real(settings.presence_penalty),
            "gen_ai.request.frequency_penalty": _real(settings.frequency_penalty),
            "gen_ai.request.max_tokens": settings.max_tokens,
            "gen_ai.request.stop_sequences": stop,
            "gen_ai.request.choice.count": None if settings.n == 1 else settings.n,
            "gen_ai.request.seed": seed if isinstance(seed, int) else None,
            "gen_ai.output.type": None if request.response_format is None else "json",
        }
    )


def of_step(step: Step) -> Attributes:
    """Give the attributes of a reply, without what it says."""
    reply = step.reply
    reasons = [choice.finish_reason or "" for choice in _choices(step)]
    found: dict[str, str | int | Sequence[str] | None] = {
        "gen_ai.response.finish_reasons": reasons if any(reasons) else None
    }
    if reply is not None:
        found |= {"gen_ai.response.id": reply.id, "gen_ai.response.model": reply.model}
        if reply.sent is not None:
            url = urlsplit(reply.sent.url)
            found |= {"server.address": url.hostname, "server.port": url.port or _PORTS.get(url.scheme)}
    return _known(found) | of_usage(step.usage)


def of_usage(usage: Usage) -> Attributes:
    """Give the attributes of what requests have cost."""
    return _known(
        {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        }
    )


def input_of(request: ChatRequest) -> Attributes:
    """Give what is said in a request, the instructions too, as they are sent in one history."""
    return {"gen_ai.input.messages": _encoded([_message(each) for each in request.messages])}


def instructed(request: ChatRequest) -> Attributes:
    """Give what an agent is told: its instructions, and apart from them what was said."""
    match request.messages:
        case (SystemMessage() | DeveloperMessage() as first, *rest):
            said = _encoded([_message(each) for each in rest])
            return {"gen_ai.system_instructions": _encoded([_text(first.content)]), "gen_ai.input.messages": said}
        case _:
            return input_of(request)


def output_of(step: Step) -> Attributes:
    """Give what a reply says, in each of its answers."""
    said = [_message(each.message) | {"finish_reason": _finish(each.finish_reason)} for each in _choices(step)]
    return {"gen_ai.output.messages": _encoded(said)}


def _choices(step: Step) -> tuple[Choice, ...]:
    return (Choice(step.message, step.finish_reason),) if step.reply is None else step.reply.choices


def _finish(reason: str | None) -> str:
    return "tool_call" if reason == "tool_calls" else reason or ""


def _message(message: Message) -> dict[str, object]:
    match message:
        case AssistantMessage():
            parts = [*_parts(message.content or ""), *map(_call, message.tool_calls)]
            if message.refusal:
                parts.append({"type": "refusal", "content": message.refusal})
            role = "assistant"
        case ToolMessage():
            answer: dict[str, object] = {
                "type": "tool_call_response",
                "id": message.tool_call_id,
                "response": message.content,
            }
            role, parts = "tool", [answer]
        case _:
            role, parts = str(message.to_dict()["role"]), _parts(message.content)
    return {"role": role, "parts": parts}


def _parts(content: Content) -> list[dict[str, object]]:
    if isinstance(content, str):
        return [_text(content)] if content else []
    return [_text(part.text) if isinstance(part, TextPart) else _image(part) for part in content]


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "content": text}


def _image(image: ImagePart) -> dict[str, object]:
    if not image.url.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": image.url}
    kind, _, data = image.url.removeprefix("data:").partition(",")
    return {"type": "blob", "modality": "image", "mime_type": kind.partition(";")[0], "content": data}


def _call(call: ToolCall) -> dict[str, object]:
    try:
        arguments = decode(call.arguments)
    except ValueError:
        arguments = call.arguments
    return {"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments}


def _encoded(value: object) -> str:
    return encode(value).decode()


def _real(number: float | None) -> float | None:
    return None if number is None else float(number)


def _known(values: Mapping[str, str | int | float | Sequence[str] | None]) -> Attributes:
    return {name: value for name, value in values.items() if value is not None}
