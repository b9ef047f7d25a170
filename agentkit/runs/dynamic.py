"""Instructions and settings from functions that are called before every request."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import NamedTuple, TypeAlias

from agentkit.core.chat import Settings, SettingsLike, settings_of
from agentkit.core.errors import ConfigurationError
from agentkit.core.messages import DeveloperMessage, Message, SystemMessage
from agentkit.core.state import State

Instructions: TypeAlias = Callable[[State], str | Awaitable[str]]
"""The instructions for a request: a function, sync or async, of the state; `state.deps` has the run's dependencies."""

RequestSettings: TypeAlias = Callable[[State], SettingsLike | Awaitable[SettingsLike]]
"""The settings of a request: a function, sync or async, of the state."""

_BLANK_LINE = "\n\n"


class Dynamic(NamedTuple):
    """What an agent asks functions for before each request. It is sent, and not stored in the history."""

    instructions: Instructions | None = None
    settings: RequestSettings | None = None

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
