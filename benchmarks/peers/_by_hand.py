"""An agent loop by hand, without any library for it: what the floors share."""

import asyncio
import inspect
import json
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from typing import Any

from functions import Function

from peers import Peer

_NAMES = {int: "integer", float: "number", str: "string", bool: "boolean", types.NoneType: "null"}


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a type; of those that the measured functions have, and no other."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if kind in _NAMES:
        return {"type": _NAMES[kind]}
    if origin is list:
        return {"type": "array", "items": schema_of(inside[0])}
    if origin is typing.Literal:
        return {"type": "string", "enum": list(inside)}
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {"type": "object", "properties": {k: schema_of(v) for k, v in hints.items()}, "required": list(hints)}
    return {"anyOf": [schema_of(option) for option in inside]}


def tool_of(function: Function) -> dict[str, Any]:
    """Return a function as the wire has it."""
    text, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\nArgs:\n")
    said = dict(line.strip().split(": ", 1) for line in rest.splitlines() if ": " in line)
    hints = typing.get_type_hints(function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        properties[name] = {**schema_of(hints[name]), "description": said.get(name, "")}
        if parameter.default is parameter.empty:
            required.append(name)
    parameters = {"type": "object", "properties": properties, "required": required}
    described = {"name": function.__name__, "description": text.strip(), "parameters": parameters}
    return {"type": "function", "function": described}


class Made(typing.NamedTuple):
    """A tool."""

    function: Function
    spec: dict[str, Any]
    is_async: bool


def made_of(functions: Sequence[Function]) -> list[Made]:
    """Make tools of functions."""
    return [Made(function, tool_of(function), inspect.iscoroutinefunction(function)) for function in functions]


class ByHand(Peer):
    """The loop. How a request is sent is the floor's own."""

    def tools(self, functions: Sequence[Function]) -> Any:
        """Describe them."""
        return made_of(functions)

    def agent(self, model: str, tools: Any, max_turns: int = 10) -> Any:  # noqa: ARG002 (a run is told)
        """Keep what a request needs."""
        specs = [made.spec for made in tools]
        return {"model": model, **({"tools": specs} if specs else {})}, {made.function.__name__: made for made in tools}

    async def answered(self, made: dict[str, Made], call: dict[str, Any]) -> dict[str, Any]:
        """Run a call, and give the message that answers it."""
        tool, given = made[call["function"]["name"]], json.loads(call["function"]["arguments"])
        result = await (tool.function(**given) if tool.is_async else asyncio.to_thread(tool.function, **given))
        return {"role": "tool", "tool_call_id": call["id"], "content": str(result)}

    async def run(self, agent: Any, prompt: str, max_turns: int = 10) -> str:
        """Run until there are no calls."""
        return (await self._run(agent, prompt, max_turns, streamed=False))[0]

    async def stream(self, agent: Any, prompt: str, max_turns: int = 10) -> tuple[str, int]:
        """Do the same over streams."""
        return await self._run(agent, prompt, max_turns, streamed=True)

    async def _run(self, agent: Any, prompt: str, max_turns: int, *, streamed: bool) -> tuple[str, int]:
        request, made = agent
        messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
        for _ in range(max_turns + 1):
            if streamed:
                message, pieces = await self.read({**request, "messages": messages, "stream": True})
            else:
                message, pieces = await self.ask({**request, "messages": messages}), 1
            calls = message.get("tool_calls")
            if not calls:
                return message["content"], pieces
            messages.append(message)
            if len(calls) == 1:
                messages.append(await self.answered(made, calls[0]))
            else:
                messages += await asyncio.gather(*[self.answered(made, call) for call in calls])
        raise RuntimeError("too many turns")

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request, and give the message."""
        raise NotImplementedError

    async def read(self, request: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Send a request for a stream, and give the message, and in how many pieces its text came."""
        raise NotImplementedError


class Pieces:
    """A message that is put together from the events of a stream."""

    def __init__(self, loads: Callable[[str | bytes], Any] = json.loads) -> None:
        self._loads = loads
        self._texts: list[str] = []
        self._calls: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def take(self, data: str | bytes) -> None:
        """Take one event."""
        delta = self._loads(data)["choices"][0]["delta"]
        if delta.get("content"):
            self._texts.append(delta["content"])
        for piece in delta.get("tool_calls") or ():
            _, arguments = self._calls.setdefault(piece["index"], (piece, []))
            arguments.append(piece["function"]["arguments"])

    def message(self) -> tuple[dict[str, Any], int]:
        """Return it as the wire has it."""
        for call, arguments in self._calls.values():
            call["function"]["arguments"] = "".join(arguments)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._texts) or None}
        if self._calls:
            message["tool_calls"] = [call for call, _ in self._calls.values()]
        return message, len(self._texts)
