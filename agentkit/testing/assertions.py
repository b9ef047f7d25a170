"""Assertions on a run: which tools it called, in which order, and what it cost."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from agentkit.core.json import object_of
from agentkit.core.messages import AssistantMessage, Outcome, ToolMessage
from agentkit.runs.result import Result
from agentkit.tool_choice import ToolLike
from agentkit.tool_choice.fields import name_of_tool

Arguments: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a run made.

    Attributes:
        tool: The name of the tool.
        arguments: Its arguments; `{}` if they are no JSON object.
        outcome: How it ended; `None` if it waits for approval.
        answer: The text that the model was told; `""` if it waits.
        step: The number of the request in whose reply it was, from 1.
    """

    tool: str
    arguments: Arguments
    outcome: Outcome | None
    answer: str
    step: int


def calls_of(result: Result[Any], tool: ToolLike | None = None) -> tuple[Call, ...]:
    """Give the calls that a run made, in order.

    Args:
        result: What the run came to.
        tool: Only those of this tool.
    """
    wanted = None if tool is None else name_of_tool(tool)
    calls: list[Call] = []
    step = 0
    for at, message in enumerate(result.new_messages):
        if not isinstance(message, AssistantMessage):
            continue
        step += 1
        answers = _answers(result, result.start + at + 1)
        for call in message.tool_calls:
            answer = answers.get(call.id)
            said = None if answer is None else answer.outcome
            calls.append(Call(call.name, _object(call.arguments), said, answer.content if answer else "", step))
    return tuple([each for each in calls if wanted in (None, each.tool)])


def _answers(result: Result[Any], start: int) -> dict[str, ToolMessage]:
    """Give the answers that follow a reply; an id is good for one reply only."""
    answers: dict[str, ToolMessage] = {}
    for message in result.messages[start:]:
        if isinstance(message, AssistantMessage):
            break
        if isinstance(message, ToolMessage):
            answers[message.tool_call_id] = message
    return answers


def _object(arguments: str) -> dict[str, object]:
    try:
        return object_of(json.loads(arguments))
    except ValueError:
        return {}


@dataclass(frozen=True, slots=True)
class Story:
    """A run that is asserted on; see `assert_that`. Each method raises `AssertionError` with the run's story."""

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
            times: How often, exactly; without it, once or more.
            with_: Count only calls with these arguments (there may be others beside them), or those for whose arguments
                this function is true.
            outcome: Count only calls that ended so.
        """
        __tracebackhide__ = True
        name = name_of_tool(tool)
        made = calls_of(self.result, name)
        found = [each for each in made if _fits(each, with_) and outcome in (None, each.outcome)]
        if times is None and not found:
            asked = f"{name} was never called{_condition(with_, outcome)}"
            self._fail(f"{asked}; it was called {_shown(made)}" if made else asked)
        if times is not None and len(found) != times:
            self._fail(f"{name} was called {_times(len(found))}{_condition(with_, outcome)}, not {_times(times)}")
        return Called(self.result, name, calls_of(self.result).index(found[0]) if found else None)

    def never(self, tool: ToolLike) -> "Story":
        """Assert that a tool was not called."""
        __tracebackhide__ = True
        name = name_of_tool(tool)
        if made := calls_of(self.result, name):
            self._fail(f"{name} was called {_shown(made)}, and was never to be")
        return self

    def steps(self, *, max: int) -> "Story":  # noqa: A002 (read as a sentence)
        """Assert that the run made at most so many requests."""
        __tracebackhide__ = True
        if len(self.result.steps) > max:
            self._fail(f"the run took {len(self.result.steps)} steps, and at most {max} were to be")
        return self

    def tokens(self, *, max: int) -> "Story":  # noqa: A002 (as above)
        """Assert that the run took at most so many tokens. One whose endpoint did not count them fails."""
        __tracebackhide__ = True
        return self._at_most("tokens", self.result.usage.total_tokens, max)

    def cost(self, *, max: float) -> "Story":  # noqa: A002 (as above)
        """Assert that the run cost at most so much. One whose price is not known fails."""
        __tracebackhide__ = True
        return self._at_most("cost", self.result.usage.cost, max)

    def obeyed(self) -> "Story":
        """Assert that every reply was taken: none broke the tool choice, was cut, or empty."""
        __tracebackhide__ = True
        broken = [step.violation for step in self.result.steps if step.violation is not None]
        if broken:
            self._fail(f"{len(broken)} replies were not taken, the first because {broken[0]}")
        return self

    def _at_most(self, what: str, used: float | None, most: float) -> "Story":
        __tracebackhide__ = True
        if used is None:
            self._fail(f"the {what} of the run is not known; prices are told by Agent(prices=…)")
        elif used > most:
            self._fail(f"the {what} of the run was {used:g}, and at most {most:g} was to be")
        return self

    def _fail(self, said: str) -> None:
        __tracebackhide__ = True
        raise AssertionError(f"{said}\n\n{self.result.explain()}")


@dataclass(frozen=True, slots=True)
class Called(Story):
    """A run that called a tool, to be asserted on further.

    Attributes:
        tool: The name of the tool.
        at: Which of the calls of the run was its first that counted; `None` if there is none.
    """

    tool: str
    at: int | None

    def before(self, tool: ToolLike) -> Story:
        """Assert that this call came before the first one of another tool, and that there is such a one."""
        __tracebackhide__ = True
        other = name_of_tool(tool)
        first = next((at for at, each in enumerate(calls_of(self.result)) if each.tool == other), None)
        if first is None:
            self._fail(f"{other} was never called, so {self.tool} did not come before it")
        elif self.at is None or first < self.at:
            self._fail(f"{other} was called before {self.tool}")
        return Story(self.result)


def assert_that(result: Result[Any]) -> Story:
    """Begin assertions on a run: `assert_that(result).called("search").before("answer").never("delete")`.

    Args:
        result: What the run came to.
    """
    return Story(result)


def _fits(call: Call, with_: Arguments | Callable[[Arguments], bool] | None) -> bool:
    if with_ is None:
        return True
    if callable(with_):
        return with_(call.arguments)
    return all(key in call.arguments and call.arguments[key] == value for key, value in with_.items())


def _condition(with_: Arguments | Callable[[Arguments], bool] | None, outcome: Outcome | None) -> str:
    what = "" if with_ is None else " so" if callable(with_) else f" with {_written(with_)}"
    return what + ("" if outcome is None else f" and the outcome {outcome!r}")


def _shown(calls: tuple[Call, ...]) -> str:
    return "with " + ", then ".join([_written(each.arguments) for each in calls])


def _written(arguments: Arguments) -> str:
    return json.dumps(dict(arguments), ensure_ascii=False, default=repr)


def _times(number: int) -> str:
    return f"{number} time{'' if number == 1 else 's'}"
