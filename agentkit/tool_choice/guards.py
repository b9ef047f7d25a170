"""Guards: policies that say what may not happen, and leave the rest to others; made for `&`."""

from agentkit.core.choice import ToolChoice
from agentkit.core.errors import ConfigurationError
from agentkit.core.state import State
from agentkit.tool_choice.choices import most_restrictive
from agentkit.tool_choice.fields import ToolLike, ToolName, name_of_tool
from agentkit.tool_choice.policy import Part, Policy, PolicyLike, auto, policy_of


class before_answer(Policy):
    """No answer before a tool has succeeded: `before_answer(verify)`. The model may call others first.

    Args:
        tool: The tool.
    """

    tool: ToolName

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice("auto") if state.succeeded(self.tool) else ToolChoice("required", firm=True)


class prerequisite(Policy):
    """A tool is not offered before others have succeeded: `prerequisite(pay, quote)`.

    Args:
        tool: The tool.
        needs: What must have succeeded before it.
    """

    tool: ToolName
    needs: tuple[str, ...]

    def __init__(self, tool: ToolLike, *needs: ToolLike) -> None:
        names = tuple([name_of_tool(need) for need in needs])
        if not names or name_of_tool(tool) in names:
            raise ConfigurationError("prerequisite(tool, *needs) needs at least one other tool that comes before it")
        self._set(tool=tool, needs=names)

    def __call__(self, state: State) -> ToolChoice:
        ready = all(state.succeeded(need) for need in self.needs)
        return ToolChoice("auto") if ready else ToolChoice("auto", withheld=frozenset({self.tool}))


class only(Policy):
    """Offer only these tools: `only(search, lookup)`, or `only(search, policy="required")`.

    Args:
        tools: The tools.
        policy: What the model may or must do with them.
    """

    names: tuple[str, ...]
    policy: Part = Part(auto)

    def __init__(self, *tools: ToolLike, policy: PolicyLike = auto) -> None:
        if not tools:
            raise ConfigurationError("only() needs at least one tool; to offer none, use `none`")
        self._set(names=tuple(sorted({name_of_tool(tool) for tool in tools})), policy=policy_of(policy))

    def __call__(self, state: State) -> ToolChoice:
        offered = ToolChoice("auto", tools=frozenset(self.names))
        return most_restrictive([(self.policy, self.policy(state)), (self, offered)])


class budget(Policy):
    """After so many calls, `none`: the model must answer with what it has.

    Calls of one reply run together, so the last reply may go over. A refused call does not count.

    Args:
        calls: How many, 0 or more.
    """

    calls: int

    def __post_init__(self) -> None:
        if self.calls < 0:
            raise ConfigurationError(f"a budget is a number of calls, not {self.calls!r}")

    def __call__(self, state: State) -> ToolChoice:
        spent = sum(record.outcome != "refused" for record in state.calls)
        return ToolChoice("none" if spent >= self.calls else "auto")

    @property
    def silences(self) -> bool:
        """It does, once the calls are spent."""
        return True


class cooldown(Policy):
    """A tool is not offered in the steps right after one that called it: `cooldown(search, steps=2)`.

    Args:
        tool: The tool.
        steps: For how many steps, 1 or more.
    """

    tool: ToolName
    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigurationError(f"a cooldown lasts at least 1 step, not {self.steps!r}")

    def __call__(self, state: State) -> ToolChoice:
        called = [record.step for record in state.calls if record.call.name == self.tool]
        cooling = bool(called) and state.step - called[-1] <= self.steps
        return ToolChoice("auto", withheld=frozenset({self.tool} if cooling else ()))
