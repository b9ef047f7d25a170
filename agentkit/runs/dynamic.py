"""Instructions, settings and tools from functions that are called before every request."""

from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import NamedTuple, TypeAlias, cast

from agentkit.core.chat import Settings, SettingsLike, settings_of
from agentkit.core.errors import ConfigurationError
from agentkit.core.messages import DeveloperMessage, Message, SystemMessage
from agentkit.core.state import State
from agentkit.tools.tool import AnyFunction, Tool
from agentkit.tools.toolbox import Toolbox

Instructions: TypeAlias = Callable[[State], str | Awaitable[str]]
"""The instructions for a request: a function, sync or async, of the state; `state.deps` has the run's dependencies."""

RequestSettings: TypeAlias = Callable[[State], SettingsLike | Awaitable[SettingsLike]]
"""The settings of a request: a function, sync or async, of the state."""

Tools: TypeAlias = Iterable[AnyFunction | Tool | Toolbox]
"""Functions, tools and toolboxes."""

GivesTools: TypeAlias = Callable[[State], Tools | Awaitable[Tools]]
"""The tools for a request and the calls of its reply: a function, sync or async, of the state."""

_BLANK_LINE = "\n\n"


class Dynamic(NamedTuple):
    """What an agent asks functions for before each request. It is sent, and not stored in the history."""

    instructions: Instructions | None = None
    settings: RequestSettings | None = None
    tools: GivesTools | None = None

    async def instruct(self, state: State) -> SystemMessage | None:
        """Return the instructions for the next request."""
        if self.instructions is None:
            return None
        text = await _awaited(self.instructions(state))
        if not isinstance(text, str):
            raise ConfigurationError(f"the function for the instructions returned {text!r}, which is not a text")
        return SystemMessage(text) if text else None

    async def settle(self, state: State, own: Settings) -> Settings:
        """Return the settings of the next request; those that the run has of its own replace them."""
        if self.settings is None:
            return own
        return settings_of(await _awaited(self.settings(state))).merged(own)


async def given_tools(gives: GivesTools, state: State, others: Toolbox, stop_at: frozenset[str]) -> Toolbox:
    """Return the tools for the next request, with the agent's others.

    Raises:
        ConfigurationError: If the function returned something else, or a tool that ends the run and is not known to.
    """
    tools = await _awaited(gives(state))
    if not isinstance(tools, Iterable):
        raise ConfigurationError(f"the function for the tools returned {tools!r}, which is not a list of tools")
    given = Toolbox(cast("Tools", tools))
    for tool in given:
        if tool.options.ends and tool.name not in stop_at:
            raise ConfigurationError(
                f"{tool.name!r} ends a run, which must be known before it: Agent(…, stop_at={tool.name!r})"
            )
    return Toolbox([*others, *given])


async def _awaited(value: object) -> object:
    return await value if isawaitable(value) else value


def instructed(instructions: SystemMessage, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    r"""Return messages with instructions first. A system prompt follows in the same message: many models take only one.

    >>> instructed(SystemMessage("Be brief."), (SystemMessage("You sell shoes."), UserMessage("Hi")))
    (SystemMessage('Be brief.\n\nYou sell shoes.'), UserMessage('Hi'))
    """
    first = messages[0] if messages else None
    if not isinstance(first, SystemMessage | DeveloperMessage):
        return (instructions, *messages)
    return (SystemMessage(f"{instructions.content}{_BLANK_LINE}{first.content}"), *messages[1:])
