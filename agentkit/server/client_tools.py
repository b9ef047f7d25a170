"""Tools that a client brings: the model may call them, and they are never run here."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NoReturn, cast

from agentkit.core.chat import ToolSpec
from agentkit.core.choice import AUTO, ToolChoice
from agentkit.core.errors import ToolDefinitionError
from agentkit.core.json import list_of, object_of
from agentkit.core.state import State
from agentkit.server.errors import unfit
from agentkit.tool_choice import Policy
from agentkit.tools.options import ToolOptions
from agentkit.tools.schema.json_schema import raw_arguments
from agentkit.tools.tool import Tool

ANY_OBJECT = raw_arguments("a client's tool", {"type": "object"})
"""What arguments of a client's tools are held to: being an object."""
_NOTHING: dict[str, object] = {"type": "object", "properties": {}}


async def _never(**_: object) -> NoReturn:
    """Stand where a function does. Nobody decides on such a call, so a run waits at it."""
    raise AssertionError


def borrowed(data: object, most: int) -> tuple[Tool, ...]:
    """Read the tools of a request. Each waits for a decision that nobody makes: the client runs it.

    What the model calls them with is held to being an object, and not to their schemas, which are the client's affair.

    Args:
        data: The field `tools`.
        most: How many there may be.

    Raises:
        Refusal: If it is no list of tools.
    """
    if data is None:
        return ()
    if not isinstance(data, list):
        raise unfit("tools", "tools must be a list")
    entries = list_of(cast("object", data))
    if len(entries) > most:
        raise unfit("tools", f"there may be {most} tools, not {len(entries)}")
    tools: dict[str, Tool] = {}
    for at, each in enumerate(entries):
        made = _tool(object_of(each), f"tools[{at}]")
        if made.name in tools:
            raise unfit(f"tools[{at}].function.name", f"two tools have the name {made.name!r}")
        tools[made.name] = made
    return tuple(tools.values())


def _tool(data: dict[str, object], where: str) -> Tool:
    function = object_of(data.get("function"))
    if data.get("type") != "function" or not function:
        raise unfit(where, f'{where} must have "type": "function" and a function')
    name, description = function.get("name"), function.get("description") or ""
    parameters: object = function.get("parameters") or _NOTHING
    if not isinstance(name, str):
        raise unfit(f"{where}.function.name", f"{where}.function.name must be a text")
    if not isinstance(description, str):
        raise unfit(f"{where}.function.description", f"{where}.function.description must be a text")
    if not isinstance(parameters, dict):
        raise unfit(f"{where}.function.parameters", f"{where}.function.parameters must be a JSON schema")
    try:
        Tool.from_schema(_never, name=name, description="", parameters=_NOTHING)
    except ToolDefinitionError:
        said = f"{where}.function.name must be 1 to 64 letters, digits, _ and -, not {name[:80]!r}"
        raise unfit(f"{where}.function.name", said) from None
    spec = ToolSpec(name, description, object_of(cast("object", parameters)), function.get("strict") is True)
    return Tool(_never, ToolOptions(name=name, approval=True), spec, ANY_OBJECT, "async")


def choice_of(data: object, names: Collection[str]) -> ToolChoice:
    """Read the field `tool_choice`.

    Args:
        data: The field.
        names: Those of the client's tools.

    Raises:
        Refusal: If it is no choice, or one of a tool that is not there.
    """
    match data:
        case "none":
            return ToolChoice("none")
        case None | "auto":
            return AUTO
        case "required":
            if not names:
                raise unfit("tool_choice", "tool_choice asks for a call, and there are no tools")
            return ToolChoice("required")
        case {"type": "function", "function": {"name": str(name)}}:
            if name not in names:
                raise unfit("tool_choice", f"tool_choice names {name[:64]!r}, which is not among the tools")
            return ToolChoice("tool", name)
        case _:
            raise unfit("tool_choice", 'tool_choice must be "none", "auto", "required" or {"type": "function", …}')


@dataclass(frozen=True, repr=False)
class Borrowing(Policy):
    """What the client asks for, held together with the agent's own policy.

    Each speaks of its own tools. Where the agent's policy asks for a call, or rules an answer out, it comes first: the
    client's tools are not offered. Where it lets the model answer, an answer may also be a call of the client's tools,
    and has to be if the client asks for that.

    Args:
        own: The agent's policy.
        asked: What the client asks for.
        names: Those of the client's tools.
        finals: The tools whose calls are the agent's answer, if there are any.
    """

    own: Policy
    asked: ToolChoice
    names: frozenset[str]
    finals: frozenset[str] = frozenset()

    def __call__(self, state: State) -> ToolChoice:
        """Choose for both."""
        choice = self.own(state)
        if self.asked.mode == "none" or not self._lets_answer(choice):
            return choice if choice.mode == "none" else replace(choice, withheld=choice.withheld | self.names)
        if self.asked.mode == "tool":
            return self.asked
        offered = self.names | self.finals if choice.mode in ("none", "tool") else choice.tools
        if offered is not None:
            offered |= self.names
        if self.asked.mode == "required":
            return ToolChoice("required", None, offered, choice.withheld | self.finals)
        if choice.mode in ("auto", "none"):
            return ToolChoice("auto", None, offered, choice.withheld)
        return ToolChoice("required", None, offered, choice.withheld, choice.firm)

    def __repr__(self) -> str:
        return f"{self.own!r} with the client's {self.asked}"

    def _lets_answer(self, choice: ToolChoice) -> bool:
        if choice.mode in ("auto", "none"):
            return True
        return choice.tool in self.finals if choice.mode == "tool" else any(map(choice.offers, self.finals))
