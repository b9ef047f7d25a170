"""How the choices of several policies become one."""

from collections.abc import Sequence
from typing import cast

from agentkit.core.choice import Mode, ToolChoice
from agentkit.core.errors import PolicyContradiction

# From the most restrictive to the least.
_RANK: tuple[Mode, ...] = ("none", "tool", "required", "auto")


def most_restrictive(chosen: Sequence[tuple[object, ToolChoice]]) -> ToolChoice:
    """Return the choice that satisfies all of these, each with the policy that made it; see `both`.

    Raises:
        PolicyContradiction: If there is none; the text names two policies that are at odds.
    """
    offers = [choice.tools for _, choice in chosen if choice.tools is not None]
    tools = offers[0].intersection(*offers[1:]) if offers else None
    withheld = frozenset[str]().union(*[choice.withheld for _, choice in chosen])
    firm = any(choice.firm for _, choice in chosen)
    mode: Mode = next(mode for mode in _RANK if any(choice.mode == mode for _, choice in chosen))
    choice = ToolChoice(mode, _forced(chosen) if mode == "tool" else None, tools, withheld, firm)
    if firm and mode == "none":
        holds = next(policy for policy, part in chosen if part.firm)
        silent = next(policy for policy, part in chosen if part.mode == "none")
        raise PolicyContradiction(f"{silent!r} lets the model only answer, and {holds!r} rules an answer out")
    if choice.tool is not None and not choice.offers(choice.tool):
        holds = next(policy for policy, part in chosen if part.mode == "tool")
        hides = next(policy for policy, part in chosen if not part.offers(choice.tool))
        raise PolicyContradiction(f"{holds!r} forces {choice.tool!r}, which {hides!r} does not offer")
    return choice


def _forced(chosen: Sequence[tuple[object, ToolChoice]]) -> str:
    forced = {cast("str", choice.tool): policy for policy, choice in chosen if choice.mode == "tool"}
    if len(forced) > 1:
        (one, first), (other, second) = list(forced.items())[:2]
        raise PolicyContradiction(f"{first!r} forces {one!r}, and {second!r} forces {other!r}")
    return next(iter(forced))
