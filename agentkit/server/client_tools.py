"""Tools of the client: the model may call them, and they never run here."""

from collections.abc import Collection
from dataclasses import replace
from typing import NoReturn, cast

from agentkit.core.chat import ToolSpec
from agentkit.core.choice import AUTO, ToolChoice, Verdict, allow, deny
from agentkit.core.errors import ToolDefinitionError
from agentkit.core.json import list_of, object_of
from agentkit.core.state import Call, State
from agentkit.server.errors import invalid_field
from agentkit.tool_choice import Policy
from agentkit.tools.options import ToolOptions
from agentkit.tools.schema.json_schema import arguments_from_schema, check_sendable
from agentkit.tools.tool import Tool

ANY_OBJECT = arguments_from_schema("a client's tool", {"type": "object"})
"""Arguments of a client's tool must be an object; the client checks them against its schema."""
_NO_PARAMETERS: dict[str, object] = {"type": "object", "properties": {}}


async def _never_called(**_: object) -> NoReturn:
    """Stand in for the function: nobody approves the call, so the run pauses at it."""
    raise AssertionError


def parse_tools(data: object, most: int) -> tuple[Tool, ...]:
    """Read the field `tools`. Each tool needs an approval that nobody gives, since the client runs it."""
    if data is None:
        return ()
    if not isinstance(data, list):
        raise invalid_field("tools", "tools must be a list")
    entries = list_of(cast("object", data))
    if len(entries) > most:
        raise invalid_field("tools", f"tools may have {most} tools, not {len(entries)}")
    tools: dict[str, Tool] = {}
    for position, entry in enumerate(entries):
        tool = _parse_tool(object_of(entry), f"tools[{position}]")
        if tool.name in tools:
            raise invalid_field(f"tools[{position}].function.name", f"two tools have the name {tool.name!r}")
        tools[tool.name] = tool
    return tuple(tools.values())


def _parse_tool(data: dict[str, object], path: str) -> Tool:
    function = object_of(data.get("function"))
    if data.get("type") != "function" or not function:
        raise invalid_field(path, f'{path} must have "type": "function" and a function')
    name, description = function.get("name"), function.get("description") or ""
    parameters: object = function.get("parameters") or _NO_PARAMETERS
    if not isinstance(name, str):
        raise invalid_field(f"{path}.function.name", f"{path}.function.name must be a string")
    if not isinstance(description, str):
        raise invalid_field(f"{path}.function.description", f"{path}.function.description must be a string")
    if not isinstance(parameters, dict):
        raise invalid_field(f"{path}.function.parameters", f"{path}.function.parameters must be a JSON Schema")
    try:
        Tool.from_schema(_never_called, name=name, description="", parameters=_NO_PARAMETERS)
    except ToolDefinitionError:
        text = f"{path}.function.name must be 1 to 64 letters, digits, _ and -, not {name[:80]!r}"
        raise invalid_field(f"{path}.function.name", text) from None
    schema = object_of(cast("object", parameters))
    try:
        check_sendable(name, schema)
    except ToolDefinitionError as error:
        raise invalid_field(f"{path}.function.parameters", f"{path}.function.parameters: {error}") from None
    spec = ToolSpec(name, description, schema, function.get("strict") is True)
    return Tool(_never_called, ToolOptions(name=name, approval=True), spec, ANY_OBJECT, "async")


def parse_tool_choice(data: object, names: Collection[str]) -> ToolChoice:
    """Read the field `tool_choice`; `names` are those of the client's tools.

    Raises:
        HttpError: If it is not a tool choice, or names a tool that is not there.
    """
    match data:
        case "none":
            return ToolChoice("none")
        case None | "auto":
            return AUTO
        case "required":
            if not names:
                raise invalid_field("tool_choice", "tool_choice is required, but there are no tools")
            return ToolChoice("required")
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice("tool", _known_name(name, names))
        case {"type": "allowed_tools"}:
            return _parse_allowed_tools(object_of(object_of(data).get("allowed_tools")), names)
        case _:
            text = '"none", "auto", "required", {"type": "function", …} or {"type": "allowed_tools", …}'
            raise invalid_field("tool_choice", f"tool_choice must be {text}")


def _parse_allowed_tools(data: dict[str, object], names: Collection[str]) -> ToolChoice:
    mode, tools = data.get("mode"), list_of(data.get("tools"))
    if mode not in ("auto", "required") or not tools:
        raise invalid_field("tool_choice", 'allowed_tools must have a mode, "auto" or "required", and some tools')
    allowed = [object_of(object_of(tool).get("function")).get("name") for tool in tools]
    return ToolChoice(
        "required" if mode == "required" else "auto", tools=frozenset([_known_name(name, names) for name in allowed])
    )


def _known_name(name: object, names: Collection[str]) -> str:
    if not isinstance(name, str) or name not in names:
        raise invalid_field("tool_choice", f"tool_choice names {str(name)[:64]!r}, which is not among the tools")
    return name


class WithClientTools(Policy):
    """Combines the agent's policy with the client's tool choice.

    Each decides on its own tools. If the agent's policy requires a call or rules an answer out, it comes first: the
    client's tools are withheld. If it permits an answer, a call of a client's tool will do as well, and must be made if
    the client requires it.

    Args:
        policy: The agent's policy.
        client_choice: The client's tool choice.
        names: The names of the client's tools.
        output_tools: The tools whose calls are the agent's typed answer, if there are any.
        parallel: Whether the client takes several calls of one reply.
        own_steps: After how many steps a client that requires a call of its tools gets one: the agent's own are then
            withheld, which a model that must call something could call until a limit.
    """

    policy: Policy
    client_choice: ToolChoice
    names: frozenset[str]
    output_tools: frozenset[str] = frozenset()
    parallel: bool = True
    own_steps: int = 10

    def __call__(self, state: State) -> ToolChoice:
        choice, client = self.policy(state), self.client_choice
        if client.mode == "none" or not self._permits_answer(choice):
            return choice if choice.mode == "none" else replace(choice, withheld=choice.withheld | self.names)
        if client.mode == "tool":
            return client
        allowed = frozenset(filter(client.offers, self.names))
        offered = self.output_tools if choice.mode in ("none", "tool") else choice.tools
        if offered is not None:
            offered |= allowed
        withheld = choice.withheld | (self.names - allowed)
        free = replace(choice, mode="auto", tool=None, tools=offered, withheld=withheld, firm=False, arguments=None)
        if client.mode == "required":
            offered = allowed if len(state.steps) >= self.own_steps else offered
            return replace(free, mode="required", tools=offered, withheld=withheld | self.output_tools)
        if choice.mode in ("auto", "none"):
            return free
        return replace(free, mode="required", firm=choice.firm)

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name not in self.names:
            return self.policy.judge(call, state)
        if self.parallel or not any(pending.name in self.names for pending in state.pending):
            return allow
        return deny("this client takes one call at a time; call it again if it is still needed")

    def __repr__(self) -> str:
        return f"{self.policy!r} with the client's {self.client_choice}"

    def _permits_answer(self, choice: ToolChoice) -> bool:
        if choice.mode in ("auto", "none"):
            return True
        return choice.tool in self.output_tools if choice.mode == "tool" else any(map(choice.offers, self.output_tools))
