"""Cases: a prompt, and what is expected of the run."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, NamedTuple, TypeAlias, cast

from agentkit.agent.agent import Agent
from agentkit.core.chat import FINAL_ANSWER
from agentkit.core.dicts import Prompt, messages_of
from agentkit.core.errors import ConfigurationError
from agentkit.core.json import decode, object_of
from agentkit.core.messages import AssistantMessage, Message, ToolMessage
from agentkit.core.model import Model
from agentkit.core.printable import one_line
from agentkit.runs.result import Result
from agentkit.tool_choice import ToolLike
from agentkit.tool_choice.fields import name_of_tool

AnswerCheck: TypeAlias = Callable[[Any], object | Awaitable[object]]
"""Gets the output, sync or async, and returns whether it is right."""

_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """A call that a run should make; `expect` makes one.

    Attributes:
        tool: The name of the tool.
        arguments: Arguments that it must have. Others may come beside them. A value is compared by its own `__eq__`, so
            it may be a matcher, such as those of `dirty-equals`.
    """

    tool: str
    arguments: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)

    def fits(self, call: "MadeCall") -> bool:
        """Whether a call has this tool and these arguments."""
        return call.tool == self.tool and all(
            name in call.arguments and bool(value == call.arguments[name]) for name, value in self.arguments.items()
        )

    def __str__(self) -> str:
        return f"{self.tool}({', '.join([f'{name}={value!r}' for name, value in self.arguments.items()])})"


def expect(tool: ToolLike, **arguments: object) -> ExpectedCall:
    """Expect a call of a tool.

    >>> expect(get_weather, city="Paris")
    """
    return ExpectedCall(name_of_tool(tool), arguments)


class MadeCall(NamedTuple):
    """A call that a run made."""

    tool: str
    arguments: Mapping[str, object]


class Marks(NamedTuple):
    """What a run did right, and what was wrong, in words."""

    right_tool: bool
    right_arguments: bool
    no_forbidden: bool
    answered: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt with what is expected of the run.

        Case("Is it raining in Paris?", calls=[expect(get_weather, city="Paris")], answer="rain", tags=["weather"])

    Attributes:
        prompt: The prompt, or a history.
        calls: The calls that the run should make, in any order. Each needs a call of its own.
        forbidden: Tools that must not run.
        answer: A text that the answer has, whatever the case of its letters; a function that gets the output, sync or
            async, such as a `Judge`; or any value that the output must equal.
        exact: Whether the run may make no other calls than those in `calls`.
        tags: Words for groups of cases.
        name: Its name in the report; by default the beginning of the prompt.
        deps: The dependencies of its tools.
    """

    prompt: Prompt
    calls: Sequence[ExpectedCall] = ()
    forbidden: Sequence[ToolLike] = ()
    answer: object = None
    exact: bool = False
    tags: Sequence[str] = ()
    name: str = ""
    deps: object = None

    def __post_init__(self) -> None:
        if not self.name:
            last = str(messages_of(self.prompt)[-1].content)
            object.__setattr__(self, "name", one_line(last, _LONGEST_NAME))
        if isinstance(self.tags, str):
            raise ConfigurationError(f"tags must be a list of words, not {self.tags!r}")

    def __str__(self) -> str:
        return self.name

    async def check(self, result: Result[Any] | None) -> Marks:
        """Say what a run did right; `None` stands for a run that failed.

        In a test: `assert not (await case.check(await agent.run(case.prompt))).problems`
        """
        made = () if result is None else calls_in(result.new_messages or result.messages)
        left, missing = list(made), list[ExpectedCall]()
        for expected in self.calls:
            call = next((call for call in left if expected.fits(call)), None)
            if call is None:
                missing.append(expected)
            else:
                left.remove(call)
        names = [call.tool for call in left]
        no_call = [expected for expected in missing if not _taken(names, expected.tool)]
        extra = [call.tool for call in left] if self.exact and not missing else []
        forbidden = {name_of_tool(tool) for tool in self.forbidden} & {call.tool for call in made}
        answered = result is not None and result.stop in ("answer", "tool") and await self._is_right(result.output)
        problems = [
            *[f"no call {expected}" for expected in missing],
            *[f"{tool} was called too" for tool in extra],
            *[f"{tool} is forbidden and ran" for tool in sorted(forbidden)],
            *([] if answered or result is None else [f"the answer: {one_line(str(result.output), _LONGEST_NAME)}"]),
            *(["the run failed"] if result is None else []),
        ]
        return Marks(
            result is not None and not no_call and not extra,
            result is not None and not missing and not extra,
            not forbidden,
            answered,
            tuple(problems),
        )

    async def _is_right(self, output: object) -> bool:
        if self.answer is None:
            return True
        if isinstance(self.answer, str) and isinstance(output, str):
            return self.answer.lower() in output.lower()
        if callable(self.answer):
            returned = cast("AnswerCheck", self.answer)(output)
            return bool(await returned if isawaitable(returned) else returned)
        return bool(self.answer == output)


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that judges answers.

        Case("Sum up the report.", answer=Judge("openai:gpt-5-mini", "Does it name the three causes?"))

    Attributes:
        model: The model, or a model's name.
        question: A question about the answer; yes is right.
    """

    model: str | Model
    question: str

    async def __call__(self, output: object) -> bool:
        """Ask the model."""
        agent = Agent(self.model, output=bool, instructions="Judge an answer. True is yes, false is no.")
        return (await agent.run(f"The answer:\n\n{output}\n\n{self.question}")).output


def calls_in(messages: Sequence[Message]) -> tuple[MadeCall, ...]:
    """Return the calls of a conversation that were not refused, apart from the final answer."""
    refused = {m.tool_call_id for m in messages if isinstance(m, ToolMessage) and m.outcome == "refused"}
    return tuple(
        [
            MadeCall(call.name, object_of(_decoded(call.arguments)))
            for message in messages
            if isinstance(message, AssistantMessage)
            for call in message.tool_calls
            if call.id not in refused and call.name != FINAL_ANSWER
        ]
    )


def _decoded(arguments: str) -> object:
    try:
        return decode(arguments)
    except ValueError:
        return None


def _taken(names: list[str], tool: str) -> bool:
    """Take a name from the list; return whether it was there."""
    if tool in names:
        names.remove(tool)
        return True
    return False
