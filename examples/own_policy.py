"""Policies of your own: a function of the state, and a class with a setting.

To try them: from own_policy import dictionary; dictionary("gpt-5").run_sync("…")
"""

from agentkit import Agent, Model, State, ToolError, tool
from agentkit.tool_choice import Policy, ToolChoice


@tool
def look_up(word: str) -> str:
    """Look a word up in the dictionary."""
    raise ToolError(
        f"the dictionary cannot be reached, so {word!r} was not looked up"
    )


# --8<-- [start:function]
def give_up(state: State, failures: int = 3) -> str:
    failed = sum(record.outcome == "error" for record in state.calls)
    return "none" if failed >= failures else "auto"


# --8<-- [end:function]


# --8<-- [start:use]
def dictionary(model: str | Model) -> Agent:
    """After three failed calls, the model must answer without the dictionary."""
    return Agent(model, tools=[look_up], tool_choice=give_up)


# --8<-- [end:use]


# --8<-- [start:class]
class GiveUp(Policy):
    """After this many failed calls, the model must answer with what it has."""

    failures: int = 3

    def __call__(self, state: State) -> ToolChoice:
        failed = sum(record.outcome == "error" for record in state.calls)
        return ToolChoice("none" if failed >= self.failures else "auto")


# --8<-- [end:class]
