"""What requests cost: usage as endpoints say it, and prices."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from agentkit.core.checks import check_number
from agentkit.core.json import object_of
from agentkit.core.messages import Usage

_MILLION = 1_000_000
_MOST = 10**15


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, for a million tokens, in any unit of money.

    Attributes:
        prompt: A million tokens that it reads.
        completion: A million tokens that it writes.
        cached: A million tokens that it reads from the endpoint's cache; as `prompt` unless given.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def __post_init__(self) -> None:
        check_number("Price(prompt)", self.prompt, least=0)
        check_number("Price(completion)", self.completion, least=0)
        check_number("Price(cached=…)", self.cached, least=0, optional=True)

    def of(self, usage: Usage) -> float:
        """Give what a request cost; tokens that nobody counted cost nothing here."""
        prompt, cached = usage.prompt_tokens or 0, usage.cached_tokens or 0
        cached = min(prompt, cached)
        rate = self.prompt if self.cached is None else self.cached
        written = (usage.completion_tokens or 0) * self.completion
        return ((prompt - cached) * self.prompt + cached * rate + written) / _MILLION


Prices: TypeAlias = Price | Mapping[str, Price]
"""One price for whatever model is asked, or prices by names of models; `"gpt-5"` also prices `"gpt-5-2026-01-01"`."""


def price_of(prices: Prices, *models: str | None) -> Price | None:
    """Find the price of a model.

    Args:
        prices: The prices.
        models: Its names: as the endpoint calls it, and as it was asked for. The longest name that one begins with
            holds.
    """
    if isinstance(prices, Price):
        return prices
    for model in models:
        found = [name for name in prices if model is not None and model.startswith(name)]
        if found:
            return prices[max(found, key=len)]
    return None


def priced(usage: Usage, prices: Prices, *models: str | None) -> Usage:
    """Add the price to a usage that has none: the endpoint's own word goes first."""
    price = price_of(prices, *models) if usage.cost is None else None
    return usage if price is None else replace(usage, cost=price.of(usage))


def usage_of(said: Mapping[str, object]) -> Usage:
    """Read the usage of one request as an endpoint says it."""
    cost = said.get("cost")  # OpenRouter says it
    return Usage(
        1,
        _tokens(said.get("prompt_tokens")),
        _tokens(said.get("completion_tokens")),
        _tokens(object_of(said.get("prompt_tokens_details")).get("cached_tokens")),
        float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < _MOST else None,
    )


def _tokens(value: object) -> int | None:
    """Give a number of tokens; one that cannot be would give a run back what it has used up, or end it."""
    count = count_of(value)
    return count if count is not None and 0 <= count < _MOST else None


def count_of(value: object) -> int | None:
    """Give a whole number, however it is written; `None` if it is none."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]  # pyright: ignore[reportArgumentType] (it is tried)
    except (TypeError, ValueError, OverflowError):
        return None
