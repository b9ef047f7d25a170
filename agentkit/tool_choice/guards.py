"""Guards: policies that say what may not happen, and leave the rest to others; made for `&`.

How the calls before it in the same reply count for a call: they have not ended, so nothing that a call needs has
happened by them, and what a call uses up or rules out has.
"""

from collections.abc import Hashable, Iterable

from agentkit.core.checks import check_number
from agentkit.core.choice import ToolChoice, Verdict, allow, deny
from agentkit.core.errors import ConfigurationError
from agentkit.core.growing import folded
from agentkit.core.state import Call, CallRecord, State
from agentkit.tool_choice.choices import most_restrictive
from agentkit.tool_choice.fields import ToolLike, ToolName, name_of_tool, names_of
from agentkit.tool_choice.policy import Part, Policy, PolicyLike, auto, policy_of
from agentkit.tool_choice.remembering import Open, Remembering, Scope

_FIRM = ToolChoice("required", firm=True)


def _withheld(tool: str, *, withheld: bool) -> ToolChoice:
    return ToolChoice(withheld=frozenset({tool})) if withheld else ToolChoice()


class before_answer(Remembering):
    """No answer before a tool has succeeded: `before_answer(verify)`. The model may call others first.

    For several tools: `all_of` or `any_of`.

    Args:
        tool: The tool.
        scope: What is remembered.
    """

    tool: ToolName

    def _done(self, state: State) -> bool:
        return self.seen(state).succeeded(self.tool)

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice() if self._done(state) else _FIRM

    def memory(self, state: State) -> bool:
        return self._done(state)


class all_of(Remembering):
    """No answer before all of these tools have succeeded, in any order: `all_of(weather, news)`.

    Args:
        tools: Two tools or more; for one, `before_answer`.
        scope: What is remembered.
    """

    names: tuple[str, ...]

    def __init__(self, *tools: ToolLike, scope: Scope = "turn") -> None:
        self._set(names=names_of(tools, 2, "all_of"), scope=scope)

    def _missing(self, state: State) -> frozenset[str]:
        seen = self.seen(state)
        return frozenset([name for name in self.names if not seen.succeeded(name)])

    def __call__(self, state: State) -> ToolChoice:
        return _FIRM if self._missing(state) else ToolChoice()

    def memory(self, state: State) -> frozenset[str]:
        return self._missing(state)


class any_of(Remembering):
    """No answer before one of these tools has succeeded: `any_of(search, browse)`.

    Args:
        tools: Two tools or more; for one, `before_answer`.
        scope: What is remembered.
    """

    names: tuple[str, ...]

    def __init__(self, *tools: ToolLike, scope: Scope = "turn") -> None:
        self._set(names=names_of(tools, 2, "any_of"), scope=scope)

    def _has_one(self, state: State) -> bool:
        seen = self.seen(state)
        return any(seen.succeeded(name) for name in self.names)

    def __call__(self, state: State) -> ToolChoice:
        return ToolChoice() if self._has_one(state) else _FIRM

    def memory(self, state: State) -> bool:
        return self._has_one(state)


class prerequisite(Remembering):
    """A tool is not offered before others have succeeded: `prerequisite(pay, approve, each=True)`.

    What is in the same reply has not ended, so of `approve` and `pay` in one reply, `approve` runs and `pay` is denied:
    the model reads the outcome first.

    Args:
        tool: The tool.
        needs: What must have succeeded before it.
        each: Whether every call of the tool needs successes of its own, as a payment needs an approval of its own.
        scope: What is remembered.

    Raises:
        ConfigurationError: If there is no other tool, or one comes twice.
    """

    tool: ToolName
    needs: tuple[str, ...]
    each: bool = False

    def __init__(self, tool: ToolLike, *needs: ToolLike, each: bool = False, scope: Scope = "turn") -> None:
        names = names_of(needs, 1, "prerequisite")
        if name_of_tool(tool) in names:
            raise ConfigurationError("prerequisite(tool, *needs) needs other tools, that come before it")
        self._set(tool=tool, needs=names, each=each, scope=scope)

    def _left(self, state: State) -> dict[str, int]:
        """Return how many successes of each need are left: calls of the tool used some, if each needs its own."""
        return folded(self.seen(state).calls, self, dict.fromkeys(self.needs, 0), self._with_calls)

    def _with_calls(self, left: dict[str, int], new: Iterable[CallRecord]) -> dict[str, int]:
        left = dict(left)
        for record in new:
            name = record.call.name
            if name in left and record.outcome == "ok":
                left[name] = left[name] + 1 if self.each else 1
            elif name == self.tool and self.each and record.outcome != "refused":
                left = {need: max(count - 1, 0) for need, count in left.items()}
        return left

    def __call__(self, state: State) -> ToolChoice:
        return _withheld(self.tool, withheld=not all(self._left(state).values()))

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name != self.tool:
            return allow
        used = sum(pending.name == self.tool for pending in state.pending) if self.each else 0
        missing = [need for need, count in self._left(state).items() if count <= used]
        if not missing:
            return allow
        more = " again" if used else ""
        return deny(f"{' and '.join(missing)} must have succeeded{more} in a reply before {self.tool}")

    def memory(self, state: State) -> Hashable:
        return tuple(map(Open, self._left(state).values()))


class never_after(Remembering):
    """A tool is never called once another was: `never_after(send_mail, read_web)`, against tainted input.

    Within one reply the order of the calls counts: `send_mail` before `read_web` runs.

    Args:
        tool: The tool.
        after: The tools after which it is withheld, however their calls ended.
        scope: What is remembered.

    Raises:
        ConfigurationError: If there is no other tool, or one comes twice.
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

    def _tainted(self, state: State) -> bool:
        return folded(self.seen(state).calls, self, start=False, add=self._with_calls)

    def _with_calls(self, tainted: bool, new: Iterable[CallRecord]) -> bool:  # noqa: FBT001 (what is folded)
        return tainted or any(record.call.name in self.after and record.outcome != "refused" for record in new)

    def __call__(self, state: State) -> ToolChoice:
        return _withheld(self.tool, withheld=self._tainted(state))

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name != self.tool:
            return allow
        tainted = any(pending.name in self.after for pending in state.pending) or self._tainted(state)
        return deny(f"{self.tool} is not allowed after {' or '.join(self.after)}") if tainted else allow

    def memory(self, state: State) -> bool:
        return self._tainted(state)


class must_follow(Remembering):
    """No answer while something is open: after `open_ticket` succeeds, `close_ticket` must: `must_follow(open, close)`.

    Args:
        tool: What opens. Each success needs a success of `then` of its own.
        then: What closes one that was opened.
        scope: What is remembered.

    Raises:
        ConfigurationError: If both tools are the same.
    """

    tool: ToolName
    then: ToolName

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tool == self.then:
            raise ConfigurationError("must_follow(tool, then) needs two tools")

    def _open(self, state: State) -> int:
        return folded(self.seen(state).calls, self, 0, self._with_calls)

    def _with_calls(self, still_open: int, new: Iterable[CallRecord]) -> int:
        for record in new:
            if record.outcome == "ok":
                still_open += (record.call.name == self.tool) - (record.call.name == self.then and still_open > 0)
        return still_open

    def __call__(self, state: State) -> ToolChoice:
        return _FIRM if self._open(state) else ToolChoice()

    def memory(self, state: State) -> int:
        return Open(self._open(state))


class only(Policy):
    """Offer only these tools: `only(search, lookup)`, or `only(search, policy="required")`.

    Args:
        tools: The tools.
        policy: What the model may or must do with them.

    Raises:
        ConfigurationError: If there is no tool, or one comes twice.
    """

    names: tuple[str, ...]
    policy: Part = Part(auto)

    def __init__(self, *tools: ToolLike, policy: PolicyLike = auto) -> None:
        if not tools:
            raise ConfigurationError("only() needs at least one tool; to offer none, use `none`")
        self._set(names=tuple(sorted(names_of(tools, 1, "only"))), policy=policy_of(policy))

    def __call__(self, state: State) -> ToolChoice:
        offered = ToolChoice(tools=frozenset(self.names))
        return most_restrictive([(self.policy, self.policy(state)), (self, offered)])

    def judge(self, call: Call, state: State) -> Verdict:
        return self.policy.judge(call, state)

    def memory(self, state: State) -> Hashable:
        return self.policy.memory(state)


class cooldown(Remembering):
    """A tool is not offered in the steps right after one that called it: `cooldown(search, steps=2)`.

    It may come once in a reply. A refused call does not count, and a reply whose calls were all refused is no step.

    Args:
        tool: The tool.
        steps: For how many steps, 1 or more.
        scope: What is remembered.

    Raises:
        ConfigurationError: If `steps` is not a whole number of at least 1.
    """

    tool: ToolName
    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("cooldown(steps)", self.steps, least=1, whole=True)

    def _wait(self, state: State) -> int:
        """Return for how many steps the tool is withheld."""
        last = folded(self.seen(state).calls, self, None, self._with_calls)
        return 0 if last is None else max(self.steps + 1 - (state.step - last), 0)

    def _with_calls(self, last: int | None, new: Iterable[CallRecord]) -> int | None:
        """Return the last step that called the tool."""
        steps = [record.step for record in new if record.call.name == self.tool and record.outcome != "refused"]
        return steps[-1] if steps else last

    def __call__(self, state: State) -> ToolChoice:
        return _withheld(self.tool, withheld=self._wait(state) > 0)

    def judge(self, call: Call, state: State) -> Verdict:
        if call.name != self.tool:
            return allow
        beside = any(pending.name == self.tool for pending in state.pending)
        wait = self.steps if beside else self._wait(state)
        return (
            deny(f"{self.tool} may be called again after {wait} step{'s' * (wait > 1)} without it") if wait else allow
        )

    def memory(self, state: State) -> int:
        return self._wait(state)


class fallback(Remembering):
    """After failures in a row of one tool, another is offered in its place: `fallback(search, then=backup, after=2)`.

    Several failures in one reply count each. Once the other is offered, the first is not offered any more.

    Args:
        tool: The tool that is offered first.
        then: The tool that is offered instead, once the first has failed.
        after: How many failures in a row, 1 or more. A refused call is not one.
        scope: What is remembered.

    Raises:
        ConfigurationError: If both tools are the same, or `after` is not a whole number of at least 1.
    """

    tool: ToolName
    then: ToolName
    after: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("fallback(after)", self.after, least=1, whole=True)
        if self.tool == self.then:
            raise ConfigurationError("fallback(tool, then) needs two tools")

    def _failures(self, state: State) -> int:
        """Return how many times in a row the tool has failed; once it is too many, it stays so."""
        return folded(self.seen(state).calls, self, 0, self._with_calls)

    def _with_calls(self, failures: int, new: Iterable[CallRecord]) -> int:
        for record in new:
            if record.call.name == self.tool and record.outcome != "refused" and failures < self.after:
                failures = 0 if record.outcome == "ok" else failures + 1
        return failures

    def __call__(self, state: State) -> ToolChoice:
        return _withheld(self.tool if self._failures(state) == self.after else self.then, withheld=True)

    def judge(self, call: Call, state: State) -> Verdict:
        failed = self._failures(state) == self.after
        if failed and call.name == self.tool:
            return deny(f"{self.tool} has failed {self.after} times; call {self.then} instead")
        if not failed and call.name == self.then:
            return deny(f"{self.then} is for when {self.tool} has failed {self.after} times in a row")
        return allow

    def memory(self, state: State) -> int:
        return self._failures(state)
