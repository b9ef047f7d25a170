from typing import Any

import pytest

from agentkit import ConfigurationError, Price, Usage
from agentkit.core.usage import count_of, price_of, priced, usage_of

ONE, TWO, THREE = Price(1, 1), Price(2, 2), Price(3, 3)
BY_NAME = {"gpt-5": ONE, "gpt-5-mini": TWO, "m": THREE}


@pytest.mark.parametrize(("price", "usage", "cost"), [
    (Price(2, 8), Usage(1, 1_000_000, 500_000), 6.0),
    (Price(2, 8), Usage(1, 1_000_000, None), 2.0),
    (Price(2, 8), Usage(1), 0.0),
    # What comes from the cache has a price of its own, or that of the prompt.
    (Price(2, 8, cached=0.5), Usage(1, 1_000_000, 0, 400_000), 1.4),
    (Price(2, 8), Usage(1, 1_000_000, 0, 400_000), 2.0),
    (Price(2, 8, cached=0), Usage(1, 1_000_000, 0, 400_000), 1.2),
    # No more can come from it than was read.
    (Price(2, 8, cached=0.5), Usage(1, 100_000, 0, 400_000), 0.05),
])  # fmt: skip
def test_what_a_request_cost(price: Price, usage: Usage, cost: float) -> None:
    assert price.of(usage) == pytest.approx(cost)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "2", True, None])
@pytest.mark.parametrize("name", ["prompt", "completion", "cached"])
def test_a_price_is_a_number(name: str, value: Any) -> None:
    given: dict[str, Any] = {"prompt": 1, "completion": 1, name: value}
    if (name, value) == ("cached", None):
        assert Price(**given).cached is None
        return
    with pytest.raises(ConfigurationError, match=name):
        Price(**given)


def test_a_name_is_priced_with_or_without_its_date() -> None:
    """No model is priced as another whose name begins alike (continue#13184)."""
    for models, price in [
        (("gpt-5",), ONE),
        (("gpt-5-2026-01-01", "x"), ONE),
        (("gpt-5-mini", "gpt-5"), TWO),
        # The endpoint's own name for it goes first.
        (("gpt-5", "gpt-5-mini"), ONE),
        ((None, "gpt-5-mini"), TWO),
        *[
            ((f"{name}{date}",), price)
            for name, price in BY_NAME.items()
            for date in ("-2026-01-31", "-20260131", "@20260131", "-0613", "-05-20", "-2407")
        ],
        # Only a date may follow: https://github.com/continuedev/continue/issues/13184
        *[
            ((f"gpt-5{other}",), None)
            for other in (
                "-pro",
                ".5-pro",
                "0",
                "-mini-high",
                "-2026",
                "-2026-13-01",
                "-1499",
                "-mini@latest",
                "-2026-01-01-x",
            )
        ],
        (("unknown", "mistral"), None),
        (("unknown", "gpt"), None),
        ((None,), None),
    ]:
        assert price_of(BY_NAME, *models) == price
        assert price_of(dict(reversed(BY_NAME.items())), *models) == price
        assert price_of(ONE, *models) == ONE


def test_what_the_endpoint_says_goes_first() -> None:
    usage = Usage(1, 1_000_000, 0)
    assert priced(usage, ONE, "m") == Usage(1, 1_000_000, 0, cost=1.0)
    assert priced(Usage(1, 1_000_000, 0, cost=0.0), ONE, "m").cost == 0.0
    assert priced(usage, {}, "m") is usage


@pytest.mark.parametrize(("said", "usage"), [
    ({}, Usage(1)),
    ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(1, 10, 5)),
    ({"prompt_tokens": "10", "completion_tokens": 5.0}, Usage(1, 10, 5)),
    ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(1, 10, None, 4)),
    ({"prompt_tokens": 10, "prompt_tokens_details": None}, Usage(1, 10)),
    # No endpoint gives tokens back, and none counts more than there are.
    ({"prompt_tokens": -10, "completion_tokens": 10**400, "cost": -1}, Usage(1)),
    ({"prompt_tokens": "many", "completion_tokens": [5], "prompt_tokens_details": {"cached_tokens": {}}}, Usage(1)),
    ({"cost": 0.25}, Usage(1, cost=0.25)),
    ({"cost": 0}, Usage(1, cost=0.0)),
    ({"cost": 10**400}, Usage(1)),
    ({"cost": True}, Usage(1)),
    ({"cost": "0.25"}, Usage(1)),
    ({"cost": float("nan")}, Usage(1)),
    ({"cost": float("inf")}, Usage(1)),
])  # fmt: skip
def test_usage_as_endpoints_say_it(said: dict[str, object], usage: Usage) -> None:
    assert usage_of(said) == usage


@pytest.mark.parametrize(
    ("value", "count"), [(1, 1), ("2", 2), (3.9, 3), (None, None), ("x", None), ([], None), (float("inf"), None)]
)
def test_a_count_however_it_is_written(value: object, count: int | None) -> None:
    assert count_of(value) == count
