"""Policies of your own: a function of the state, and a class with a setting.

To try them: from own_policy import dictionary; dictionary("gpt-5").run_sync("…")
"""

import json

from agentkit import Agent, Model, State, ToolError, tool
from agentkit.tool_choice import (
    Call,
    Policy,
    ToolChoice,
    ToolName,
    Verdict,
    allow,
    deny,
)


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

    def memory(self, state: State) -> int:
        failed = sum(record.outcome == "error" for record in state.calls)
        return min(failed, self.failures)


# --8<-- [end:class]


# --8<-- [start:judge]
class Unseen(Policy):
    """Deny a call of a tool with a value that an earlier call had."""

    tool: ToolName
    parameter: str

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name != self.tool:
            return allow
        before = [json.loads(record.call.arguments) for record in state.calls]
        before += [dict(pending.arguments) for pending in state.pending]
        values = [arguments.get(self.parameter) for arguments in before]
        if call[self.parameter] not in values:
            return allow
        value = call[self.parameter]
        return deny(f"{value!r} was looked up before; use another {self.parameter}")


# --8<-- [end:judge]


# --8<-- [start:judged]
def dictionary_without_repeats(model: str | Model) -> Agent:
    """Each word is looked up once, and at most three are."""
    policy = Unseen(look_up, "word") & GiveUp(3)
    return Agent(model, tools=[look_up], tool_choice=policy)


# --8<-- [end:judged]
