"""Guards: policies that say what may not happen, and leave the rest to others; made for `&`."""

from dataclasses import dataclass

from agentkit.core.choice import ToolChoice
from agentkit.core.errors import ConfigurationError
from agentkit.core.state import State
from agentkit.tool_choice.policy import Policy, PolicyLike, ToolLike, auto, most_restrictive, name_of_tool, policy_of


@dataclass(frozen=True, repr=False, init=False)
class before_answer(Policy):
    """No answer before a tool has succeeded: `before_answer(verify)`. The model may call others first.

    Args:
        tool: The tool.
    """

    tool: str

    def __init__(self, tool: ToolLike) -> None:
        self._set(tool=name_of_tool(tool))

    def __call__(self, state: State) -> ToolChoice:
        """Rule an answer out until the tool has succeeded."""
        return ToolChoice("auto") if state.succeeded(self.tool) else ToolChoice("required", firm=True)

    def __repr__(self) -> str:
        return f"before_answer({self.tool!r})"

    @property
    def tools(self) -> frozenset[str]:
        """The tool."""
        return frozenset({self.tool})


@dataclass(frozen=True, repr=False, init=False)
class prerequisite(Policy):
    """A tool is not offered before others have succeeded: `prerequisite(pay, quote)`.

    Args:
        tool: The tool.
        needs: What must have succeeded before it.
    """

    tool: str
    needs: tuple[str, ...]

    def __init__(self, tool: ToolLike, *needs: ToolLike) -> None:
        names = tuple([name_of_tool(each) for each in needs])
        if not names or name_of_tool(tool) in names:
            raise ConfigurationError("prerequisite(tool, *needs) needs at least one other tool that comes before it")
        self._set(tool=name_of_tool(tool), needs=names)

    def __call__(self, state: State) -> ToolChoice:
        """Withhold the tool until all that it needs has succeeded."""
        ready = all(state.succeeded(each) for each in self.needs)
        return ToolChoice("auto") if ready else ToolChoice("auto", withheld=frozenset({self.tool}))

    def __repr__(self) -> str:
        return f"prerequisite({', '.join(map(repr, (self.tool, *self.needs)))})"

    @property
    def tools(self) -> frozenset[str]:
        """The tool and what it needs."""
        return frozenset({self.tool, *self.needs})


@dataclass(frozen=True, repr=False, init=False)
class only(Policy):
    """Offer only these tools: `only(search, lookup)`, or `only(search, policy="required")`.

    Args:
        tools: The tools.
        policy: What the model may or must do with them.
    """

    names: frozenset[str]
    policy: Policy

    def __init__(self, *tools: ToolLike, policy: PolicyLike = auto) -> None:
        if not tools:
            raise ConfigurationError("only() needs at least one tool; to offer none, use `none`")
        self._set(names=frozenset([name_of_tool(each) for each in tools]), policy=policy_of(policy))

    def __call__(self, state: State) -> ToolChoice:
        """Narrow what the policy offers."""
        return most_restrictive([(self.policy, self.policy(state)), (self, ToolChoice("auto", tools=self.names))])

    def __repr__(self) -> str:
        policy = "" if self.policy == auto else f", policy={self.policy!r}"
        return f"only({', '.join(map(repr, sorted(self.names)))}{policy})"

    @property
    def tools(self) -> frozenset[str]:
        """The tools, and those that the policy speaks of."""
        return self.names | self.policy.tools


@dataclass(frozen=True, repr=False)
class budget(Policy):
    """After so many calls, `none`: the model must answer with what it has.

    Calls of one reply are run together, so the last reply may go over. A call that was refused does not count.

    Args:
        calls: How many.
    """

    calls: int

    def __post_init__(self) -> None:
        if self.calls < 0:
            raise ConfigurationError(f"a budget is a number of calls, not {self.calls!r}")

    def __call__(self, state: State) -> ToolChoice:
        """Choose by how many calls were made."""
        spent = sum(record.outcome != "refused" for record in state.calls)
        return ToolChoice("none" if spent >= self.calls else "auto")

    def __repr__(self) -> str:
        return f"budget({self.calls})"

    @property
    def silences(self) -> bool:
        """It does, once the calls are spent."""
        return True
