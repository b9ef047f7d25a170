"""What named providers refuse, in their own words: one function for each, from a request to the words or nothing."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from agentkit.models.client import profiles
from agentkit.models.client.profile import Profile
from agentkit.testing import Raw
from tests.endpoint import Json, fault_in, text

Refusal = Callable[[Json], str | None]

_STANDARD = {
    **{role: {"role", "content", "name"} for role in ("system", "developer", "user")},
    "assistant": {"role", "content", "name", "refusal", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}
_GEMINI = {
    *("type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required"),
    *("minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "propertyOrdering", "default"),
    *("items", "minimum", "maximum"),
}


def strictly(refusal: Refusal, status: int = 400, reply: Json | None = None) -> Callable[[Json], Json | Raw]:
    """A reply for `serving`: what the provider says when it refuses, else an answer."""

    def answer(request: Json) -> Json | Raw:
        if words := refusal(request):
            body = json.dumps({"error": {"message": words, "type": "invalid_request_error"}}).encode()
            return Raw([body], status=status, headers={"content-type": "application/json"})
        return reply or text("ok")

    return answer


def calls_of(message: Json) -> list[Any]:
    return message.get("tool_calls") or []


def _functions(request: Json) -> list[Json]:
    return [tool["function"] for tool in request.get("tools", [])]


def _unknown_fields(request: Json, more: Json | None = None) -> Iterator[tuple[int, str, str]]:
    for at, message in enumerate(request["messages"]):
        known = _STANDARD[message["role"]] | set((more or {}).get(message["role"], ()))
        for field in message.keys() - known:
            yield at, message["role"], field
        for call in calls_of(message):
            for field in call.keys() - {"id", "type", "function"} - set((more or {}).get("call", ())):
                yield at, message["role"], f"tool_calls.{field}"


def _first(faults: Callable[[Json], Iterator[str]]) -> Refusal:
    """A provider says one fault, the first."""
    return lambda request: next(faults(request), None)


def _calls(request: Json) -> Iterator[tuple[int, Json]]:
    for at, message in enumerate(request["messages"]):
        for call in calls_of(message):
            yield at, call


def _long_ids(request: Json) -> Iterator[str]:
    for at, call in _calls(request):
        if len(call["id"]) > 40:
            yield f"Invalid 'messages[{at}].tool_calls[0].id': string too long. Expected a maximum length 40."


def _many_tools(request: Json) -> Iterator[str]:
    if (number := len(request.get("tools", []))) > 128:
        yield f"Invalid 'tools': array too long. Expected an array with maximum length 128, but got {number}."


def _odd_names(request: Json) -> Iterator[str]:
    for function in [*_functions(request), *[call["function"] for _, call in _calls(request)]]:
        if not re.fullmatch("[a-zA-Z0-9_-]{1,64}", function["name"]):
            yield f"Invalid name {function['name']!r}: string does not match pattern '^[a-zA-Z0-9_-]+$'."


def _is_forced(request: Json) -> bool:
    choice: Any = request.get("tool_choice")
    return choice not in (None, "none", "auto")


def _thinks(request: Json) -> bool:
    """Whether a request leaves thinking on, at an endpoint whose models think by default."""
    return request.get("thinking", {}).get("type") != "disabled" and request.get("enable_thinking") is not False


@_first
def refusal_of_openai(request: Json) -> Iterator[str]:
    if words := fault_in(request["messages"]):
        yield f"An assistant message with 'tool_calls' must be followed by tool messages: {words}"
    for at, _, field in _unknown_fields(request):
        yield f"Additional properties are not allowed ('{field}' was unexpected) - 'messages.{at}'"
    if "parallel_tool_calls" in request and (request["model"] == "o3" or not request.get("tools")):
        yield "Unsupported parameter: 'parallel_tool_calls' is not supported with this model."
    yield from _many_tools(request)
    for function in _functions(request):
        if len(function.get("description", "")) > 1024:
            yield "Invalid 'tools[0].function.description': string too long. Expected a maximum length 1024."
    if "max_tokens" in request:
        yield "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
    yield from _long_ids(request)
    yield from _odd_names(request)
    for at, message in enumerate(request["messages"]):
        if message["content"] is None and not calls_of(message) and not message.get("refusal"):
            yield f"Invalid value for 'content': expected a string, got null. messages.{at}"


@_first
def refusal_of_vllm(request: Json) -> Iterator[str]:
    """A server that reads the arguments of old calls, and wants each `content` to be there."""
    for at, message in enumerate(request["messages"]):
        if "content" not in message:
            yield f"Field required: messages.{at}.content"
    for _, call in _calls(request):
        try:
            json.loads(call["function"]["arguments"])
        except ValueError as error:
            yield str(error)


def _faults_of_schema(schema: Any, where: str = "parameters") -> Iterator[str]:
    for keyword in schema.keys() - _GEMINI:
        yield f"Invalid JSON payload received. Unknown name \"{keyword}\" at '{where}': Cannot find field."
    kind = schema.get("type")
    if kind not in ("string", "integer", "number", "boolean", "array", "object"):
        yield f"Invalid value at '{where}.type' (TYPE_ENUM), {kind!r}"
    for value in schema.get("enum", []):
        if kind != "string" or not isinstance(value, str):
            yield f"Invalid value at '{where}.enum[0]' (TYPE_STRING), {value!r}: only allowed for STRING type"
        if not value:
            yield f"{where}.enum[0]: cannot be empty"
    if schema.get("format", "date-time") != "date-time":
        yield f"{where}.format: only 'enum' and 'date-time' are supported for STRING type"
    yield from _faults_of_place(schema, where)
    inside = [*schema.get("properties", {}).items(), *([("items", schema["items"])] if "items" in schema else [])]
    for name, part in inside:
        yield from _faults_of_schema(part, f"{where}.{name}")


def _faults_of_place(schema: Json, where: str) -> Iterator[str]:
    """Keywords that have no place beside the type."""
    if schema.get("type") != "object" and {"properties", "required"} & schema.keys():
        yield f"{where}.properties: only allowed for OBJECT type"
    if not schema.get("properties", True):
        yield f"{where}.properties: should be non-empty for OBJECT type"
    if set(schema.get("required", [])) - schema.get("properties", {}).keys():
        yield f"{where}.required[0]: property is not defined"
    if (schema.get("type") == "array") != ("items" in schema):
        yield f"{where}.items: missing field."


refusal_of_gemini_schema = _first(_faults_of_schema)
"""What Gemini refuses in the schema of a function."""


def _gemini_messages(request: Json) -> Iterator[str]:
    for at, message in enumerate(request["messages"]):
        if message["role"] == "developer":
            yield "Please use a valid role: user, model."
        if message.get("refusal", "") is None:
            yield "Value is not a string: null"
        if message["role"] == "tool" and not message.get("name"):
            yield f"GenerateContentRequest.contents[{at}].parts[0].function_response.name: Name cannot be empty."


@_first
def refusal_of_gemini(request: Json) -> Iterator[str]:
    if "stream_options" in request:
        yield "Invalid JSON payload received. Unknown name \"stream_options\" at 'generation_config': Cannot find field."
    more = {"assistant": ["extra_content"], "call": ["extra_content"], "tool": ["name"]}
    for _, _, field in _unknown_fields(request, more):
        yield f'Invalid JSON payload received. Unknown name "{field}": Cannot find field.'
    for function in _functions(request):
        if function.get("strict"):
            yield 'Invalid JSON payload received. Unknown name "strict": Cannot find field.'
        if "parameters" in function:
            if not function["parameters"].get("properties"):
                yield "parameters.properties: should be non-empty for OBJECT type"
            yield from _faults_of_schema(function["parameters"])
    yield from _gemini_messages(request)
    yield from _missing_signatures(request["messages"])


def _missing_signatures(messages: list[Json]) -> Iterator[str]:
    """Of the calls since the user last spoke, the first of each message must have its signature."""
    turn = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=0)
    for call in [calls_of(message)[0] for message in messages[turn:] if calls_of(message)]:
        if "thought_signature" not in call.get("extra_content", {}).get("google", {}):
            yield "Function call is missing a thought_signature in functionCall parts."


@_first
def refusal_of_deepseek(request: Json) -> Iterator[str]:
    """DeepSeek in its thinking mode."""
    for at, message in enumerate(request["messages"]):
        if message["role"] == "developer":
            yield f"messages[{at}].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`"
        if message["role"] == "assistant" and not message.get("reasoning_content"):
            yield "The `reasoning_content` in the thinking mode must be passed back to the API."
    if _is_forced(request) and _thinks(request):
        yield "Thinking mode does not support this tool_choice"


@_first
def refusal_of_mistral(request: Json) -> Iterator[str]:
    for field in request.keys() & {"stream_options", "max_completion_tokens"}:
        yield f'{{"type":"extra_forbidden","loc":["body","{field}"],"msg":"Extra inputs are not permitted"}}'
    known = {role: fields - {"name", "refusal"} for role, fields in _STANDARD.items()} | {"developer": set[str]()}
    before = ""
    for at, message in enumerate(request["messages"]):
        role = message["role"]
        for field in message.keys() - known[role]:
            yield f'{{"type":"extra_forbidden","loc":["body","messages",{at},"{role}","{field}"]}}'
        if before == "tool" and role not in ("tool", "assistant"):
            yield f"Unexpected role '{role}' after role 'tool'"
        if message["content"] is None:
            yield f"messages.{at}.content: Input should be a valid string"
        before = role
    for _, call in _calls(request):
        if not re.fullmatch("[a-zA-Z0-9]{9}", call["id"]):
            yield f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9."


@_first
def refusal_of_groq(request: Json) -> Iterator[str]:
    for at, message in enumerate(request["messages"]):
        for field in message.keys() - (_STANDARD[message["role"]] - {"name", "refusal"}):
            yield f"'messages.{at}' : property '{field}' is unsupported"
    yield from _many_tools(request)


@_first
def refusal_of_moonshot(request: Json) -> Iterator[str]:
    """Moonshot with thinking on."""
    for at, message in enumerate(request["messages"]):
        if calls_of(message) and not message.get("reasoning_content"):
            yield f"thinking is enabled but reasoning_content is missing in assistant tool call message at index {at}"
        if message["role"] == "developer":
            yield "unsupported role ROLE_UNSPECIFIED"
    if _is_forced(request) and _thinks(request):
        yield "tool_choice 'required' is incompatible with thinking enabled"


@_first
def refusal_of_dashscope(request: Json) -> Iterator[str]:
    """Model Studio, with a model of Qwen's that thinks."""
    if _is_forced(request) and _thinks(request):
        yield "The tool_choice parameter does not support being set to required or object in thinking mode"


@_first
def refusal_of_bedrock(request: Json) -> Iterator[str]:
    for at, message in enumerate(request["messages"]):
        content: Any = message.get("content")
        if content is None:
            content = [] if calls_of(message) else ""
        blocks: list[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
            yield f"ValidationException: messages.{at}: text content blocks must be non-empty"


@_first
def refusal_of_a_template(request: Json) -> Iterator[str]:
    """A chat template that counts turns: answers and messages with calls are not counted."""
    messages = request["messages"]
    turns = 0
    for message in messages[1:] if messages and messages[0]["role"] == "system" else messages:
        if message["content"] is None:
            yield "'None' has no attribute 'strip'"
        if message["role"] != "tool" and not calls_of(message):
            if message["role"] != ("user", "assistant")[turns % 2]:
                yield "Conversation roles must alternate user/assistant/user/assistant/..."
            turns += 1


@_first
def refusal_of_openrouter(request: Json) -> Iterator[str]:
    """OpenRouter with a model of Gemini's or OpenAI's behind it."""
    for message in request["messages"]:
        if calls_of(message) and not message.get("reasoning_details"):
            yield "Gemini models require OpenRouter reasoning details to be preserved in each request."
    yield from _long_ids(request)


PROVIDERS: tuple[tuple[Profile, Refusal, int], ...] = (
    (profiles.OPENAI, refusal_of_openai, 400),
    (profiles.GEMINI, refusal_of_gemini, 400),
    (profiles.DEEPSEEK, refusal_of_deepseek, 400),
    (profiles.MISTRAL, refusal_of_mistral, 422),
    (profiles.GROQ, refusal_of_groq, 400),
    (profiles.MOONSHOT, refusal_of_moonshot, 400),
    (profiles.BEDROCK, refusal_of_bedrock, 400),
    (profiles.LLAMA_CPP, refusal_of_a_template, 500),
    (profiles.STANDARD, refusal_of_vllm, 400),
)
"""Profiles, each with an endpoint that refuses whatever deviates, and the status that it answers."""
