"""Questions about a policy that are answered before any run: what it can do, and whether it keeps a rule.

report = analyse(agent)
print(report)
print(report.graph.mermaid())
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol, cast, overload

from agentkit.core.errors import ConfigurationError
from agentkit.tool_choice.exploration import Exploration, parts_of
from agentkit.tool_choice.fields import ToolLike, name_of_tool
from agentkit.tool_choice.policy import Policy, PolicyLike, policy_of
from agentkit.tool_choice.report import Path, Report, after
from agentkit.tools.toolbox import Toolbox

MOST_STATES = 1_000
_MOST_AT_CONSTRUCTION = 300


class Governed(Protocol):
    """What has tools and a policy over them, as an agent has."""

    @property
    def tools(self) -> Toolbox: ...
    @property
    def tool_choice(self) -> Policy: ...
    @property
    def stop_at(self) -> frozenset[str]: ...


@overload
def analyse(subject: Governed, *, most: int = MOST_STATES) -> Report: ...
@overload
def analyse(
    subject: PolicyLike, tools: Iterable[ToolLike], *, stop_at: Iterable[ToolLike] = (), most: int = MOST_STATES
) -> Report: ...
def analyse(
    subject: Governed | PolicyLike,
    tools: Iterable[ToolLike] | None = None,
    *,
    stop_at: Iterable[ToolLike] = (),
    most: int = MOST_STATES,
) -> Report:
    """Compute what an agent's policy can do, without a run: dead tools, contradictions, states without an answer.

    What is explored is in `agentkit.tool_choice.exploration`: calls that end well or not, replies of one or two calls.

    Args:
        subject: An agent; or a policy, with its tools.
        tools: The tools, or their names, if `subject` is a policy.
        stop_at: The tools whose success ends the run, if `subject` is a policy.
        most: How many states to explore at most. A policy that does not say what it remembers has more.

    Raises:
        ConfigurationError: If a policy comes without tools.

    Example:
        >>> print(analyse(sequence("search", "answer"), ["search", "answer"]))
        3 states
    """
    return explored(subject, tools, stop_at, most=most).report()


def explored(
    subject: Governed | PolicyLike,
    tools: Iterable[ToolLike] | None,
    stop_at: Iterable[ToolLike] = (),
    *,
    most: int = MOST_STATES,
    rule: Policy | None = None,
) -> Exploration:
    """Return the exploration of what `analyse` takes, with a rule that is watched."""
    if tools is not None:
        policy, names = policy_of(cast("PolicyLike", subject)), frozenset(map(name_of_tool, tools))
        ends = frozenset(map(name_of_tool, stop_at))
    elif hasattr(subject, "stop_at"):
        governed = cast("Governed", subject)
        policy, names, ends = governed.tool_choice, governed.tools.names, governed.stop_at
    else:
        raise ConfigurationError(f"to analyse {subject!r}, name its tools: analyse(policy, tools)")
    # The histories of a policy that remembers all of them are many: rather longer ones than replies of two calls.
    return Exploration(policy, names, ends, most=most, longest=1 if forgets_to_say(policy) else 2, rule=rule)


@lru_cache(maxsize=1_024)  # a thousand agents with one policy are checked once
def refusal(policy: Policy, tools: frozenset[str], stop_at: frozenset[str]) -> str | None:
    """Return why an agent cannot have this policy, or `None`.

    It cannot if no answer can be reached, or if a tool that each part lets be called can never be called under all of
    them. A policy that does not say what it remembers is not refused: a run may differ from what is explored.
    """
    if forgets_to_say(policy):
        return None
    for longest in (1, 2):  # replies of two calls take longer, and seldom lead anywhere else
        report = _explore(policy, tools, stop_at, longest)
        found = None if report is None else _fault(report, policy, tools, stop_at)
        if found is None:
            return None
    return found


def _explore(policy: Policy, tools: frozenset[str], stop_at: frozenset[str], longest: int) -> Report | None:
    report = Exploration(policy, tools, stop_at, most=_MOST_AT_CONSTRUCTION, longest=longest).report()
    return report if report.complete else None


def _fault(report: Report, policy: Policy, tools: frozenset[str], stop_at: frozenset[str]) -> str | None:
    if () in report.stuck or report.nodes[0].choice is None:
        ways = "; ".join(map(str, report.contradictions[:1])) or f"it asks for more calls {after(())} and ever after"
        return f"under {policy!r} no answer can be reached: {ways}"
    parts = parts_of(policy)
    for tool in sorted(report.dead & policy.tools if len(parts) > 1 else ()):
        alone = [_explore(part, tools, stop_at, 1) for part in parts]
        if not any(found and tool in found.dead for found in alone):
            return f"{tool!r} can never be called under {policy!r}, though each part alone lets it be called"
    return None


def forgets_to_say(policy: Policy) -> bool:
    """Whether a part does not say what it remembers, so that only some of its histories can be explored."""
    return type(policy).memory is Policy.memory or any(map(forgets_to_say, policy.parts))


def breach_of(rule: Policy, subject: Governed) -> tuple[Path | None, Report]:
    """Return the shortest way to a call that a rule would not let run, and the report of the exploration."""
    exploration = explored(subject, None, rule=rule)
    report = exploration.report()
    return exploration.breach, report
