"""Assertions on an agent's policy that hold for every run: proven, or refuted by the shortest history."""

import warnings
from dataclasses import dataclass
from functools import cached_property

from agentkit.tool_choice import Policy, ToolLike, analyse, budget, never_after, prerequisite
from agentkit.tool_choice.analysis import Governed, breach_of
from agentkit.tool_choice.fields import name_of_tool
from agentkit.tool_choice.report import Report, after, steps_to_answer


@dataclass(frozen=True)
class Proof:
    """Assertions on what an agent's policy lets happen in any run; see `assert_that`.

    Each method explores the policy as `agentkit.tool_choice.analyse` does. It raises `AssertionError` with the shortest
    history that refutes the assertion, and also if there is too much to explore, so that nothing is proven.
    """

    agent: Governed

    def never(self, tool: ToolLike) -> "Never":
        """Begin an assertion: `.never("pay").before("approve")`, or `.after("read")`, or `.at_all()`."""
        __tracebackhide__ = True
        return Never(self, _known(tool, self.agent))

    def every_tool_reachable(self) -> "Proof":
        """Assert that some history leads to a call of each tool."""
        __tracebackhide__ = True
        _check_complete(self._report, self._policy)
        if self._report.dead:
            raise AssertionError(f"{', '.join(sorted(self._report.dead))} can never be called under {self._policy}")
        return self

    def always_answers(self, *, within: int | None = None) -> "Proof":
        """Assert that an answer can be reached, whatever the model called before and however the calls ended.

        Args:
            within: How many replies with calls there may have to be before it, at most. The model may make more.
        """
        __tracebackhide__ = True
        report = self._report
        if report.contradictions:
            raise AssertionError(f"no answer comes {report.contradictions[0]}")
        if report.stuck:
            raise AssertionError(f"no answer can be reached {after(report.stuck[0])}, under {self._policy}")
        _check_complete(report, self._policy)
        steps = steps_to_answer(report.nodes)
        for node in report.nodes if within is not None else ():
            if steps[node.number] > (within or 0):
                raise AssertionError(
                    f"an answer takes {steps[node.number]} replies with calls {after(node.path)}, not {within} at most"
                )
        return self

    @cached_property
    def _report(self) -> Report:
        return analyse(self.agent)

    @property
    def _policy(self) -> Policy:
        return self.agent.tool_choice


class Never:
    """The beginning of an assertion that a tool is never called; `before`, `after` or `at_all` completes it."""

    def __init__(self, proof: Proof, tool: str) -> None:
        self._proof = proof
        self._tool = tool
        self._asserted = False

    def before(self, other: ToolLike) -> Proof:
        """Assert that no call of the tool runs before a call of another has succeeded."""
        __tracebackhide__ = True
        rule = prerequisite(self._tool, self._other(other), scope="conversation")
        return _keeps(self._proof, rule, f"{self._tool} can run before {name_of_tool(other)} has succeeded")

    def after(self, other: ToolLike) -> Proof:
        """Assert that no call of the tool runs once another was called, however that ended."""
        __tracebackhide__ = True
        rule = never_after(self._tool, self._other(other), scope="conversation")
        return _keeps(self._proof, rule, f"{self._tool} can run after {name_of_tool(other)}")

    def at_all(self) -> Proof:
        """Assert that no call of the tool runs."""
        __tracebackhide__ = True
        self._asserted = True
        return _keeps(self._proof, budget(0, of=self._tool), f"{self._tool} can run")

    def _other(self, tool: ToolLike) -> str:
        __tracebackhide__ = True
        self._asserted = True
        return _known(tool, self._proof.agent)

    def __del__(self) -> None:
        if not self._asserted:
            text = f"never({self._tool!r}) alone asserts nothing; add .before(…), .after(…) or .at_all()"
            warnings.warn(text, RuntimeWarning, stacklevel=2)


def _known(tool: ToolLike, agent: Governed) -> str:
    __tracebackhide__ = True
    name = name_of_tool(tool)
    if name not in agent.tools:
        raise AssertionError(f"the agent has no tool {name!r}; its tools: {', '.join(sorted(agent.tools.names))}")
    return name


def _check_complete(report: Report, policy: Policy) -> None:
    __tracebackhide__ = True
    if not report.complete:
        raise AssertionError(f"not proven under {policy}: {report}")


def _keeps(proof: Proof, rule: Policy, broken: str) -> Proof:
    __tracebackhide__ = True
    path, report = breach_of(rule, proof.agent)
    if path is not None:
        *before, last = path
        raise AssertionError(f"{broken}: {last}, {after(tuple(before))}, under {proof.agent.tool_choice}")
    _check_complete(report, proof.agent.tool_choice)
    return proof
