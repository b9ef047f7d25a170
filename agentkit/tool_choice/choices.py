"""How the choices of several policies become one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from agentkit.core.choice import AUTO, Mode, ToolChoice, Values
from agentkit.core.errors import PolicyContradiction
from agentkit.core.json import encode

_RANK: tuple[Mode, ...] = ("none", "tool", "required", "auto")
"""From the most restrictive to the least."""


def most_restrictive(chosen: Sequence[tuple[object, ToolChoice]]) -> ToolChoice:
    """Return the choice that satisfies all of these, each with the policy that made it; see `both`.

    Raises:
        PolicyContradiction: If there is none; the text names two policies that are at odds.
    """
    chosen = [part for part in chosen if part[1] is not AUTO and part[1] != AUTO]
    if not chosen:
        return AUTO
    if len(chosen) == 1:  # as nearly always: the others say nothing
        policy, choice = chosen[0]
        return choice if choice.by else replace(choice, by=repr(policy))
    withheld = frozenset[str]().union(*[choice.withheld for _, choice in chosen])
    firm, once = any(choice.firm for _, choice in chosen), any(choice.once for _, choice in chosen)
    values = _values([limit for _, choice in chosen for limit in choice.values])
    withheld |= {limit.tool for limit in values if not limit.allowed}
    mode: Mode = next(mode for mode in _RANK if any(choice.mode == mode for _, choice in chosen))
    tool, arguments = _forced(chosen) if mode == "tool" else (None, None)
    offers = [choice.tools for _, choice in chosen if choice.tools is not None]
    tools = offers[0].intersection(*offers[1:]) if offers else None
    by = " & ".join([choice.by or repr(policy) for policy, choice in chosen])
    choice = ToolChoice(mode, tool, tools, withheld, firm, once, values, arguments, by)
    if firm and mode == "none":
        holds = next(policy for policy, part in chosen if part.firm)
        silent = next(policy for policy, part in chosen if part.mode == "none")
        raise PolicyContradiction(f"{silent!r} lets the model only answer, and {holds!r} rules an answer out")
    if choice.tool is not None and not choice.offers(choice.tool):
        holds = next(policy for policy, part in chosen if part.mode == "tool")
        hides = next(policy for policy, part in chosen if not part.offers(choice.tool))
        text = f"{holds!r} forces {choice.tool!r}, which {hides!r} does not offer"
        raise PolicyContradiction(text, (choice.tool,))
    return choice


def _forced(chosen: Sequence[tuple[object, ToolChoice]]) -> tuple[str, str | None]:
    """Return the tool that is forced, and its arguments if they are known."""
    forced = {cast("str", choice.tool): policy for policy, choice in chosen if choice.mode == "tool"}
    if len(forced) > 1:
        (one, first), (other, second) = list(forced.items())[:2]
        raise PolicyContradiction(f"{first!r} forces {one!r}, and {second!r} forces {other!r}")
    arguments = [choice.arguments for _, choice in chosen if choice.mode == "tool" and choice.arguments is not None]
    return next(iter(forced)), arguments[0] if arguments else None


def _values(limits: Sequence[Values]) -> tuple[Values, ...]:
    """Return one limit per parameter: the values that all limits on it allow."""
    allowed: dict[tuple[str, str], dict[bytes, object]] = {}
    for tool, parameter, values in limits:
        named = {as_json(value): value for value in values}
        before = allowed.setdefault((tool, parameter), named)
        if list(before) != list(named):  # sorted, so that the order of the limits does not matter
            allowed[tool, parameter] = {key: before[key] for key in sorted(before.keys() & named.keys())}
    return tuple([Values(*key, tuple(allowed[key].values())) for key in sorted(allowed)])


def as_json(value: object) -> bytes:
    """Return a value as JSON, to compare it by: `1`, `1.0` and `True` are equal in Python, and not in JSON."""
    try:
        return encode(value)
    except ValueError:
        return repr(value).encode()
