"""What a policy is."""

from collections.abc import Callable
from typing import TypeAlias

from agentkit.errors import ConfigurationError
from agentkit.state import State
from agentkit.wire import ToolChoice

Policy: TypeAlias = Callable[[State], ToolChoice]


def policy_of(value: str) -> Policy:
    """Make a policy of what stands for one."""
    if value not in ("none", "auto", "required"):
        raise ConfigurationError(f"tool_choice must be none, auto or required, not {value!r}")
    choice = ToolChoice(value)  # type: ignore[arg-type]
    return lambda _: choice
