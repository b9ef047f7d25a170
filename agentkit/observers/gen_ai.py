"""Requests and replies as attributes by OpenTelemetry's semantic conventions for generative AI, version 1.41."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from agentkit.core.chat import ChatRequest, Choice
from agentkit.core.json import decode, encode
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
)
from agentkit.core.parts import AudioPart, Content, ImagePart, Media, TextPart
from agentkit.core.state import Step

Attributes: TypeAlias = dict[str, str | int | float | Sequence[str]]

_PORTS = {"http": 80, "https": 443}


def of_request(request: ChatRequest) -> Attributes:
    """Return the attributes of a request, without its messages."""
    settings = request.settings
    stop = (settings.stop,) if isinstance(settings.stop, str) else settings.stop
    return _without_none(
        {
            "gen_ai.request.temperature": _real(settings.temperature),
            "gen_ai.request.top_p": _real(settings.top_p),
            "gen_ai.request.presence_penalty": _real(settings.presence_penalty),
            "gen_ai.request.frequency_penalty": _real(settings.frequency_penalty),
            "gen_ai.request.max_tokens": settings.max_tokens,
            "gen_ai.request.stop_sequences": stop,
            "gen_ai.request.choice.count": None if settings.n == 1 else settings.n,
            "gen_ai.request.seed": settings.seed,
            "gen_ai.output.type": None if request.response_format is None else "json",
        }
    )


def of_step(step: Step) -> Attributes:
    """Return the attributes of a reply, without its content."""
    reply = step.reply
    reasons = [choice.finish_reason or "" for choice in _choices(step)]
    attributes: dict[str, str | int | Sequence[str] | None] = {
        "gen_ai.response.finish_reasons": reasons if any(reasons) else None
    }
    if reply is not None:
        attributes |= {"gen_ai.response.id": reply.id, "gen_ai.response.model": reply.model}
        if reply.sent is not None:
            url = urlsplit(reply.sent.url)
            attributes |= {"server.address": url.hostname, "server.port": url.port or _PORTS.get(url.scheme)}
    return _without_none(attributes) | of_usage(step.usage)


def of_usage(usage: Usage) -> Attributes:
    return _without_none(
        {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        }
    )


def input_of(request: ChatRequest) -> Attributes:
    """Return the messages of a request, with the system prompt among them, as they are sent."""
    return {"gen_ai.input.messages": _json([_message_of(message) for message in request.messages])}


def tools_of(request: ChatRequest) -> Attributes:
    """Return the definitions of the offered tools."""
    tools = [
        {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}
        for tool in request.tools
    ]
    return {"gen_ai.tool.definitions": _json(tools)} if tools else {}


def agent_input_of(request: ChatRequest) -> Attributes:
    """Return the messages of an agent's first request, with the system prompt in an attribute of its own."""
    match request.messages:
        case (SystemMessage() | DeveloperMessage() as first, *rest):
            messages = _json([_message_of(message) for message in rest])
            return {"gen_ai.system_instructions": _json([_text_part(first.content)]), "gen_ai.input.messages": messages}
        case _:
            return input_of(request)


def output_of(step: Step) -> Attributes:
    answers: list[dict[str, object]] = []
    for choice in _choices(step):
        reason = "tool_call" if choice.finish_reason == "tool_calls" else choice.finish_reason or ""
        answers.append(_message_of(choice.message) | {"finish_reason": reason})
    return {"gen_ai.output.messages": _json(answers)}


def _choices(step: Step) -> tuple[Choice, ...]:
    return (Choice(step.message, step.finish_reason),) if step.reply is None else step.reply.choices


def _message_of(message: Message) -> dict[str, object]:
    match message:
        case AssistantMessage():
            parts = [*_content_parts(message.content or ""), *map(_call_part, message.tool_calls)]
            if message.reasoning:
                parts.insert(0, {"type": "reasoning", "content": message.reasoning})
            if message.refusal:
                parts.append({"type": "refusal", "content": message.refusal})
            role = "assistant"
        case ToolMessage():
            role, response = "tool", message.content
            parts = [{"type": "tool_call_response", "id": message.tool_call_id, "response": response}]
        case _:
            role, parts = str(message.to_dict()["role"]), _content_parts(message.content)
    return {"role": role, "parts": parts}


def _content_parts(content: Content) -> list[dict[str, object]]:
    if isinstance(content, str):
        return [_text_part(content)] if content else []
    return [_text_part(part.text) if isinstance(part, TextPart) else _media_part(part) for part in content]


def _text_part(text: str) -> dict[str, object]:
    return {"type": "text", "content": text}


def _media_part(part: Media) -> dict[str, object]:
    match part:
        case ImagePart():
            return _image_part(part)
        case AudioPart():
            return {"type": "blob", "modality": "audio", "mime_type": f"audio/{part.format}", "content": part.data}
        case _:
            kind, _, data = (part.file_data or "").removeprefix("data:").partition(";base64,")
            if not data:
                return {"type": "file", "modality": "document", "file_id": part.file_id}
            return {"type": "blob", "modality": "document", "mime_type": kind, "content": data}


def _image_part(image: ImagePart) -> dict[str, object]:
    if not image.url.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": image.url}
    kind, _, data = image.url.removeprefix("data:").partition(",")
    return {"type": "blob", "modality": "image", "mime_type": kind.partition(";")[0], "content": data}


def _call_part(call: ToolCall) -> dict[str, object]:
    try:
        arguments = decode(call.arguments)
    except ValueError:
        arguments = call.arguments
    return {"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments}


def _json(value: object) -> str:
    return encode(value).decode()


def _real(number: float | None) -> float | None:
    return None if number is None else float(number)


def _without_none(values: Mapping[str, str | int | float | Sequence[str] | None]) -> Attributes:
    return {name: value for name, value in values.items() if value is not None}
