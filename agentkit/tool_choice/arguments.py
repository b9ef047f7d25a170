"""Policies over arguments: what a call may say, and calls whose arguments are known."""

import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import field
from functools import cached_property
from typing import Any, Literal

from agentkit.core.choice import ToolChoice, Values, Verdict, allow
from agentkit.core.json import decode, encode
from agentkit.core.state import Call, State
from agentkit.tool_choice.fields import ToolLike, ToolName
from agentkit.tool_choice.policy import ANY_RESULT, Policy, Remembering
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

_SHOWN = 20


class where(Policy):
    """A rule on a tool's arguments: `where(pay, lambda call, state: call["amount"] <= 100, otherwise="ask")`.

    Args:
        tool: The tool.
        rule: Called with the call, whose arguments are validated, and the state. It must be pure.
        otherwise: What becomes of a call for which the rule is false: `"deny"`; `"ask"`, an approver decides; or a text
            to deny it with, which should say what is allowed.
    """

    tool: ToolName
    rule: Callable[[Call, State], bool]
    otherwise: str = "deny"

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name != self.tool or self.rule(call, state):
            return allow
        kind: Literal["ask", "deny"] = "ask" if self.otherwise == "ask" else "deny"
        reason = self.otherwise if self.otherwise not in ("ask", "deny") else f"its arguments break {self!r}"
        return Verdict(kind, reason, repr(self))

    def memory(self, state: State) -> Hashable:  # noqa: ARG002 (what the rule reads of the state is not known)
        return ()


def _identity(result: Any) -> Any:
    return result


class from_results(Remembering):
    """An argument must be a value that an earlier result had, so that a model cannot invent one.

    The values become an `enum` of the schema that is offered, and every call is checked against them:

        from_results(cancel, "order", of=list_orders, pick=lambda orders: [order["id"] for order in orders])

    Before there is such a result, the tool is withheld.

    Args:
        tool: The tool.
        parameter: Its parameter.
        of: The tool whose results have the values.
        pick: Called with a result, decoded if it is JSON; returns the values. Unless given, the result is the list.
        scope: What is remembered.
    """

    tool: ToolName
    parameter: str
    of: ToolName
    pick: Callable[[Any], Iterable[object]] = _identity

    def _allowed(self, state: State) -> tuple[object, ...]:
        values: dict[object, None] = {}
        for record in self.seen(state).calls:
            if record.call.name == self.of and record.outcome == "ok":
                values |= dict.fromkeys(self._picked(record.result))
        return tuple(values)

    def results(self, tool: str) -> frozenset[str]:
        return frozenset({ANY_RESULT} if tool == self.of else ())

    def _picked(self, result: str) -> list[object]:
        if result == ANY_RESULT:
            return [ANY_RESULT]
        try:
            decoded: object = decode(result)
        except ValueError:
            decoded = result
        try:
            picked = self.pick(decoded)
        except (KeyError, TypeError, IndexError, AttributeError):  # a result of another shape has no value
            return []
        return [picked] if isinstance(picked, str | int | float) else list(picked)

    def __call__(self, state: State) -> ToolChoice:
        values = self._allowed(state)
        if not values:
            return ToolChoice(withheld=frozenset({self.tool}))
        return ToolChoice(values=(Values(self.tool, self.parameter, values),))

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name != self.tool or self.parameter not in call.arguments:
            return allow
        values = self._allowed(state)
        if call[self.parameter] in values:
            return allow
        known = ", ".join([repr(value) for value in values[:_SHOWN]]) or f"none yet, call {self.of} first"
        return Verdict("deny", f"{self.parameter} must be one of these results of {self.of}: {known}", repr(self))

    def memory(self, state: State) -> Hashable:
        return self._allowed(state)


class permitted(Policy):
    """Offer and run only what the one who asks may use: `permitted(lambda deps, tool: tool.name in deps.rights)`.

    Args:
        allows: Called with the run's dependencies and a tool. It must be pure.
    """

    allows: Callable[[Any, Tool], bool]
    _toolbox: Toolbox = field(default=Toolbox(), compare=False)

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice(
            withheld=frozenset([tool.name for tool in self._toolbox if not self.allows(state.deps, tool)])
        )

    def judge(self, call: Call, state: State) -> Verdict:
        tool = self._toolbox.get(call.name)
        if tool is None or self.allows(state.deps, tool):
            return allow
        return Verdict("deny", f"{call.name} is not permitted to whoever asks", repr(self))

    def bound(self, toolbox: Toolbox) -> "permitted":
        return permitted(self.allows, toolbox)

    def memory(self, state: State) -> Hashable:  # noqa: ARG002 (who asks does not change within a run)
        return ()


class given(Policy):
    """A call whose arguments are known: `given(fetch_orders, day="today")`.

    The call is made without asking the model; it costs no request, and stands in the history as any call. Use it where
    a tool is forced: in `first`, or in a phase of a `machine`.

    Args:
        tool: The tool.
        arguments: Its arguments, by name.
    """

    tool: ToolName
    arguments: str

    def __init__(self, tool: ToolLike, **arguments: object) -> None:
        self._set(tool=tool, arguments=encode(arguments).decode())

    def __call__(self, state: State) -> ToolChoice:  # noqa: ARG002 (whatever the state)
        return ToolChoice("tool", self.tool, arguments=self.arguments)

    def memory(self, state: State) -> Hashable:  # noqa: ARG002 (whatever the state)
        return ()

    @cached_property
    def _code(self) -> str:
        named = [f"{name}={value!r}" for name, value in json.loads(self.arguments).items()]
        return f"given({', '.join([repr(self.tool), *named])})"

    @property
    def can_answer(self) -> bool:
        """Never."""
        return False
