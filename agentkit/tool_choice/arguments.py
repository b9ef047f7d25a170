"""Policies over arguments: what a call may say, and calls whose arguments are known."""

import json
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import field
from functools import cached_property
from typing import Any, Literal, cast

from agentkit.core.choice import ToolChoice, Values, Verdict, allow, deny
from agentkit.core.errors import ConfigurationError
from agentkit.core.growing import folded
from agentkit.core.json import encode
from agentkit.core.state import Call, CallRecord, State
from agentkit.core.value_limits import optional_values
from agentkit.tool_choice.choices import as_json
from agentkit.tool_choice.fields import ToolLike, ToolName
from agentkit.tool_choice.functions import check_functions, check_parameters, read_result, result_of
from agentkit.tool_choice.policy import ANY_RESULT, Policy
from agentkit.tool_choice.remembering import Remembering
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

_SHOWN = 20
_LEFT_OUT = object()


class where(Policy):
    """A rule on a tool's arguments: `where(pay, lambda call, state: call["amount"] <= 100, otherwise="ask")`.

    Analysis knows no arguments, so it takes every call to be allowed.

    Args:
        tool: The tool.
        rule: Called with the call, whose arguments are validated, and the state, whose `pending` has the calls before
            it in the same reply. It must be pure.
        otherwise: What becomes of a call for which the rule is false: `"deny"`; `"ask"`, an approver decides; or a text
            to deny it with, which should say what is allowed.

    Raises:
        ConfigurationError: If the rule is no plain function, or `otherwise` is empty.
    """

    tool: ToolName
    rule: Callable[[Call, State], bool]
    otherwise: str = "deny"

    def __post_init__(self) -> None:
        check_functions(self, self.rule)
        if not self.otherwise:
            raise ConfigurationError('where(…, otherwise=…) is "deny", "ask", or a text that says what is allowed')

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name != self.tool or result_of(self, self.rule, call, state):
            return allow
        kind: Literal["ask", "deny"] = "ask" if self.otherwise == "ask" else "deny"
        return Verdict(
            kind, self.otherwise if self.otherwise not in ("ask", "deny") else f"its arguments break {self!r}"
        )

    def memory(self, state: State) -> Hashable:  # noqa: ARG002 (nothing of a state decides before the arguments do)
        return ()


def _items(result: Any) -> Any:
    return () if isinstance(result, dict) else cast("object", result)


class from_results(Remembering):
    """An argument must be a value that an earlier result had, so that a model cannot invent one.

    The values become an `enum` of the schema that is offered, and every call is checked against them:

        from_results(cancel, "order", of=list_orders, pick=lambda orders: [order["id"] for order in orders])

    Before there is such a result, the tool is withheld. A result in the same reply does not count yet; in a phase of a
    machine, one from before the phase does. Values are compared as JSON, so `1`, `1.0` and `true` are three values.

    A call may leave an optional parameter out, or give its default. Null is allowed where the parameter's schema names
    it. In a list, every item must be one of the values.

    Args:
        tool: The tool.
        parameter: Its parameter.
        of: The tool whose results have the values.
        pick: Called with a result, decoded if it is JSON; returns the values. Unless given, the result is the list.
        scope: What is remembered.

    Raises:
        ConfigurationError: If the parameter is empty, both tools are the same, or `pick` is no plain function.
    """

    tool: ToolName
    parameter: str
    of: ToolName
    pick: Callable[[Any], Iterable[object]] = _items
    _argument: str | None = field(default=None, compare=False)  # the parameter's name in Python, if it has an alias
    _optional: frozenset[bytes] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_functions(self, self.pick)
        if not self.parameter or self.tool == self.of:
            raise ConfigurationError("from_results(tool, parameter, of=other) needs a parameter and two tools")

    def _allowed(self, state: State) -> dict[bytes, object]:
        """Return the values by their JSON."""
        nothing: dict[bytes, object] = {}
        before = folded(state.sources, self, nothing, self._with_calls)
        since = folded(self.seen(state).calls, self, nothing, self._with_calls)
        return {**before, **since}

    def _with_calls(self, before: dict[bytes, object], new: Iterable[CallRecord]) -> dict[bytes, object]:
        values = before
        for record in new:
            if record.call.name == self.of and record.outcome == "ok":
                values = {**values, **{as_json(value): value for value in result_of(self, self._picked, record.result)}}
        return values

    def _picked(self, result: str) -> list[object]:
        if result == ANY_RESULT:
            return [ANY_RESULT]
        picked = self.pick(read_result(result))
        return [picked] if isinstance(picked, str | int | float) else list(picked)

    def __call__(self, state: State) -> ToolChoice:
        values = tuple(self._allowed(state).values())
        if not values:
            return ToolChoice(withheld=frozenset({self.tool}))
        return ToolChoice(values=(Values(self.tool, self.parameter, values),))

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name != self.tool:
            return allow
        values = self._allowed(state)
        if not values:
            return deny(f"{self.parameter} must be a result of {self.of}, which must come first")
        argument = call.arguments.get(self._argument or self.parameter, _LEFT_OUT)
        if argument is _LEFT_OUT or as_json(argument) in self._optional or self._comes_from(values, argument):
            return allow
        known = b", ".join(list(values)[:_SHOWN]).decode()
        return deny(f"{self.parameter} must be one of these results of {self.of}: {known}")

    @staticmethod
    def _comes_from(values: Mapping[bytes, object], argument: object) -> bool:
        """Whether an argument is one of the values, or a list of them."""
        if as_json(argument) in values:
            return True
        items = cast("Collection[object]", argument)
        return isinstance(argument, list | tuple | set | frozenset) and all(as_json(item) in values for item in items)

    def bound(self, toolbox: Toolbox) -> "from_results":
        """Return the policy, checked against the parameters of its tool."""
        check_parameters(self, toolbox, self.tool, [self.parameter])
        if (tool := toolbox.get(self.tool)) is None:
            return self
        argument = tool.arguments.names.get(self.parameter)
        optional = frozenset(map(as_json, optional_values(tool.arguments.schema, self.parameter)))
        return from_results(self.tool, self.parameter, self.of, self.pick, argument, optional, scope=self.scope)

    def results(self, tool: str) -> frozenset[str]:
        return frozenset({ANY_RESULT} if tool == self.of else ())

    @cached_property
    def sources(self) -> frozenset[str]:
        """The tool whose results have the values."""
        return frozenset({self.of} if self.scope == "turn" else ())

    def memory(self, state: State) -> Hashable:
        return tuple(self._allowed(state))


class permitted(Policy):
    """Offer and run only what the one who asks may use: `permitted(lambda deps, tool: tool.name in deps.rights)`.

    Analysis does not know who asks, so it takes every tool to be permitted.

    Args:
        allows: Called with the run's dependencies and a tool. It must be pure.

    Raises:
        ConfigurationError: If it is no plain function.
    """

    allows: Callable[[Any, Tool], bool]
    _toolbox: Toolbox = field(default=Toolbox(), compare=False)

    def __post_init__(self) -> None:
        check_functions(self, self.allows)

    def _permits(self, tool: Tool, state: State) -> bool:
        return result_of(self, self.allows, state.deps, tool)

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice(withheld=frozenset([tool.name for tool in self._toolbox if not self._permits(tool, state)]))

    def judge(self, call: Call, state: State) -> Verdict:
        tool = self._toolbox.get(call.name)
        if tool is None or self._permits(tool, state):
            return allow
        return deny(f"{call.name} is not permitted to whoever asks")

    def bound(self, toolbox: Toolbox) -> "permitted":
        """Return the policy with the tools that it decides on."""
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

    Raises:
        ConfigurationError: If an argument has no JSON form.
    """

    tool: ToolName
    arguments: str

    def __init__(self, tool: ToolLike, **arguments: object) -> None:
        try:
            encoded = encode(arguments).decode()
        except ValueError as error:
            raise ConfigurationError(f"given(…) takes arguments that JSON can say: {error}") from None
        self._set(tool=tool, arguments=encoded)

    def __call__(self, state: State) -> ToolChoice:  # noqa: ARG002 (whatever the state)
        return ToolChoice("tool", self.tool, arguments=self.arguments)

    def bound(self, toolbox: Toolbox) -> "given":
        """Return the policy, checked against the parameters of its tool."""
        check_parameters(self, toolbox, self.tool, json.loads(self.arguments))
        return self

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
