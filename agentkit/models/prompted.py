"""Tool calling by prompting, for models and servers without native tool calling.

The tools become part of the system prompt, and the tool choice a JSON schema that the endpoint holds the reply to. The
reply is parsed back into tool calls. The server never sees `tools`, so it does not matter how it treats them.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import cast

from agentkit.core.chat import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Choice,
    Settings,
    StreamedText,
    ToolSpec,
    first_choice,
)
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import ModelError
from agentkit.core.http_request import HttpRequest
from agentkit.core.json import decode, decode_beginning, encode, object_of
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.model import Model, OnChunk, restart
from agentkit.models.described import described
from agentkit.models.small import Mentioned, asks_for_call, narrowed, with_example
from agentkit.models.wrapper import Wrapper, plain_text, text_chunk, tool_names

_TALK = "- {name}(answer): Talk with the user, such as greetings, thanks and small talk, or give the final answer."
_LONGEST_BEGINNING = 200
_ENVELOPE = '{"action":"'
# Some models put the JSON into a fence of code.
_FENCES = re.compile(r"\A\s*`{1,3}(?:json)?(?:\s|\Z)|\s*`{1,3}\s*\Z")


class Prompted(Wrapper):
    """A model whose tool calls are made by prompting another one, which needs no native tool calling.

    The reply's JSON schema has a branch per allowed call, and one for an answer if an answer is allowed. So all
    four tool choices hold by construction. The endpoint must support `response_format` with a JSON schema, as
    llama.cpp, vLLM and Ollama do. One call is made at a time.

    Args:
        model: The model to prompt.
        small: For a very small model, below about a billion parameters. Under `auto`, it is first asked for the kind of
            action alone, in one more short request, unless the question shares two words with a tool. It gets fewer
            tools, an example of a call, and arguments that are copied from the conversation; `agentkit.models.small`
            says how. That suits tools that look things up: what must be computed or written anew cannot be copied.
    """

    __slots__ = ("_small",)

    def __init__(self, model: Model, *, small: bool = False) -> None:
        super().__init__(model)
        self._small = small

    def _options(self) -> list[str]:
        return ["small=True"] if self._small else []

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Answer a request; see `Model.complete`."""
        if not request.tools:
            return await self._model.complete(_without_calls(request), on_chunk)
        talk, request = _talk_action(request.tools), self._settled(request)
        if not self._decides(request):
            return await self._ask(narrowed(request) if self._small else request, talk, on_chunk)
        with _decoded_errors(talk):
            decision = await self._model.complete(_decision_request(request, talk))
        with _costs(decision) as cost:
            reply = await self._ask(_decided(decision, talk, request), talk, on_chunk)
        return replace(reply, usage=cost + (reply.usage or Usage(1)))

    def sends(self, request: ChatRequest, *, streamed: bool = False) -> HttpRequest:
        """Return what would be sent for a request, the first of two with `small`; see `Sends.sends`."""
        if not request.tools:
            return super().sends(_without_calls(request), streamed=streamed)
        talk, request = _talk_action(request.tools), self._settled(request)
        if self._decides(request):
            return super().sends(_decision_request(request, talk))
        request = narrowed(request) if self._small else request
        mentioned = self._mentioned(request)
        allowed = None if mentioned is None else mentioned.restricted(request.tools)
        return super().sends(_action_request(request, talk, allowed), streamed=streamed)

    def _settled(self, request: ChatRequest) -> ChatRequest:
        """Return the request, which must become a call if its question leaves little doubt about that."""
        is_certain = self._decides(request) and asks_for_call(request)
        return replace(request, tool_choice=ToolChoice("required")) if is_certain else request

    def _decides(self, request: ChatRequest) -> bool:
        return self._small and request.tool_choice.mode == "auto"

    def _mentioned(self, request: ChatRequest) -> Mentioned | None:
        return Mentioned.by(request.messages) if self._small else None

    async def _ask(self, request: ChatRequest, talk: str, on_chunk: OnChunk | None) -> ChatResponse:
        mentioned = self._mentioned(request)
        reply = await self._ask_once(request, talk, on_chunk, mentioned)
        again = mentioned and len(reply.choices) == 1 and mentioned.repeated(reply.message, request.tools)
        if not again:
            return reply
        request = replace(request, tools=(again,), tool_choice=ToolChoice("tool", again.name))
        cost = reply.usage or Usage(1)
        try:
            better = await self._ask_once(request, talk, None, None)
        except ModelError as error:
            return replace(reply, usage=cost + (error.usage or Usage()))
        whole = better if better.finish_reason == "tool_calls" else reply
        return replace(whole, usage=cost + (better.usage or Usage(1)))

    async def _ask_once(
        self, request: ChatRequest, talk: str, on_chunk: OnChunk | None, mentioned: Mentioned | None
    ) -> ChatResponse:
        stops = _stops_of(request.settings)
        stream = _AnswerStream(talk, on_chunk, stops) if on_chunk else None
        allowed = None if mentioned is None else mentioned.restricted(request.tools)
        with _decoded_errors(talk, stops, stream):
            reply = await self._model.complete(_action_request(request, talk, allowed), stream)
        if stream is not None:
            stream.release()
        turn = sum(isinstance(message, AssistantMessage) for message in request.messages)
        choices = [_parse_reply(choice, talk, f"call_{turn}_{at}", stops) for at, choice in enumerate(reply.choices)]
        if mentioned is not None and allowed is not None:
            messages = [mentioned.without_guesses(choice.message, allowed) for choice in choices]
            choices = [replace(choice, message=message) for choice, message in zip(choices, messages, strict=True)]
        return replace(reply, choices=tuple(choices))


def _talk_action(tools: tuple[ToolSpec, ...]) -> str:
    """Return a name for the action of answering that no tool has."""
    name = "chat"
    while any(tool.name == name for tool in tools):
        name += "_"
    return name


def _without_calls(request: ChatRequest) -> ChatRequest:
    return replace(request, messages=tuple(_calls_as_text(request.messages)))


def _stops_of(settings: Settings) -> tuple[str, ...]:
    stop = settings.stop or ()
    return tuple(filter(None, (stop,) if isinstance(stop, str) else stop))


def _decision_request(request: ChatRequest, talk: str) -> ChatRequest:
    names = [talk, *[tool.name for tool in request.tools]]
    schema = _closed_object({"action": {"enum": names, "type": "string"}})
    return _prompt(request, talk, schema, replace(request.settings, stop=None, max_tokens=None, n=None), decide=True)


def _action_request(request: ChatRequest, talk: str, allowed: tuple[ToolSpec, ...] | None) -> ChatRequest:
    """Return the request for an action, with an example if arguments are restricted to what these tools allow.

    The endpoint would stop inside its JSON, so it gets no `stop`.
    """
    schema = _action_schema(request if allowed is None else replace(request, tools=allowed), talk)
    if allowed is not None and request.tool_choice.mode in ("required", "tool"):
        request = replace(request, messages=with_example(request.messages))
    return _prompt(request, talk, schema, replace(request.settings, stop=None))


def _prompt(
    request: ChatRequest, talk: str, schema: dict[str, object], settings: Settings, *, decide: bool = False
) -> ChatRequest:
    return ChatRequest(
        tuple(_prompt_messages(request, talk, decide=decide)),
        settings=settings,
        response_format={"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}},
    )


def _decided(reply: ChatResponse, talk: str, request: ChatRequest) -> ChatRequest:
    """Return the request for what the model decided: an answer, or a call of the tool that fits."""
    try:
        action = object_of(decode(reply.message.content or "")).get("action")
    except ValueError:
        action = None
    if action == talk:
        return replace(request, tool_choice=ToolChoice("none"))
    fitting = narrowed(request)
    if action in [tool.name for tool in fitting.tools]:
        return replace(fitting, tool_choice=ToolChoice("tool", str(action)))
    is_call = any(tool.name == action for tool in request.tools)
    return replace(fitting, tool_choice=ToolChoice("required")) if is_call else fitting


def _action_schema(request: ChatRequest, talk: str) -> dict[str, object]:
    """Return the schema of a reply: a branch per action that the tool choice allows."""
    choice, branches = request.tool_choice, list[object]()
    definitions: dict[str, object] = {}
    several = len([tool for tool in request.tools if "$defs" in tool.parameters]) > 1
    if choice.mode in ("auto", "none"):
        branches.append(_closed_object({"action": {"const": talk}, "answer": {"type": "string", "minLength": 1}}))
    for tool in request.tools:
        if choice.mode != "none" and choice.tool in (None, tool.name):
            parameters = _with_qualified_definitions(tool) if several else dict(tool.parameters)
            definitions.update(object_of(parameters.pop("$defs", None)))
            branches.append(_closed_object({"action": {"const": tool.name}, "arguments": parameters}))
    schema: dict[str, object] = {"anyOf": branches} if len(branches) > 1 else object_of(branches[0])
    return schema | ({"$defs": definitions} if definitions else {})


def _with_qualified_definitions(tool: ToolSpec) -> dict[str, object]:
    """Return a tool's schema with its name before each definition's: two tools may define different things alike."""
    text = encode(tool.parameters).replace(b'"#/$defs/', b'"#/$defs/' + tool.name.encode() + b".")
    parameters = object_of(decode(text))
    definitions = object_of(parameters.get("$defs"))
    return parameters | {"$defs": {f"{tool.name}.{name}": schema for name, schema in definitions.items()}}


def _closed_object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _prompt_messages(request: ChatRequest, talk: str, *, decide: bool) -> Iterator[Message]:
    """Yield the history as a model without tools can follow it. The system prompt is the same for every tool choice.

    After a result under `auto`, the user's question is repeated: small models forget it.
    """
    messages = list(request.messages)
    actions = [_TALK.format(name=talk), *map(described, request.tools)]
    text = "\n".join(["Reply in JSON with one of these actions:", *actions])
    if messages and isinstance(messages[0], SystemMessage | DeveloperMessage):
        text = f"{cast('SystemMessage', messages.pop(0)).content}\n\n{text}"
    yield SystemMessage(text)
    history = list(_calls_as_text(messages, talk))
    last = messages[-1] if messages else None
    if request.tool_choice.mode != "auto" or not isinstance(last, ToolMessage) or last.outcome != "ok":
        yield from history
        return
    question = next((message for message in reversed(messages) if isinstance(message, UserMessage)), UserMessage(""))
    reminder = "You have the result. Reply" if decide else "If this is enough, reply"
    action = f'{{"action": "{talk}", "answer": …}}'
    yield from history[:-1]
    asked = plain_text(question.content)
    yield UserMessage(f"{history[-1].content}\n{reminder} with {action} to the question: {asked}")


def _calls_as_text(messages: Sequence[Message], talk: str | None = None) -> Iterator[Message]:
    """Yield the messages with calls and results as text; with `talk`, also answers as that action."""
    names = tool_names(messages)
    for message in messages:
        match message:
            case AssistantMessage(tool_calls=[_, *_] as calls):
                for call in calls:
                    sent = object_of(call.to_dict()["function"])
                    yield AssistantMessage(f'{{"action": {_json(sent["name"])}, "arguments": {sent["arguments"]}}}')
            case AssistantMessage(content=str(text)) if talk is not None:
                yield AssistantMessage(f'{{"action": "{talk}", "answer": {_json(text)}}}')
            case ToolMessage():
                name = names.get(message.tool_call_id, "the tool")
                outcome = "Result" if message.outcome == "ok" else "Failure"
                yield UserMessage(f"{outcome} of {name}: {message.content}")
            case _:
                yield message


def _json(value: object) -> str:
    return encode(value).decode()


def _parse_reply(choice: Choice, talk: str, call_id: str, stops: tuple[str, ...] = ()) -> Choice:
    """Return the call or the answer that a reply encodes; of an endpoint that ignored the schema, the text as it is."""
    text = choice.message.content or ""
    data, whole = _decode_reply(text)
    cut = choice.finish_reason if choice.finish_reason not in (None, "stop") else "length"
    match data:
        case {"action": str(name)} if not whole and ("arguments" in data or not talk.startswith(name)):
            # The arguments are not whole JSON, so this call does not run.
            return Choice(AssistantMessage(tool_calls=(ToolCall(call_id, name, text),)), cut)
        case {"action": str(name), "arguments": dict()} if name != talk:
            call = ToolCall(call_id, name, _json(data["arguments"]))
            return Choice(AssistantMessage(tool_calls=(call,)), "tool_calls")
        case {"answer": str(answer)}:
            return _stopped(Choice(AssistantMessage(answer), choice.finish_reason if whole else cut), stops)
        case _ if not whole and _begins_envelope(text):
            return Choice(AssistantMessage(""), cut)
        case _:
            return _stopped(choice, stops)


def _stopped(choice: Choice, stops: tuple[str, ...]) -> Choice:
    text = choice.message.content or ""
    if (end := _first_stop(text, stops)) is None:
        return choice
    return replace(choice, message=replace(choice.message, content=text[:end]), finish_reason="stop")


def _begins_envelope(text: str) -> bool:
    """Whether a text is the beginning of a reply's JSON, before the answer or the arguments."""
    beginning = "".join(_FENCES.sub("", text).split())[: len(_ENVELOPE)]
    return bool(text.strip()) and _ENVELOPE.startswith(beginning)


def _first_stop(text: str, stops: tuple[str, ...]) -> int | None:
    return min([at for stop in stops if (at := text.find(stop)) >= 0], default=None)


@contextmanager
def _costs(reply: ChatResponse) -> Generator[Usage]:
    """Yield what a reply has cost, which an error of the request after it costs too."""
    cost = reply.usage or Usage(1)
    try:
        yield cost
    except ModelError as error:
        error.usage = cost + (error.usage or Usage())
        raise


@contextmanager
def _decoded_errors(talk: str, stops: tuple[str, ...] = (), stream: "_AnswerStream | None" = None) -> Generator[None]:
    """Put the answer into errors that have the beginning of the reply's JSON as their text."""
    try:
        yield
    except ModelError as error:
        error.text = _parse_reply(Choice(AssistantMessage(error.text)), talk, "", stops).message.content or ""
        if stream is not None and stream.streamed:
            stream.release()
        raise


def _decode_reply(text: str) -> tuple[dict[str, object], bool]:
    """Decode a reply as far as it goes, and return whether it is whole."""
    for decoder, whole in ((decode, True), (decode_beginning, False)):
        with suppress(ValueError):
            return object_of(decoder(_FENCES.sub("", text))), whole
    return {}, False


class _AnswerStream:
    """Streams the answer's text while its JSON is still being written; nothing of a call."""

    # The text up to the closing quote, or to the first escape that is not whole yet.
    _WHOLE = re.compile(
        r'(?:[^"\\]|\\(?:["\\/bfnrt]|u(?!d[89ab])[0-9a-f]{4}|ud[89ab][0-9a-f]{2}\\u[0-9a-f]{4}))*', re.IGNORECASE
    )

    def __init__(self, talk: str, on_chunk: OnChunk, stops: tuple[str, ...] = ()) -> None:
        self._beginning = re.compile(rf'^\s*(?:```(?:json)?\s+)?\{{\s*"action"\s*:\s*"{talk}"\s*,\s*"answer"\s*:\s*"')
        self._on_chunk = on_chunk
        self._stops = stops
        self._reset()

    def _reset(self) -> None:
        self._pending = self._held = ""  # JSON that is not decoded yet, and text that may be the beginning of a stop
        self._text = StreamedText()
        self._begun = self._stopped = self.streamed = False

    def restart(self) -> bool:
        """Begin again, if nothing was passed on; see `restart` in `agentkit.core.model`."""
        if self.streamed and not restart(self._on_chunk):
            return False
        self._reset()
        return True

    def __call__(self, chunk: ChatChunk) -> None:
        if self._stopped or (not self._begun and len(self._pending) > _LONGEST_BEGINNING):
            return  # the answer is over, or it is a call
        self._pending += self._text.add(first_choice(chunk))
        if not self._begun:
            if (beginning := self._beginning.match(self._pending)) is None:
                return
            self._begun = True
            self._pending = self._pending[beginning.end() :]
        if whole := cast("re.Match[str]", self._WHOLE.match(self._pending)).group():
            self._pending = self._pending[len(whole) :]
            self._held += str(decode(f'"{whole}"'))
            end = _first_stop(self._held, self._stops)
            self._stopped = end is not None
            self._send(len(self._held) - self._undecided() if end is None else end)

    def release(self) -> None:
        """Stream what was held back: no stop came."""
        if not self._stopped:
            self._send(len(self._held))

    def _undecided(self) -> int:
        """Return how many characters at the end may be the beginning of a stop."""
        sizes = [size for stop in self._stops for size in range(1, len(stop)) if self._held.endswith(stop[:size])]
        return max(sizes, default=0)

    def _send(self, end: int) -> None:
        text, self._held = self._held[:end], self._held[end:]
        if text:
            self.streamed = True
            self._on_chunk(text_chunk(text))
