"""Policies that remember calls: of this turn, or of the whole conversation."""

from dataclasses import field
from typing import Literal, TypeAlias, get_args

from agentkit.core.errors import ConfigurationError
from agentkit.core.state import State
from agentkit.tool_choice.policy import Policy

Scope: TypeAlias = Literal["turn", "conversation"]
"""What a policy remembers: the calls since the user last spoke, or those of the whole conversation."""

_SCOPES = frozenset(get_args(Scope))


class Open(int):
    """How many of something are open. What is remembered is a number that may grow without end, so analysis ends it."""


class Remembering(Policy):
    """A policy that remembers calls: those since the user last spoke, or those of the whole conversation.

    Args:
        scope: `"turn"` or `"conversation"`.

    Raises:
        ConfigurationError: If it is neither.
    """

    scope: Scope = field(default="turn", kw_only=True)

    def __post_init__(self) -> None:
        if self.scope not in _SCOPES:
            raise ConfigurationError(f'scope is "turn" or "conversation", not {self.scope!r}')

    @property
    def remembers_turns(self) -> bool:
        """Whether it is of the whole conversation, or any of its parts is."""
        return self.scope == "conversation" or super().remembers_turns

    def seen(self, state: State) -> State:
        """Return the state as far as this policy remembers it."""
        return state if self.scope == "turn" else state.conversation
