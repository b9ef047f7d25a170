"""Tool calling for models without it.

The tools and the choice become a system text and a JSON schema that the endpoint holds the reply to; the reply is read
back as tool calls. Whatever a server does with `tools`, it never sees them.
"""

import re
from collections.abc import Iterable
from typing import Any, cast

from agentkit._json import decode, encode, object_of
from agentkit.choice import ToolChoice
from agentkit.errors import MalformedReply
from agentkit.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from agentkit.model import Model, OnChunk
from agentkit.wire import ChatChunk, ChatRequest, ChatResponse, Choice, ToolSpec


class Prompted:
    """A model whose tool calls are made by prompting another one, which need not know of tools.

    All four choices hold by construction: the reply's schema has a branch for each call that is allowed, and one for an
    answer if an answer is. The endpoint must support `response_format` with a JSON schema; llama.cpp, vLLM, Ollama and
    most hosted endpoints do. One call is made at a time.

    Args:
        model: The model to prompt.
    """

    __slots__ = ("_model",)

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """The name of the model that is prompted."""
        return self._model.name

    def __repr__(self) -> str:
        return f"Prompted({self._model!r})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`."""
        tools = offered(request.tools, request.tool_choice)
        prompted = ChatRequest(
            (*_instructed(request, tools),),
            settings=request.settings,
            response_format=_format(tools, answer=request.tool_choice.mode in ("auto", "none"))
            if request.tools and tools
            else request.response_format,
        )
        if not tools:
            return await self._model.complete(prompted, on_chunk)
        listener = _AnswerStream(on_chunk) if on_chunk else None
        reply = await self._model.complete(prompted, listener)
        number = sum(isinstance(each, AssistantMessage) for each in request.messages)
        return ChatResponse(
            tuple(_read(choice, f"call_{number}_{at}") for at, choice in enumerate(reply.choices)),
            reply.usage,
            reply.id,
            reply.model,
            reply.extra,
        )


class _AnswerStream:
    """Hands on the text of the answer while its JSON is still being written; of a call it hands on nothing."""

    _BEGINNING = re.compile(r'^\s*\{\s*"answer"\s*:\s*"')
    _WHOLE = re.compile(
        r'(?:[^"\\]|\\(?:["\\/bfnrt]|u(?!d[89ab])[0-9a-f]{4}|ud[89ab][0-9a-f]{2}\\u[0-9a-f]{4}))*', re.IGNORECASE
    )

    def __init__(self, on_chunk: OnChunk) -> None:
        self._on_chunk = on_chunk
        self._pending = ""
        self._begun = False

    def __call__(self, chunk: ChatChunk) -> None:
        self._pending += chunk.text
        if not self._begun:
            begun = self._BEGINNING.match(self._pending)
            if begun is None:
                return
            self._begun = True
            self._pending = self._pending[begun.end() :]
        if whole := cast("re.Match[str]", self._WHOLE.match(self._pending)).group():
            self._pending = self._pending[len(whole) :]
            self._on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": decode(f'"{whole}"')}}]}))


def offered(tools: tuple[ToolSpec, ...], choice: ToolChoice) -> tuple[ToolSpec, ...]:
    """Give the tools that a choice lets the model call."""
    if choice.mode == "none":
        return ()
    return tuple([each for each in tools if choice.mode != "tool" or each.name == choice.tool])


def _instructed(request: ChatRequest, tools: tuple[ToolSpec, ...]) -> Iterable[Message]:
    text = _instructions(tools, request.tool_choice) if tools else ""
    messages = list(request.messages)
    if messages and isinstance(messages[0], SystemMessage | DeveloperMessage):
        text = f"{messages.pop(0).content}\n\n{text}".strip()
    names = {call.id: call.name for each in messages if isinstance(each, AssistantMessage) for call in each.tool_calls}
    if text:
        yield SystemMessage(text)
    for each in messages:
        match each:
            case AssistantMessage(tool_calls=[_, *_] as calls):
                for call in calls:
                    yield AssistantMessage(_written(call))
            case ToolMessage():
                yield UserMessage(f"Result of {names.get(each.tool_call_id, 'the tool')}: {each.content}")
            case _:
                yield each


def _instructions(tools: tuple[ToolSpec, ...], choice: ToolChoice) -> str:
    lines = ["You can call these tools:"]
    for each in tools:
        lines.append(f"- {each.name}: {each.description} Arguments: {encode(each.parameters).decode()}")
    if choice.mode == "auto":
        lines.append(
            'Reply in JSON: call a tool with {"tool": …, "arguments": …} or, once you know enough, answer with {"answer": …}.'
        )
    else:
        lines.append('Reply in JSON: call a tool with {"tool": …, "arguments": …}.')
    return "\n".join(lines)


def _written(call: ToolCall) -> str:
    return f'{{"tool": {encode(call.name).decode()}, "arguments": {call.arguments}}}'


def _format(tools: tuple[ToolSpec, ...], *, answer: bool) -> dict[str, object]:
    branches: list[object] = []
    definitions: dict[str, object] = {}
    for each in tools:
        parameters = dict(each.parameters)
        definitions.update(cast("dict[str, object]", parameters.pop("$defs", {})))
        branches.append(_closed({"tool": {"const": each.name}, "arguments": parameters}))
    if answer:
        branches.append(_closed({"answer": {"type": "string"}}))
    schema: dict[str, Any] = {"anyOf": branches} if len(branches) > 1 else cast("dict[str, Any]", branches[0])
    if definitions:
        schema["$defs"] = definitions
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}}


def _closed(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _read(choice: Choice, call_id: str) -> Choice:
    """Read a reply back: a call, an answer, or, from an endpoint that ignores the schema, the text as it is."""
    text = choice.message.content or ""
    try:
        said = decode(text)
    except ValueError:
        if choice.finish_reason == "length" and text.lstrip().startswith("{"):
            raise MalformedReply(
                "the reply was cut by its length before it was whole; allow more max_tokens", text[:2000]
            ) from None
        return choice
    match said:
        case {"tool": str(name), "arguments": dict()}:
            call = ToolCall(call_id, name, encode(object_of(said)["arguments"]).decode())
            return Choice(AssistantMessage(tool_calls=(call,)), "tool_calls")
        case {"answer": str(answer)}:
            return Choice(AssistantMessage(answer), choice.finish_reason)
        case _:
            return choice
