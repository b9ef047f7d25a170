from collections import Counter

import pytest

from agentkit import Agent, ChatChunk, ChatRequest, ConfigurationError, Fallback, UserMessage
from agentkit.core.errors import IncompleteReply, ModelError
from agentkit.testing import Flaky, Scripted

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

HELLO = ChatRequest((UserMessage("Hello"),))
TEXT = "one two three four"


async def outcomes(model: Flaky, streamed: bool = False) -> list[str]:
    found: list[str] = []
    for _ in range(60):
        heard: list[ChatChunk] = []
        try:
            reply = await model.complete(HELLO, heard.append if streamed else None)
        except IncompleteReply as error:
            same = "".join([chunk.text for chunk in heard]) == error.text
            right = TEXT.startswith(error.text) and (same or not streamed)
            found.append(f"cut after {error.text!r}" if right else "wrong")
        except ModelError as error:
            found.append(f"{type(error).__name__}{' after something' if heard else ''}")
        else:
            assert reply.message.content == TEXT
            found.append("ok")
    return found


def model(**options: float) -> Flaky:
    return Flaky(Scripted(TEXT, repeat=True), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_same_seed_gives_the_same_faults(streamed: bool) -> None:
    first = await outcomes(model(rate=0.7), streamed)
    assert first == await outcomes(model(rate=0.7), streamed)
    assert first != await outcomes(model(rate=0.7, seed=1), streamed)
    kinds = Counter(outcome.split()[0] for outcome in first if "something" not in outcome)
    assert kinds.keys() == {"ok", "ConnectionFailed", "EndpointUnavailable", "RateLimited", "ModelTimeout", "cut"}


async def test_the_rate_goes_from_never_to_always_with_a_delay_too() -> None:
    assert set(await outcomes(model(rate=0))) == {"ok"}
    assert "ok" not in await outcomes(model(rate=1))
    for wrong in ({"rate": 1.1}, {"rate": -0.1}, {"delay": -1}):
        with pytest.raises(ConfigurationError):
            model(**wrong)
    assert set(await outcomes(model(rate=0, delay=0.001))) == {"ok"}


async def test_a_fallback_carries_an_agent_through() -> None:
    agent = Agent(Fallback(*[model(rate=0.5, seed=seed) for seed in range(12)]))
    assert [(await agent.run("Hello")).output for _ in range(10)] == [TEXT] * 10


async def test_it_shows_as_its_code() -> None:
    assert repr(model(rate=0.5, seed=7)) == f"Flaky(Scripted({TEXT!r}), rate=0.5, seed=7)"
    assert model().name == "scripted"
