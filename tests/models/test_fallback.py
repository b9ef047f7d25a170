import json
from typing import Any

import pytest

from agentkit import Agent, ChatClient, ChatRequest, Event, Fallback, Message, Profile, Prompted, TextDelta
from agentkit.core import errors
from agentkit.core.messages import UserMessage
from agentkit.core.model import Model
from agentkit.core.parts import ImagePart
from agentkit.models.fallback import FAILURES
from agentkit.testing import Raw, answer, chaos, cut
from tests.clients import ASYNCIO, ignore
from tests.endpoint import Json, calls, serving, text
from tests.scripted import Scripted, called, said
from tests.strict_endpoints import PROVIDERS, Refusal, strictly

pytestmark = pytest.mark.anyio

GO = ChatRequest((UserMessage("go"),))


def failing(name: str, *plays: Any) -> Scripted:
    model = Scripted(*plays)
    model.name = name
    return model


FAILED: list[errors.ModelError] = [
    *[kind("no", status=401) for kind in (errors.AuthenticationFailed, errors.EndpointUnavailable)],
    *[kind("no", status=429) for kind in (errors.QuotaExceeded, errors.RateLimited)],
    *[kind("no") for kind in (errors.ConnectionFailed, errors.IncompleteReply, errors.MalformedReply)],
    errors.ModelTimeout("slow", 5),
]
FAULTS: list[Exception] = [
    errors.RequestRefused("400", status=400),
    errors.ContextTooLong("too long", status=400),
    errors.ContentFiltered("no"),
    errors.ReplyTooLarge("large", "body", 5),
    errors.InvalidRequest("no endpoint would take it"),
    KeyError("my error"),
]


def test_the_failures_are_those_of_an_endpoint() -> None:
    assert {type(error) for error in FAILED} == set(FAILURES)
    assert not any(isinstance(error, FAILURES) for error in FAULTS)


@ASYNCIO
@pytest.mark.parametrize("error", FAILED)
async def test_after_a_failure_the_next_is_asked_and_the_first_comes_first_again(error: errors.ModelError) -> None:
    first, second = Scripted(error, said("from the first")), Scripted(said("from the second"))
    model = Fallback(first, second)
    contents = [(await model.complete(GO, ignore)).message.content for _ in range(2)]
    assert contents == ["from the second", "from the first"]
    assert (first.requests, second.requests) == ([GO, GO], [GO])


@ASYNCIO
@pytest.mark.parametrize("error", FAULTS)
async def test_a_fault_of_the_request_is_raised_at_once(error: Exception) -> None:
    first, second = Scripted(error), Scripted(said("hi"))
    with pytest.raises(type(error)) as caught:
        await Fallback(first, second).complete(GO)
    assert caught.value is error
    assert second.requests == []


async def test_the_last_error_tells_of_those_before_it() -> None:
    models = [failing(name, errors.ConnectionFailed(f"{name} is down")) for name in ("a", "b", "c")]
    with pytest.raises(errors.ConnectionFailed, match="c is down") as caught:
        await Fallback(*models).complete(GO)
    assert caught.value.__notes__ == [
        f"before it, {name} failed: ConnectionFailed: {name} is down" for name in ("a", "b")
    ]
    # So does an error after which no other is asked.
    busy = failing("a", errors.RateLimited("a is busy", status=429))
    models = [busy, failing("b", errors.RequestRefused("400", status=400)), Scripted(said("hi"))]
    with pytest.raises(errors.RequestRefused) as refused:
        await Fallback(*models).complete(GO)
    assert refused.value.__notes__ == ["before it, a failed: RateLimited: a is busy"]
    assert models[2].requests == []
    with pytest.raises(errors.ConnectionFailed) as alone:
        await Fallback(Scripted(errors.ConnectionFailed("no"))).complete(GO)
    assert not hasattr(alone.value, "__notes__")


async def test_on_says_after_what() -> None:
    refused = Scripted(errors.RequestRefused("400", status=400))
    reply = await Fallback(refused, Scripted(said("hi")), on=(errors.RequestRefused,)).complete(GO)
    assert reply.message.content == "hi"
    on: Any
    for on in ((errors.RequestRefused,), ()):
        with pytest.raises(errors.ConnectionFailed):
            await Fallback(Scripted(errors.ConnectionFailed("no")), Scripted(said("hi")), on=on).complete(GO)


def test_it_says_what_it_is() -> None:
    model = Fallback(failing("a"), failing("b"))
    assert model.name == "a else b"
    assert repr(Fallback(ChatClient("m", base_url="http://a"))) == "Fallback(ChatClient('m', base_url='http://a'))"
    held: Model = Fallback(model, Prompted(failing("c")))
    assert held.name.startswith("a else b else ")


async def test_a_stream_that_breaks_after_its_first_words_is_not_told_twice() -> None:
    with chaos(cut(answer("one two three four"), after_chunks=3)) as first, chaos(answer("other")) as second:
        down = ChatClient("m", base_url=first.url, retries=0)
        seen: list[Event] = []
        agent = Agent(Fallback(down, ChatClient("m", base_url=second.url)), observers=[seen.append])
        async with agent.stream("go") as run:
            with pytest.raises(errors.ModelError):
                assert [event async for event in run] == []
        told = [event.text for event in seen if isinstance(event, TextDelta)]
        assert "".join(told)
        assert "one two three four".startswith("".join(told))
        assert second.requests == []
    # In a run that is not streamed there is nothing that was told.
    with chaos(cut(answer("one two three four"), after_bytes=40)) as first, chaos(answer("other")) as second:
        down = ChatClient("m", base_url=first.url, retries=0)
        assert (await Agent(Fallback(down, ChatClient("m", base_url=second.url))).run("go")).output == "other"


def add(a: int, b: int) -> int:
    return a + b


def thinking(reply: Json, **more: Any) -> Json:
    """A reply that has what only its own endpoint knows."""
    call_fields = more.pop("call", {})
    message = reply["message"] | more
    if message.get("tool_calls"):
        message["tool_calls"] = [call | call_fields for call in message["tool_calls"]]
    return reply | {"message": message}


SIGNED = {"extra_content": {"google": {"thought_signature": "s1"}}}


async def test_what_only_one_endpoint_knows_goes_back_to_it_alone() -> None:
    made = calls(("add", {"a": 1, "b": 2}), ids=["functions.add:0"])
    other = calls(("add", {"a": 3, "b": 4}), ids=["call_" + "x" * 60])
    down = Raw([b"{}"], status=503)
    with (
        serving(thinking(made, reasoning_content="A thinks", call=SIGNED), down, text("done")) as first,
        serving(thinking(other, reasoning_content="B thinks", call=SIGNED)) as second,
    ):
        echo = Profile(echo=frozenset({"reasoning_content", "extra_content"}))
        clients = [ChatClient("m", base_url=one.url, retries=0, profile=echo) for one in (first, second)]
        result = await Agent(Fallback(*clients), tools=[add]).run("go")
    assert result.output == "done"
    to_second = second.requests[0]["messages"]
    assert "A thinks" not in json.dumps(to_second)
    assert "thought_signature" not in json.dumps(to_second)
    assert to_second[1]["tool_calls"][0]["id"] == to_second[2]["tool_call_id"] == "functions.add:0"
    back = first.requests[2]["messages"]
    assert back[1]["reasoning_content"] == "A thinks"
    assert back[1]["tool_calls"][0]["extra_content"] == SIGNED["extra_content"]
    assert "reasoning_content" not in back[3]
    assert "extra_content" not in back[3]["tool_calls"][0]
    assert back[3]["tool_calls"][0]["id"] == back[4]["tool_call_id"] == "call_" + "x" * 60


def picture() -> ImagePart:
    return ImagePart("https://a.b/c.png")


async def conversation() -> tuple[Message, ...]:
    """A conversation with all that endpoints refuse: odd names and arguments, images, notes, silence, a long id."""
    odd = called(("picture", {}), ("add", {"a": 1, "b": 2}), ("get weather!", "{nonsense"))
    model = Scripted(odd, said(""), called(("add", '"3"')), called(("picture", {})), said("done"))
    result = await Agent(model, tools=[add, picture], instructions="Be brief.").run("go")
    return (*result.messages, UserMessage("And now?"))


@ASYNCIO
@pytest.mark.parametrize(("profile", "refusal", "status"), PROVIDERS)
async def test_a_strict_endpoint_takes_over(profile: Profile, refusal: Refusal, status: int) -> None:
    history = await conversation()
    with serving(strictly(refusal, status, reply=text("ok"))) as endpoint:
        strict = ChatClient("m", base_url=endpoint.url, retries=0, profile=profile)
        model = Fallback(Scripted(errors.ConnectionFailed("no")), strict)
        async with Agent(model, tools=[add, picture]).stream(history) as run:
            async for _ in run:
                pass
        assert run.result.output == "ok"
