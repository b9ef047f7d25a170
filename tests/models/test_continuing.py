import pytest

from agentkit import Agent, ChatClient, IncompleteReply, TextDelta, ToolStarted, tool
from agentkit.models import Continuing
from agentkit.testing import answer, calling, chaos, cut
from tests.scripted import Scripted, said

pytestmark = pytest.mark.anyio


@tool
def get_weather(city: str) -> str:
    return f"rain in {city}"


@pytest.mark.parametrize("then", ["end", "reset"])
async def test_a_stream_that_breaks_goes_on_where_it_broke_off(then: str) -> None:
    first = cut(answer("It is raining in Paris."), after_chunks=4, then=then)  # type: ignore[arg-type]
    with chaos(first, answer(" in Paris.")) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), on_truncated="continue")
        async with agent.stream("Weather?") as run:
            told = [event.text async for event in run if isinstance(event, TextDelta)]
        assert run.result.output == "".join(told) == "It is raining in Paris."
        assert len(endpoint.requests) == 2
        assert [message["role"] for message in endpoint.requests[1]["messages"]] == ["user", "assistant", "user"]


async def test_no_call_is_run_from_what_broke_off() -> None:
    broken = cut(calling(("get_weather", {"city": "Paris"}), content="Let me"), after_chunks=4, then="end")
    with chaos(broken) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[get_weather], on_truncated="continue")
        started: list[ToolStarted] = []
        with pytest.raises(IncompleteReply) as caught:
            async with agent.stream("Weather?") as run:
                started += [event async for event in run if isinstance(event, ToolStarted)]
        assert started == []
        assert caught.value.text == "Let me"


async def test_other_errors_and_replies_stay_what_they_are() -> None:
    model = Continuing(Scripted(said("Hello")))
    assert (await Agent(model).run("Hi")).output == "Hello"
    assert model.name == "scripted"
    assert repr(model).startswith("Continuing(")
    with pytest.raises(IncompleteReply):
        await Agent(Continuing(Scripted(IncompleteReply("nothing came")))).run("Hi")
