import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import Agent, AssistantMessage, ChatChunk, ChatRequest, ChatResponse, Fallback, ModelTimeout, TextDelta
from agentkit.core.assembly import Assembly
from agentkit.core.chat import Choice, ToolSpec
from agentkit.core.errors import ConfigurationError, ConnectionFailed, EndpointUnavailable, IncompleteReply, RateLimited
from agentkit.core.messages import ToolCall, Usage, UserMessage
from agentkit.core.reply_limits import ReplyLimits
from agentkit.testing import FunctionModel, Scripted, UnexpectedRequest, quirk
from agentkit.testing.replies import Json, Raw, Repeat, Reply, answer, bytewise, calling, cut, refuse, status
from tests.strategies import any_text

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

HELLO = ChatRequest((UserMessage("Hello"),))


def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    return f"light rain in {city}"


CALL = calling(("get_weather", {"city": "Paris"}))


async def test_replies_are_played_in_order_and_requests_kept() -> None:
    model = Scripted(CALL, answer("It rains."))
    result = await Agent(model, tools=[get_weather]).run("Is it raining in Paris?")
    assert (result.output, result.usage) == ("It rains.", Usage(2, 20, 10))
    assert [len(request.messages) for request in model.requests] == [1, 3]
    assert [tool.name for tool in model.requests[0].tools] == ["get_weather"]
    model.assert_complete()


@pytest.mark.parametrize("reply", [answer("one two three"), bytewise(answer("one two three")), "one two three"])
async def test_a_reply_is_streamed_as_an_endpoint_would(reply: Any) -> None:
    async with Agent(Scripted(reply)).stream("Count.") as run:
        texts = [event.text async for event in run if isinstance(event, TextDelta)]
    assert (texts, run.result.output) == (["one", " two", " three"], "one two three")


MESSAGE = AssistantMessage("Both.", (ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"x":1}')))


@pytest.mark.parametrize("reply", [
    MESSAGE, AssistantMessage("Only text."),
    ChatResponse((Choice(AssistantMessage("one"), "stop"), Choice(AssistantMessage("two"), "length")), None),
], ids=["calls", "text", "two answers"])  # fmt: skip
async def test_the_chunks_of_a_reply_as_it_is_are_that_reply(reply: AssistantMessage | ChatResponse) -> None:
    heard: list[ChatChunk] = []
    given = await Scripted(reply).complete(HELLO, heard.append)
    assembly = Assembly(frozenset(["f", "g"]), ReplyLimits(), None)
    for chunk in heard:
        assembly.add(chunk)
    assert assembly.response().choices == given.choices
    assert given is reply or given.message is reply


@pytest.mark.parametrize(("reply", "kind", "text"), [
    (status(429, {"Retry-After": "2"}), RateLimited, ""),
    (status(503), EndpointUnavailable, ""), (refuse(), ConnectionFailed, ""), (refuse("stall"), ModelTimeout, ""),
    (cut(answer("one two three"), after_chunks=3), ConnectionFailed, "one two"),
    (cut(answer("one two three"), after_chunks=3, then="end"), IncompleteReply, "one two"),
    (cut(answer("one two three"), after_chunks=3, then="stall"), ModelTimeout, "one two"),
    (ConnectionFailed("down"), ConnectionFailed, ""),
])  # fmt: skip
async def test_faults_are_the_errors_that_they_would_be(reply: Any, kind: Any, text: str) -> None:
    heard: list[ChatChunk] = []
    with pytest.raises(kind) as caught:
        await Scripted(reply).complete(HELLO, heard.append)
    assert (caught.value.text, "".join([chunk.text for chunk in heard])) == (text, text)
    assert not isinstance(caught.value, RateLimited) or caught.value.retry_after == 2
    assert not isinstance(caught.value, ModelTimeout) or caught.value.phase == ("idle" if text else "first_byte")


async def test_a_cut_call_is_told_and_what_breaks_after_its_end_is_whole() -> None:
    tools = (ToolSpec("get_weather", "", {}),)
    with pytest.raises(ConnectionFailed) as caught:
        await Scripted(cut(CALL, after_chunks=3)).complete(ChatRequest(HELLO.messages, tools), lambda _: None)
    assert [call.name for call in caught.value.calls] == ["get_weather"]

    class Whole:
        def raw(self, request: Json) -> Raw:
            raw = answer("Yes.").raw(request)
            return Raw([*raw.writes, Repeat(b" ", 3)], headers=raw.headers, then="reset")

    assert (await Scripted(Whole()).complete(HELLO, lambda _: None)).message.content == "Yes."


async def test_a_fallback_sees_faults_and_quirks_are_read_as_sent() -> None:
    model = Fallback(Scripted(status(503)), Scripted("It rains."))
    assert (await Agent(model).run("Hello")).output == "It rains."
    agent = Agent(Scripted(quirk("S08"), answer("It rains.")), tools=[get_weather])
    assert (await agent.run("Is it raining in Paris?")).output == "It rains."


def last(request: ChatRequest) -> str:
    return str(request.messages[-1].to_dict()["content"]).upper()


async def later(request: ChatRequest) -> Reply:
    return answer(last(request))


class Echo:
    def raw(self, request: Json) -> Raw:
        return answer(request["messages"][-1]["content"].upper()).raw(request)


def as_message(request: ChatRequest) -> AssistantMessage:
    return AssistantMessage(last(request))


@pytest.mark.parametrize("play", [last, later, Echo(), as_message])
async def test_replies_may_depend_on_the_request(play: Any) -> None:
    assert (await Scripted(play).complete(HELLO)).message.content == "HELLO"
    if not isinstance(play, Echo):
        model = FunctionModel(play)
        assert (await Agent(model).run("Hello")).output == "HELLO"
        assert len(model.requests) == 1


class Caller:
    def __call__(self, request: ChatRequest) -> str:
        return "Hello"


async def test_a_function_can_fail() -> None:
    def refuse_all(request: ChatRequest) -> Exception:
        return ConnectionFailed("down")

    model = FunctionModel(refuse_all)
    assert (model.name, repr(model)) == ("refuse_all", "FunctionModel(refuse_all)")
    assert (FunctionModel(refuse_all, "mine").name, FunctionModel(Caller()).name) == ("mine", "Caller")
    with pytest.raises(ConnectionFailed, match="down"):
        await model.complete(HELLO)


async def test_one_request_more_than_replies_is_an_error_unless_the_last_is_repeated() -> None:
    model = Scripted(CALL)
    with pytest.raises(UnexpectedRequest) as caught:
        await Agent(model, tools=[get_weather]).run("Is it raining in Paris?")
    assert "light rain in Paris" in str(caught.value)
    with pytest.raises(AssertionError, match="scripted has 1 replies and got 2 requests"):
        model.assert_complete()
    with pytest.raises(UnexpectedRequest, match="nothing"):
        await Scripted(repeat=True).complete(ChatRequest(()))
    with pytest.raises(UnexpectedRequest, match="…"):
        await Scripted().complete(ChatRequest((UserMessage("long " * 1000),)))

    model = Scripted("one", "two", repeat=True)
    assert [(await model.complete(HELLO)).message.content for _ in range(4)] == ["one", "two", "two", "two"]
    model.assert_complete()
    model.requests.clear()
    assert (await model.complete(HELLO)).message.content == "one"
    with pytest.raises(AssertionError, match="unused: 'two'"):
        model.assert_complete()


async def test_what_is_no_reply_says_so() -> None:
    with pytest.raises(ConfigurationError, match="3 is not a reply"):
        await Scripted(3).complete(HELLO)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"chaos\(…\)"):
        await Scripted(Raw([Repeat(b" ")])).complete(HELLO)
    assert repr(Scripted("one", ConnectionFailed("down"))) == "Scripted('one', ConnectionFailed('down'))"


@settings(max_examples=15)
@given(any_text(min_size=1).filter(str.strip), st.dictionaries(any_text(), st.integers()), st.booleans())
async def test_what_is_said_is_what_comes(text: str, arguments: dict[str, int], streamed: bool) -> None:
    on_chunk: Callable[[ChatChunk], None] | None = (lambda _: None) if streamed else None
    assert (await Scripted(answer(text)).complete(HELLO, on_chunk)).message.content == text
    reply = await Scripted(calling(("f", arguments))).complete(HELLO, on_chunk)
    assert json.loads(reply.message.tool_calls[0].arguments) == arguments
