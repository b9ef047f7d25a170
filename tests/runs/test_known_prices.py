"""What requests cost by the tables of a package, where an agent has no prices."""

from dataclasses import dataclass
from typing import Any

import pytest

from agentkit import Agent, AssistantMessage, ChatRequest, ChatResponse, HttpRequest, IncompleteReply, Limits, Price
from agentkit.core.chat import Choice
from agentkit.core.messages import Usage
from agentkit.core.usage import Prices
from agentkit.runs import known_prices
from agentkit.runs.known_prices import known_cost

pytestmark = pytest.mark.anyio

OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com/v1"
USAGE = Usage(1, 1000, 100, 500)


@pytest.mark.parametrize(("model", "same"), [
    ("gpt-5", "gpt-5"),
    ("GPT-5-2025-08-07", "gpt-5"),
    ("gpt-5-2031-01-01", None),  # the tables list each date
    ("gpt-5-mini", "gpt-5-mini"),
    ("gpt-5-minimal", None),
    ("gpt-5-my-own", None),
    (None, None),
])  # fmt: skip
def test_a_model_is_known_by_its_name_or_with_its_date(model: str | None, same: str | None) -> None:
    cost = known_cost(USAGE, OPENAI, model)
    assert cost == (None if same is None else known_cost(USAGE, OPENAI, None, same))
    assert (cost is None) == (same is None)


def test_the_beginning_of_a_name_is_not_the_model() -> None:
    """The tables have `claude-sonnet-4-5` as a beginning; only a date may follow."""
    assert known_cost(USAGE, ANTHROPIC, "claude-sonnet-4-5-20250929") == known_cost(
        USAGE, ANTHROPIC, "claude-sonnet-4-5"
    )
    assert known_cost(USAGE, ANTHROPIC, "claude-sonnet-4-5-my-own") is None


def test_cached_tokens_cost_less_and_more_of_them_than_of_all_are_all() -> None:
    whole, cached = (known_cost(usage, OPENAI, "gpt-5") for usage in (Usage(1, 1000, 100), USAGE))
    assert whole is not None
    assert cached is not None
    assert 0 < cached < whole
    assert known_cost(Usage(1, 100, 0, 500), OPENAI, "gpt-5") == known_cost(Usage(1, 100, 0, 100), OPENAI, "gpt-5")
    assert known_cost(Usage(1), OPENAI, "gpt-5") == 0


@pytest.mark.parametrize(
    "origin", [None, "", "http://localhost:80/v1", "http://127.0.0.1/v1", "http://[::1]/v1", "https://shop.test/v1"]
)
def test_an_endpoint_that_is_no_provider_has_no_prices(origin: str | None) -> None:
    assert known_cost(USAGE, origin, "gpt-5") is None


def test_without_the_package_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None: ...

    known_prices.has_prices.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(known_prices, "find_spec", nothing)
        assert known_cost(USAGE, OPENAI, "gpt-5") is None
    known_prices.has_prices.cache_clear()


@dataclass
class Remote:
    """A model that answers as an endpoint of a provider does, or breaks off."""

    breaks: bool = False
    name: str = "gpt-5"

    async def complete(self, request: ChatRequest, on_chunk: Any = None) -> ChatResponse:
        if self.breaks:
            error = IncompleteReply("cut")
            error.usage, error.sent = USAGE, HttpRequest(f"{OPENAI}/chat/completions", (), bytes)
            raise error
        return ChatResponse((Choice(AssistantMessage("Hi.", origin=OPENAI), "stop"),), USAGE, model="gpt-5-2025-08-07")


async def test_a_run_has_the_cost_and_can_be_limited_by_it() -> None:
    known_prices._tables.cache_clear()
    cost = known_cost(USAGE, OPENAI, "gpt-5")
    result = await Agent(Remote(), limits=Limits(cost=1)).run("Hi")
    assert (result.usage.cost, result.steps[0].usage.cost) == (cost, cost)
    assert (await Agent(Remote(), prices=Price(0, 10_000)).run("Hi")).usage.cost == 1
    assert (await Agent(Remote(), prices={"another": Price(1, 1)}).run("Hi")).usage.cost is None
    cases: list[tuple[Prices, float | None]] = [({}, cost), (Price(0, 10_000), 1)]
    for prices, lost in cases:
        with pytest.raises(IncompleteReply) as caught:
            await Agent(Remote(breaks=True), prices=prices).run("Hi")
        assert caught.value.partial is not None
        assert caught.value.partial.usage.cost == lost
