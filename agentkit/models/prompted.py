"""Tool calling for models without it.

The tools and the choice become a system text and a JSON schema that the endpoint holds the reply to; the reply is read
back as tool calls. Whatever a server does with `tools`, it never sees them.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice, ToolSpec
from agentkit.core.choice import ToolChoice
from agentkit.core.http_request import HttpRequest
from agentkit.core.json import decode, decode_beginning, encode, list_of, object_of
from agentkit.core.messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.model import Model, OnChunk
from agentkit.models.wrapper import Wrapper

_TALK = "- {name}(answer): Talk with the user, such as greetings, thanks and small talk, or give the final answer."
_LONGEST_BEGINNING = 200


class Prompted(Wrapper):
    """A model whose tool calls are made by prompting another one, which need not know of tools.

    All four choices hold by construction: the reply's schema has a branch for each call that is allowed, and one for an
    answer if an answer is. The endpoint must support `response_format` with a JSON schema, as llama.cpp, vLLM and
    Ollama do. One call is made at a time.

    Args:
        model: The model to prompt.
        decide_first: Under `auto`, ask for the kind of action alone, and then for that action. It takes one short
            request more, and very small models choose better so.
    """

    __slots__ = ("_decide_first",)

    def __init__(self, model: Model, *, decide_first: bool = False) -> None:
        super().__init__(model)
        self._decide_first = decide_first

    def _options(self) -> list[str]:
        return ["decide_first=True"] if self._decide_first else []

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`."""
        if not request.tools:
            return await self._model.complete(_without_calls(request), on_chunk)
        talk = _talk(request.tools)
        if self._decides(request):
            decided = await self._model.complete(_decision(request, talk))
            reply = await self._ask(replace(request, tool_choice=_decided(decided, talk, request)), talk, on_chunk)
            return replace(reply, usage=(reply.usage or Usage(1)) + (decided.usage or Usage(1)))
        return await self._ask(request, talk, on_chunk)

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Show what would be sent for a request, the first of two where it decides first; see `Sends.sends`."""
        if not request.tools:
            return super().sends(_without_calls(request), streamed=streamed)
        talk = _talk(request.tools)
        if self._decides(request):
            return super().sends(_decision(request, talk))
        return super().sends(_action(request, talk), streamed=streamed)

    def _decides(self, request: ChatRequest) -> bool:
        return self._decide_first and request.tool_choice.mode == "auto"

    async def _ask(self, request: ChatRequest, talk: str, on_chunk: OnChunk | None) -> ChatResponse:
        listener = _AnswerStream(talk, on_chunk) if on_chunk else None
        reply = await self._model.complete(_action(request, talk), listener)
        number = sum(isinstance(each, AssistantMessage) for each in request.messages)
        choices = [_read(choice, talk, f"call_{number}_{at}") for at, choice in enumerate(reply.choices)]
        return replace(reply, choices=tuple(choices))


def _talk(tools: tuple[ToolSpec, ...]) -> str:
    """Name the action of answering, so that no tool has its name."""
    name = "chat"
    while any(each.name == name for each in tools):
        name += "_"
    return name


def _without_calls(request: ChatRequest) -> ChatRequest:
    return replace(request, messages=tuple(_plain(request.messages)))


def _decision(request: ChatRequest, talk: str) -> ChatRequest:
    """Ask for the name of an action alone."""
    names = [talk, *[each.name for each in request.tools]]
    return _prompt(request, talk, _closed({"action": {"enum": names, "type": "string"}}), decide=True)


def _action(request: ChatRequest, talk: str) -> ChatRequest:
    """Ask for an action."""
    return _prompt(request, talk, _actions(request, talk))


def _prompt(request: ChatRequest, talk: str, schema: dict[str, object], *, decide: bool = False) -> ChatRequest:
    return ChatRequest(
        tuple(_told(request, talk, decide=decide)),
        settings=request.settings,
        response_format={"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}},
    )


def _decided(reply: ChatResponse, talk: str, request: ChatRequest) -> ToolChoice:
    try:
        action = object_of(decode(reply.message.content or "")).get("action")
    except ValueError:
        return request.tool_choice
    if action == talk:
        return ToolChoice("none")
    meant = next((each.name for each in request.tools if each.name == action), None)
    return request.tool_choice if meant is None else ToolChoice("tool", meant)


def _actions(request: ChatRequest, talk: str) -> dict[str, object]:
    """The schema of a reply: a branch for each action that the choice allows."""
    choice, branches = request.tool_choice, list[object]()
    definitions: dict[str, object] = {}
    several = len([each for each in request.tools if "$defs" in each.parameters]) > 1
    if choice.mode in ("auto", "none"):
        branches.append(_closed({"action": {"const": talk}, "answer": {"type": "string", "minLength": 1}}))
    for each in request.tools:
        if choice.mode != "none" and choice.tool in (None, each.name):
            parameters = _own_definitions(each) if several else dict(each.parameters)
            definitions.update(object_of(parameters.pop("$defs", None)))
            branches.append(_closed({"action": {"const": each.name}, "arguments": parameters}))
    schema: dict[str, object] = {"anyOf": branches} if len(branches) > 1 else object_of(branches[0])
    return schema | ({"$defs": definitions} if definitions else {})


def _own_definitions(tool: ToolSpec) -> dict[str, object]:
    """Give a tool's schema in which its definitions have its name, for another tool may have others of that name."""
    text = encode(tool.parameters).replace(b'"#/$defs/', b'"#/$defs/' + tool.name.encode() + b".")
    parameters = object_of(decode(text))
    named = object_of(parameters.get("$defs"))
    return parameters | {"$defs": {f"{tool.name}.{name}": each for name, each in named.items()}}


def _closed(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _told(request: ChatRequest, talk: str, *, decide: bool) -> Iterator[Message]:
    """Tell the history so that a model without tools follows it. The system text is the same whatever the choice."""
    messages = list(request.messages)
    actions = [_TALK.format(name=talk), *[_signature(each) for each in request.tools]]
    text = "\n".join(["Reply in JSON with one of these actions:", *actions])
    if messages and isinstance(messages[0], SystemMessage | DeveloperMessage):
        text = f"{cast('SystemMessage', messages.pop(0)).content}\n\n{text}"
    yield SystemMessage(text)
    told = list(_plain(messages, talk))
    if request.tool_choice.mode == "auto" and messages and isinstance(messages[-1], ToolMessage):
        question = next((each for each in reversed(messages) if isinstance(each, UserMessage)), UserMessage(""))
        result = told.pop()
        action = f'{{"action": "{talk}", "answer": …}}'
        if messages[-1].outcome == "ok":
            yield from told
            reminder = "You have the result. Reply" if decide else "If this is enough, reply"
            asked = _text(question.content)
            yield UserMessage(f"{result.content}\n{reminder} with {action} to the question: {asked}")
            return
        told.append(result)
    yield from told


def _plain(messages: tuple[Message, ...] | list[Message], talk: str | None = None) -> Iterator[Message]:
    """Tell calls and their results in messages that every model takes."""
    names = {call.id: call.name for each in messages if isinstance(each, AssistantMessage) for call in each.tool_calls}
    for each in messages:
        match each:
            case AssistantMessage(tool_calls=[_, *_] as calls):
                for call in calls:
                    sent = object_of(call.to_dict()["function"])
                    yield AssistantMessage(f'{{"action": {_json(sent["name"])}, "arguments": {sent["arguments"]}}}')
            case AssistantMessage(content=str(text)) if talk is not None:
                yield AssistantMessage(f'{{"action": "{talk}", "answer": {_json(text)}}}')
            case ToolMessage():
                name = names.get(each.tool_call_id, "the tool")
                said = "Result of" if each.outcome == "ok" else "Failure of"
                yield UserMessage(f"{said} {name}: {each.content}")
            case _:
                yield each


def _text(content: Content) -> str:
    return (
        content if isinstance(content, str) else " ".join(each.text for each in content if isinstance(each, TextPart))
    )


def _json(value: object) -> str:
    return encode(value).decode()


def _signature(tool: ToolSpec) -> str:
    required = list_of(tool.parameters.get("required"))
    parameters = [
        f"{name}: {_type(object_of(each))}{'' if name in required else ' (optional)'}"
        for name, each in object_of(tool.parameters.get("properties")).items()
    ]
    return f"- {tool.name}({', '.join(parameters)}): {tool.description}"


def _type(schema: dict[str, object]) -> str:
    """Say a type in a word or two; the schema that the reply is held to has the rest."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return reference.rpartition("/")[2]
    if "enum" in schema or "const" in schema:
        return " or ".join(_json(each) for each in list_of(schema.get("enum")) or [schema.get("const")])
    branches = list_of(schema.get("anyOf")) or list_of(schema.get("oneOf"))
    if branches:
        return " or ".join(dict.fromkeys(_type(object_of(each)) for each in branches))
    if schema.get("type") == "array":
        return f"list of {_type(object_of(schema.get('items')))}"
    kind = schema.get("type", "any")
    return kind if isinstance(kind, str) else " or ".join(map(str, list_of(kind)))


def _read(choice: Choice, talk: str, call_id: str) -> Choice:
    """Read a reply back: a call, an answer, or, from an endpoint that ignores the schema, the text as it is."""
    text = choice.message.content or ""
    said, whole = _said(text)
    match said:
        case {"action": str(name)} if not whole and name != talk:
            # What stands there is no JSON object, so that the call is not run.
            return Choice(AssistantMessage(tool_calls=(ToolCall(call_id, name, text),)), choice.finish_reason)
        case {"action": str(name), "arguments": dict()} if name != talk:
            call = ToolCall(call_id, name, _json(said["arguments"]))
            return Choice(AssistantMessage(tool_calls=(call,)), "tool_calls")
        case {"answer": str(answer)}:
            return Choice(AssistantMessage(answer), choice.finish_reason)
        case _:
            return choice


def _said(text: str) -> tuple[dict[str, object], bool]:
    """Decode a reply, as far as it goes, and tell whether it is whole."""
    try:
        return object_of(decode(text)), True
    except ValueError:
        pass
    try:
        return object_of(decode_beginning(text)), False
    except ValueError:
        return {}, False


class _AnswerStream:
    """Hands on the text of the answer while its JSON is still being written; of a call it hands on nothing."""

    # The text up to the first escape that is not whole yet, or the closing quote.
    _WHOLE = re.compile(
        r'(?:[^"\\]|\\(?:["\\/bfnrt]|u(?!d[89ab])[0-9a-f]{4}|ud[89ab][0-9a-f]{2}\\u[0-9a-f]{4}))*', re.IGNORECASE
    )

    def __init__(self, talk: str, on_chunk: OnChunk) -> None:
        self._beginning = re.compile(rf'^\s*\{{\s*"action"\s*:\s*"{talk}"\s*,\s*"answer"\s*:\s*"')
        self._on_chunk = on_chunk
        self._pending = ""
        self._begun = False

    def __call__(self, chunk: ChatChunk) -> None:
        if not self._begun and len(self._pending) > _LONGEST_BEGINNING:
            return  # a call
        self._pending += chunk.text
        if not self._begun:
            begun = self._beginning.match(self._pending)
            if begun is None:
                return
            self._begun = True
            self._pending = self._pending[begun.end() :]
        if whole := cast("re.Match[str]", self._WHOLE.match(self._pending)).group():
            self._pending = self._pending[len(whole) :]
            text = decode(f'"{whole}"')
            self._on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": text}}]}))
