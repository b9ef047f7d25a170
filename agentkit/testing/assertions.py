"""Assertions on a run: which tools it called, in which order, and what it cost."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, overload

from agentkit.core.json import object_of
from agentkit.core.messages import AssistantMessage, Outcome, ToolMessage
from agentkit.runs.result import Result
from agentkit.testing.proofs import Proof
from agentkit.tool_choice import ToolLike
from agentkit.tool_choice.analysis import Governed
from agentkit.tool_choice.fields import name_of_tool

Arguments: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of a run.

    Attributes:
        tool: The name of the tool.
        arguments: The arguments; `{}` if they are not a JSON object.
        outcome: How the call ended; `None` if it waits for approval.
        answer: The tool result that the model saw; `""` if the call waits.
        step: The number of the request whose reply has the call, from 1.
    """

    tool: str
    arguments: Arguments
    outcome: Outcome | None
    answer: str
    step: int


def calls_of(result: Result[Any], tool: ToolLike | None = None) -> tuple[Call, ...]:
    """Return the tool calls of a run, in order.

    Args:
        result: The result of the run.
        tool: Return only calls of this tool.
    """
    wanted = None if tool is None else name_of_tool(tool)
    calls: list[Call] = []
    step = 0
    places: dict[str, int] = {}  # of the last reply's calls; another reply may use the same ids
    for message in result.new_messages:
        if isinstance(message, AssistantMessage):
            step += 1
            places = {call.id: len(calls) + at for at, call in enumerate(message.tool_calls)}
            calls += [Call(call.name, _decode_arguments(call.arguments), None, "", step) for call in message.tool_calls]
        elif isinstance(message, ToolMessage) and message.tool_call_id in places:
            place = places[message.tool_call_id]
            calls[place] = replace(calls[place], outcome=message.outcome, answer=message.content)
    return tuple([call for call in calls if wanted in (None, call.tool)])


def _decode_arguments(arguments: str) -> dict[str, object]:
    try:
        return object_of(json.loads(arguments))
    except ValueError:
        return {}


@dataclass(frozen=True, slots=True)
class Story:
    """Assertions on a run; see `assert_that`. Each method raises `AssertionError` with an account of the run."""

    result: Result[Any]

    def called(
        self,
        tool: ToolLike,
        *,
        times: int | None = None,
        with_: Arguments | Callable[[Arguments], bool] | None = None,
        outcome: Outcome | None = None,
    ) -> "Called":
        """Assert that a tool was called.

        Args:
            tool: The tool, or its name.
            times: The exact number of calls; without it, one or more.
            with_: Count only calls with these arguments (a call may have more), or whose arguments fulfil a function.
            outcome: Count only calls with this outcome.
        """
        __tracebackhide__ = True
        name = name_of_tool(tool)
        calls = calls_of(self.result, name)
        counted = [call for call in calls if _has_arguments(call, with_) and outcome in (None, call.outcome)]
        condition = _format_condition(with_, outcome)
        if times is None and not counted:
            others = f"; it was called {_format_calls(calls)}" if calls else ""
            self._fail(f"{name} was never called{condition}{others}")
        if times is not None and len(counted) != times:
            self._fail(f"{name} was called {len(counted)} times{condition}, expected {times}")
        return Called(self.result, name, calls_of(self.result).index(counted[0]) if counted else None)

    def never(self, tool: ToolLike) -> "Story":
        """Assert that a tool was not called."""
        __tracebackhide__ = True
        name = name_of_tool(tool)
        if calls := calls_of(self.result, name):
            self._fail(f"{name} was called {_format_calls(calls)}, expected no call")
        return self

    def steps(self, *, max: int) -> "Story":  # noqa: A002 (read as a sentence)
        """Assert that the run made at most `max` requests."""
        __tracebackhide__ = True
        return self._at_most("steps", len(self.result.steps), max)

    def tokens(self, *, max: int) -> "Story":  # noqa: A002 (as above)
        """Assert that the run used at most `max` tokens. It fails if the endpoint did not report usage."""
        __tracebackhide__ = True
        return self._at_most("tokens", self.result.usage.total_tokens, max)

    def cost(self, *, max: float) -> "Story":  # noqa: A002 (as above)
        """Assert that the run cost at most `max`. It fails if the price is unknown."""
        __tracebackhide__ = True
        return self._at_most("cost", self.result.usage.cost, max)

    def obeyed(self) -> "Story":
        """Assert that no reply was rejected: none broke the tool choice, was truncated, or empty."""
        __tracebackhide__ = True
        violations = [step.violation for step in self.result.steps if step.violation is not None]
        if violations:
            self._fail(f"{len(violations)} replies were rejected, the first because {violations[0]}")
        return self

    def _at_most(self, what: str, used: float | None, most: float) -> "Story":
        __tracebackhide__ = True
        if used is None:
            self._fail(f"the {what} of the run is unknown; give prices with Agent(prices=…)")
        elif used > most:
            self._fail(f"the {what} of the run: {used:g}, expected at most {most:g}")
        return self

    def _fail(self, text: str) -> None:
        __tracebackhide__ = True
        raise AssertionError(f"{text}\n\n{self.result.explain()}")


@dataclass(frozen=True, slots=True)
class Called(Story):
    """Assertions on a run and its first matching call of a tool.

    Attributes:
        tool: The name of the tool.
        at: The position of the call among the calls of the run; `None` if there is none.
    """

    tool: str
    at: int | None

    def before(self, tool: ToolLike) -> Story:
        """Assert that this call came before the first call of another tool, and that there is one."""
        __tracebackhide__ = True
        other = name_of_tool(tool)
        first = next((at for at, call in enumerate(calls_of(self.result)) if call.tool == other), None)
        if first is None:
            self._fail(f"{other} was never called, so {self.tool} did not come before it")
        elif self.at is None or first < self.at:
            self._fail(f"{other} was called before {self.tool}")
        return Story(self.result)


@overload
def assert_that(subject: Result[Any]) -> Story: ...
@overload
def assert_that(subject: Governed) -> Proof: ...
def assert_that(subject: Result[Any] | Governed) -> Story | Proof:
    """Assert on a run, or on what an agent's policy lets happen in any run.

    Example:
        >>> assert_that(result).called("search").before("answer").never("delete")
        >>> assert_that(agent).never("pay").before("approve").always_answers(within=12)
    """
    return Story(subject) if isinstance(subject, Result) else Proof(subject)


def _has_arguments(call: Call, with_: Arguments | Callable[[Arguments], bool] | None) -> bool:
    if with_ is None:
        return True
    if callable(with_):
        return with_(call.arguments)
    return all(key in call.arguments and call.arguments[key] == value for key, value in with_.items())


def _format_condition(with_: Arguments | Callable[[Arguments], bool] | None, outcome: Outcome | None) -> str:
    what = "" if with_ is None else " so" if callable(with_) else f" with {_to_json(with_)}"
    return what + ("" if outcome is None else f" and the outcome {outcome!r}")


def _format_calls(calls: tuple[Call, ...]) -> str:
    return "with " + ", then ".join([_to_json(call.arguments) for call in calls])


def _to_json(arguments: Arguments) -> str:
    return json.dumps(dict(arguments), ensure_ascii=False, default=repr)
