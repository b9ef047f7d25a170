"""Usage as endpoints report it, and prices."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from agentkit.core.checks import check_number
from agentkit.core.json import object_of
from agentkit.core.messages import Usage

_MILLION = 1_000_000
_MOST = 10**15
_MM, _DD = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
# As in gpt-5-2026-01-01, claude-opus-4@20250514, gpt-4-0613, mistral-large-2407 and gemini-2.5-flash-preview-05-20
_DATE = re.compile(rf"[-@](?:20\d\d-?{_MM}-?{_DD}|{_MM}-?{_DD}|2\d{_MM})$")


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model for a million tokens, in any currency.

    Attributes:
        prompt: The price of tokens that it reads.
        completion: The price of tokens that it writes.
        cached: The price of tokens that it reads from the endpoint's cache; that of `prompt` if it is `None`.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def __post_init__(self) -> None:
        check_number("Price(prompt)", self.prompt, least=0)
        check_number("Price(completion)", self.completion, least=0)
        check_number("Price(cached=…)", self.cached, least=0, optional=True)

    def of(self, usage: Usage) -> float:
        """Return the price of a request. Tokens that the endpoint did not count are free."""
        prompt, cached = usage.prompt_tokens or 0, usage.cached_tokens or 0
        cached = min(prompt, cached)
        rate = self.prompt if self.cached is None else self.cached
        written = (usage.completion_tokens or 0) * self.completion
        return ((prompt - cached) * self.prompt + cached * rate + written) / _MILLION


Prices: TypeAlias = Price | Mapping[str, Price]
"""One price for all models, or prices by the names of models; `"gpt-5"` also prices `"gpt-5-2026-01-01"`, which is the
same model with its date, but not `"gpt-5-mini"`."""


def without_date(model: str) -> str:
    """Return a model's name without its date."""
    return _DATE.sub("", model)


def price_of(prices: Prices, *models: str | None) -> Price | None:
    """Return the price for the first of a model's names that is in `prices`, as it is or without its date."""
    if isinstance(prices, Price):
        return prices
    for model in models:
        if model is not None and (price := prices.get(model) or prices.get(without_date(model))):
            return price
    return None


def priced(usage: Usage, prices: Prices, *models: str | None) -> Usage:
    """Return a usage with its cost; a cost that the endpoint reported stays."""
    price = price_of(prices, *models) if prices and usage.cost is None else None
    return usage if price is None else replace(usage, cost=price.of(usage))


def usage_of(reported: Mapping[str, object]) -> Usage:
    """Read the usage of one request as an endpoint reports it."""
    cost = reported.get("cost")  # OpenRouter has it
    return Usage(
        1,
        _tokens(reported.get("prompt_tokens")),
        _tokens(reported.get("completion_tokens")),
        _tokens(object_of(reported.get("prompt_tokens_details")).get("cached_tokens")),
        float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < _MOST else None,
    )


def _tokens(value: object) -> int | None:
    """Read a number of tokens. One below 0 would give a run its budget back; one that is absurd would end it."""
    if value is None:  # as of what few endpoints count
        return None
    count = value if type(value) is int else count_of(value)
    return count if count is not None and 0 <= count < _MOST else None


def count_of(value: object) -> int | None:
    """Read a whole number, however it is written; `None` if it is none."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]  # pyright: ignore[reportArgumentType] (it is tried)
    except (TypeError, ValueError, OverflowError):
        return None
