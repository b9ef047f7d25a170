"""Guards: policies that say what may not happen, and leave the rest to others; made for `&`."""

from collections.abc import Hashable

from agentkit.core.choice import ToolChoice, Verdict, allow
from agentkit.core.errors import ConfigurationError
from agentkit.core.state import Call, State
from agentkit.tool_choice.choices import most_restrictive
from agentkit.tool_choice.fields import ToolLike, ToolName, name_of_tool, names_of
from agentkit.tool_choice.policy import Part, Policy, PolicyLike, Remembering, Scope, auto, policy_of

_FIRM = ToolChoice("required", firm=True)


class before_answer(Remembering):
    """No answer before a tool has succeeded: `before_answer(verify)`. The model may call others first.

    For several tools: `all_of` or `any_of`.

    Args:
        tool: The tool.
        scope: What is remembered.
    """

    tool: ToolName

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice() if self.memory(state) else _FIRM

    def memory(self, state: State) -> bool:
        return self.seen(state).succeeded(self.tool)


class all_of(Remembering):
    """No answer before all of these tools have succeeded, in any order: `all_of(weather, news)`.

    Args:
        tools: Two tools or more; for one, `before_answer`.
        scope: What is remembered.
    """

    names: tuple[str, ...]

    def __init__(self, *tools: ToolLike, scope: Scope = "turn") -> None:
        self._set(names=names_of(tools, 2, "all_of"), scope=scope)
        self.__post_init__()

    def __call__(self, state: State) -> ToolChoice:
        return _FIRM if self.memory(state) else ToolChoice()

    def memory(self, state: State) -> frozenset[str]:
        seen = self.seen(state)
        return frozenset([name for name in self.names if not seen.succeeded(name)])


class any_of(Remembering):
    """No answer before one of these tools has succeeded: `any_of(search, browse)`.

    Args:
        tools: Two tools or more; for one, `before_answer`.
        scope: What is remembered.
    """

    names: tuple[str, ...]

    def __init__(self, *tools: ToolLike, scope: Scope = "turn") -> None:
        self._set(names=names_of(tools, 2, "any_of"), scope=scope)
        self.__post_init__()

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice() if self.memory(state) else _FIRM

    def memory(self, state: State) -> bool:
        seen = self.seen(state)
        return any(seen.succeeded(name) for name in self.names)


class prerequisite(Remembering):
    """A tool is not offered before others have succeeded: `prerequisite(pay, quote)`.

    Args:
        tool: The tool.
        needs: What must have succeeded before it.
        each: Whether every call of the tool needs successes of its own, as a payment needs an approval of its own.
        scope: What is remembered.
    """

    tool: ToolName
    needs: tuple[str, ...]
    each: bool = False

    def __init__(self, tool: ToolLike, *needs: ToolLike, each: bool = False, scope: Scope = "turn") -> None:
        names = names_of(needs, 0, "prerequisite")
        if not names or name_of_tool(tool) in names:
            raise ConfigurationError("prerequisite(tool, *needs) needs at least one other tool that comes before it")
        self._set(tool=tool, needs=names, each=each, scope=scope)
        self.__post_init__()

    def _missing(self, state: State) -> dict[str, int]:
        """Return how many successes of each need are left: the calls of the tool used some, if each needs its own."""
        left = dict.fromkeys(self.needs, 0)
        for record in self.seen(state).calls:
            name = record.call.name
            if name in left and record.outcome == "ok":
                left[name] = left[name] + 1 if self.each else 1
            elif name == self.tool and self.each and record.outcome != "refused":
                left = {need: max(count - 1, 0) for need, count in left.items()}
        return left

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice() if all(self._missing(state).values()) else ToolChoice(withheld=frozenset({self.tool}))

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name != self.tool:
            return allow
        used = sum(pending.name == self.tool for pending in state.pending) if self.each else 0
        missing = [need for need, count in self._missing(state).items() if count <= used]
        more = " again" if used else ""
        reason = f"{', '.join(missing)} must succeed{more} before {self.tool}"
        return Verdict("deny", reason, repr(self)) if missing else allow

    def memory(self, state: State) -> Hashable:
        return tuple(self._missing(state).items())


class never_after(Remembering):
    """A tool is never called once another was: `never_after(send_mail, read_web)`, against tainted input.

    Args:
        tool: The tool.
        after: The tools after which it is withheld, however their calls ended.
        scope: What is remembered.
    """

    tool: ToolName
    after: tuple[str, ...]

    def __init__(self, tool: ToolLike, *after: ToolLike, scope: Scope = "turn") -> None:
        names = names_of(after, 1, "never_after")
        if name_of_tool(tool) in names:
            raise ConfigurationError(
                f"never_after(tool, *after) needs other tools; for {names}, use budget(1, of=tool)"
            )
        self._set(tool=tool, after=names, scope=scope)
        self.__post_init__()

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice(withheld=frozenset({self.tool} if self.memory(state) else ()))

    def judge(self, call: Call, state: State) -> Verdict:
        before = [pending.name for pending in state.pending if pending.name in self.after]
        if call.name != self.tool or not (before or self.memory(state)):
            return allow
        return Verdict("deny", f"{self.tool} is not allowed after {' or '.join(self.after)}", repr(self))

    def memory(self, state: State) -> bool:
        calls = self.seen(state).calls
        return any(record.call.name in self.after and record.outcome != "refused" for record in calls)


class must_follow(Remembering):
    """No answer while something is open: after `open_ticket` succeeds, `close_ticket` must: `must_follow(open, close)`.

    Args:
        tool: What opens.
        then: What closes the last that was opened.
        scope: What is remembered.
    """

    tool: ToolName
    then: ToolName

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tool == self.then:
            raise ConfigurationError("must_follow(tool, then) needs two tools")

    def __call__(self, state: State) -> ToolChoice:
        return _FIRM if self.memory(state) else ToolChoice()

    def memory(self, state: State) -> int:
        still_open = 0
        for record in self.seen(state).calls:
            if record.outcome == "ok":
                still_open += (record.call.name == self.tool) - (record.call.name == self.then and still_open > 0)
        return still_open


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
        self._set(names=tuple(sorted(set(names_of(tools, 1, "only")))), policy=policy_of(policy))

    def __call__(self, state: State) -> ToolChoice:
        offered = ToolChoice(tools=frozenset(self.names))
        return most_restrictive([(self.policy, self.policy(state)), (self, offered)])

    def judge(self, call: Call, state: State) -> Verdict:
        return self.policy.judge(call, state)

    def memory(self, state: State) -> Hashable:
        return self.policy.memory(state)


class cooldown(Remembering):
    """A tool is not offered in the steps right after one that called it: `cooldown(search, steps=2)`.

    Args:
        tool: The tool.
        steps: For how many steps, 1 or more.
        scope: What is remembered.
    """

    tool: ToolName
    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigurationError(f"a cooldown lasts at least 1 step, not {self.steps!r}")

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice(withheld=frozenset({self.tool} if self.memory(state) else ()))

    def memory(self, state: State) -> int:
        seen = self.seen(state)
        called = [record.step for record in seen.calls if record.call.name == self.tool]
        return max(self.steps + 1 - (seen.step - called[-1]), 0) if called else 0


class fallback(Remembering):
    """After failures in a row of one tool, another is offered in its place: `fallback(search, then=backup, after=2)`.

    Args:
        tool: The tool that is offered first.
        then: The tool that is offered instead, once the first has failed.
        after: How many failures in a row, 1 or more. A refused call is not one.
        scope: What is remembered.
    """

    tool: ToolName
    then: ToolName
    after: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.after < 1 or self.tool == self.then:
            raise ConfigurationError(f"{self!r} needs two tools, and at least 1 failure")

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice(withheld=frozenset({self.tool if self.memory(state) == self.after else self.then}))

    def judge(self, call: Call, state: State) -> Verdict:
        if self.memory(state) == self.after or call.name != self.then:
            return allow
        return Verdict("deny", f"{self.then} is for when {self.tool} has failed {self.after} times", repr(self))

    def memory(self, state: State) -> int:
        failures = 0
        for record in self.seen(state).calls:
            if record.call.name == self.tool and record.outcome != "refused" and failures < self.after:
                failures = 0 if record.outcome == "ok" else failures + 1
        return failures
