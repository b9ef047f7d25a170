"""What a policy says of the calls of one reply, one after another."""

from dataclasses import replace

from agentkit import State
from agentkit.core.messages import ToolCall
from agentkit.tool_choice import Call, Policy


def judged(policy: Policy, state: State, calls: str | list[Call]) -> list[str]:
    """Return the kind of verdict for each call; those that are not denied are pending for the next."""
    kinds: list[str] = []
    for call in [Call(name, {}, ToolCall("c", name, "{}")) for name in calls] if isinstance(calls, str) else calls:
        verdict = policy.judge(call, state)
        kinds.append(verdict.kind)
        if verdict.kind != "deny":
            state = replace(state, pending=(*state.pending, call))
    return kinds
