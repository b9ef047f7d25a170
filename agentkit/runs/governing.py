"""The policy of a run: bound to its tools, checked against them, and guarded against repetition."""

from functools import lru_cache
from typing import Any

from agentkit.core.chat import FINAL_ANSWER
from agentkit.core.errors import ConfigurationError
from agentkit.runs.output import Output, answering
from agentkit.tool_choice import Policy, PolicyLike, no_repeat, policy_of
from agentkit.tools.toolbox import Toolbox


def governed(  # noqa: PLR0913, PLR0917 (what a policy has to fit)
    tool_choice: PolicyLike,
    toolbox: Toolbox,
    stop_at: frozenset[str],
    output: Output[Any] | None,
    max_corrections: int,
    max_repeats: int | None,
    *,
    varying: bool = False,
) -> tuple[Toolbox, Policy]:
    """Return the tools and the policy of a run: bound to the tools, checked, and guarded against repetition.

    With `varying` tools, the policy may name others, which a later request may have.

    Raises:
        ConfigurationError: If the policy names other tools, never lets a run end, or contradicts itself.
    """
    given = policy_of(tool_choice)
    if tools := given.provided(toolbox):
        toolbox = Toolbox([*toolbox, *{tool.name: tool for tool in tools}.values()])
    guard = None if max_repeats is None else _guard(max_repeats)
    policy, bound_guard = given.bound(toolbox), None if guard is None else guard.bound(toolbox)
    typed = output is not None and output.final is not None and not policy.every(answering)
    names = toolbox.names | policy.tools | stop_at if varying else toolbox.names
    # A policy that takes something from the tools equals one that took it from others, so it is never kept.
    keeps = policy is given and bound_guard is guard and _is_hashable(policy)
    prepare = _prepared if keeps else _prepared.__wrapped__
    return toolbox, prepare(policy, names, stop_at, bound_guard, max_corrections if typed else None)


_guard = lru_cache(maxsize=64)(no_repeat)


def _is_hashable(policy: Policy) -> bool:
    try:
        hash(policy)
    except TypeError:  # a rule may be an object that is not
        return False
    return True


@lru_cache(maxsize=1_024)  # a thousand agents with one policy and tools of the same names prepare it once
def _prepared(
    policy: Policy, names: frozenset[str], stop_at: frozenset[str], guard: no_repeat | None, corrections: int | None
) -> Policy:
    for name in sorted((policy.tools | stop_at) - names):
        raise _unknown_tool(repr(policy) if name in policy.tools else "stop_at", name, names)
    if not policy.can_answer and not stop_at:
        raise ConfigurationError(
            f"under {policy!r} the model could never answer, so a run would call tools until a limit ends it. "
            f"Release it: first({policy!r}, then=auto), until_called(tool, {policy!r}) or {policy!r} & budget(8); or "
            "end the run with a tool: Agent(…, stop_at=tool)"
        )
    policy = policy.knowing(policy.tools)
    typed = policy if corrections is None else answering(policy, FINAL_ANSWER, corrections)
    if policy.parts and _is_hashable(policy):  # one that is not made of others cannot contradict itself
        from agentkit.tool_choice.analysis import refusal  # noqa: PLC0415

        if reason := refusal(typed, names, stop_at):
            raise ConfigurationError(
                f"{reason}. To see all that it can do: agentkit.tool_choice.analyse(policy, tools)"
            )
    return typed if guard is None or typed.every(no_repeat) else typed & guard


def _unknown_tool(where: str, name: str, names: frozenset[str]) -> ConfigurationError:
    known = ", ".join(sorted(names)) or "none"
    return ConfigurationError(f"{where} names {name!r}, which is not a tool of the agent; its tools: {known}")
