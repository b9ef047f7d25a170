"""A bot and its tests, to copy.

pytest tested_bot.py --agentkit-record=new   # once: records the embedded model
pytest tested_bot.py                         # from then on: replays its replies
"""

from collections.abc import Callable

from agentkit import Agent, ChatClient, Model, Retries, tool
from agentkit.testing import (
    Cassette,
    Chaos,
    EveryTool,
    Scripted,
    answer,
    assert_that,
    calling,
    status,
)
from agentkit.tool_choice import first, force


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    return f"light rain in {city}, 18 degrees"


def bot(model: str | Model) -> Agent:
    """Return the bot; tests give it another model."""
    return Agent(
        model,
        tools=[get_weather],
        tool_choice=first(force(get_weather), then="none"),
    )


def test_every_tool_can_be_called() -> None:
    assert_that(bot(EveryTool()).run_sync("Go.")).called(
        get_weather, outcome="ok"
    ).obeyed()


def test_the_weather_is_looked_up_before_it_answers(
    scripted: Callable[..., Scripted],
) -> None:
    model = scripted(calling(("get_weather", {"city": "Paris"})), "It rains.")
    result = bot(model).run_sync("Is it raining in Paris?")
    assert result.output == "It rains."
    assert_that(result).called(get_weather, times=1, with_={"city": "Paris"}).steps(
        max=2
    )


def test_an_answer_without_a_lookup_is_rejected(
    scripted: Callable[..., Scripted],
) -> None:
    model = scripted(
        "It is dry.", calling(("get_weather", {"city": "Paris"})), "It rains."
    )
    result = bot(model).run_sync("Is it raining in Paris?")
    assert (result.output, result.violations) == ("It rains.", 1)


def test_an_outage_passes(endpoint: Callable[..., Chaos]) -> None:
    served = endpoint(
        status(503),
        calling(("get_weather", {"city": "Paris"})),
        answer("It rains."),
    )
    client = ChatClient(
        "some-model", base_url=served.url, api_key="", retries=Retries(base=0.01)
    )
    assert bot(client).run_sync("Is it raining in Paris?").output == "It rains."


def test_a_real_model_finds_the_city(cassette: Callable[..., Cassette]) -> None:
    result = bot(cassette("local")).run_sync("What is the weather in Paris?")
    assert_that(result).called(
        get_weather, with_=lambda arguments: "Paris" in arguments["city"]
    ).obeyed()
