import json
from typing import Any

import pytest

from agentkit import (
    Agent,
    AuthenticationFailed,
    ChatChunk,
    ChatClient,
    ChatRequest,
    ChatResponse,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    EndpointUnavailable,
    Event,
    Fallback,
    ImagePart,
    IncompleteReply,
    InvalidRequest,
    MalformedReply,
    Message,
    ModelError,
    ModelTimeout,
    Profile,
    Prompted,
    QuotaExceeded,
    RateLimited,
    ReplyTooLarge,
    RequestRefused,
    TextDelta,
    ToolMessage,
    UserMessage,
)
from agentkit.core.model import Model, OnChunk
from agentkit.models.client import profiles as known
from agentkit.models.fallback import FAILURES
from agentkit.testing import Raw, answer, calling, chaos, cut, status
from tests.clients import ASYNCIO, ignore
from tests.endpoint import Json, calls, serving, text
from tests.scripted import Scripted, called, said
from tests.strict_endpoints import (
    Refusal,
    refusal_of_a_template,
    refusal_of_bedrock,
    refusal_of_deepseek,
    refusal_of_gemini,
    refusal_of_groq,
    refusal_of_mistral,
    refusal_of_moonshot,
    refusal_of_openai,
    refusal_of_openrouter,
    refusal_of_vllm,
    strictly,
)

pytestmark = pytest.mark.anyio

GO = ChatRequest((UserMessage("go"),))


def failing(name: str, *plays: Any) -> Scripted:
    model = Scripted(*plays)
    model.name = name
    return model


FAILED: list[ModelError] = [
    AuthenticationFailed("401", status=401),
    ConnectionFailed("no connection"),
    EndpointUnavailable("503", status=503),
    IncompleteReply("cut"),
    MalformedReply("nonsense"),
    ModelTimeout("slow", 5),
    QuotaExceeded("402", status=402),
    RateLimited("429", status=429),
]
FAULTS: list[Exception] = [
    RequestRefused("400", status=400),
    ContextTooLong("too long", status=400),
    ContentFiltered("no"),
    ReplyTooLarge("large", "body", 5),
    InvalidRequest("no endpoint would take it"),
    KeyError("an error of this side"),
]


def test_the_failures_are_those_of_an_endpoint() -> None:
    assert {type(error) for error in FAILED} == set(FAILURES)
    assert not any(isinstance(error, FAILURES) for error in FAULTS)


@ASYNCIO
@pytest.mark.parametrize("on_chunk", [None, ignore])
@pytest.mark.parametrize("error", FAILED)
async def test_after_a_failure_the_next_is_asked(error: ModelError, on_chunk: OnChunk | None) -> None:
    first, second = Scripted(error), Scripted(said("hi"))
    reply = await Fallback(first, second).complete(GO, on_chunk)
    assert reply.message.content == "hi"
    assert (first.requests, second.requests) == ([GO], [GO])


@pytest.mark.parametrize("error", FAULTS)
async def test_a_fault_of_the_request_is_raised_at_once(error: Exception) -> None:
    first, second = Scripted(error), Scripted(said("hi"))
    with pytest.raises(type(error)) as caught:
        await Fallback(first, second).complete(GO)
    assert caught.value is error
    assert second.requests == []


async def test_every_request_begins_with_the_first() -> None:
    first, second = Scripted(ConnectionFailed("no"), said("from the first")), Scripted(said("from the second"))
    model = Fallback(first, second)
    assert [(await model.complete(GO)).message.content for _ in range(2)] == ["from the second", "from the first"]


async def test_the_last_error_tells_of_those_before_it() -> None:
    models = [failing(name, ConnectionFailed(f"{name} is down")) for name in ("a", "b", "c")]
    with pytest.raises(ConnectionFailed, match="c is down") as caught:
        await Fallback(*models).complete(GO)
    assert caught.value.__notes__ == [
        "before it, a failed: ConnectionFailed: a is down",
        "before it, b failed: ConnectionFailed: b is down",
    ]
    # So does an error after which no other is asked.
    models = [failing("a", RateLimited("a is busy", status=429)), failing("b", RequestRefused("400", status=400))]
    models.append(Scripted(said("hi")))
    with pytest.raises(RequestRefused) as refused:
        await Fallback(*models).complete(GO)
    assert refused.value.__notes__ == ["before it, a failed: RateLimited: a is busy"]
    assert models[2].requests == []


async def test_on_says_after_what() -> None:
    refused = Scripted(RequestRefused("400", status=400))
    assert (await Fallback(refused, Scripted(said("hi")), on=(RequestRefused,)).complete(GO)).message.content == "hi"
    with pytest.raises(ConnectionFailed):
        await Fallback(Scripted(ConnectionFailed("no")), Scripted(said("hi")), on=(RequestRefused,)).complete(GO)
    with pytest.raises(ConnectionFailed):
        await Fallback(Scripted(ConnectionFailed("no")), Scripted(said("hi")), on=()).complete(GO)


async def test_several_backups_and_none() -> None:
    models = [Scripted(error) for error in FAILED[:4]]
    assert (await Fallback(*models, Scripted(said("hi"))).complete(GO)).message.content == "hi"
    assert all(model.requests == [GO] for model in models)
    with pytest.raises(ConnectionFailed) as caught:
        await Fallback(Scripted(ConnectionFailed("no"))).complete(GO)
    assert not hasattr(caught.value, "__notes__")


def test_it_says_what_it_is() -> None:
    model = Fallback(failing("a"), failing("b"))
    assert model.name == "a else b"
    assert repr(Fallback(ChatClient("m", base_url="http://a"))) == "Fallback(ChatClient('m', base_url='http://a'))"
    held: Model = Fallback(model, Prompted(failing("c")))
    assert held.name.startswith("a else b else ")


class Telling:
    """Tells a chunk, and then fails."""

    name = "telling"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        if on_chunk is not None:
            on_chunk(ChatChunk({"choices": [{"index": 0, "delta": {"content": "Half of"}}]}))
        raise ConnectionFailed("broken off")


async def test_what_was_told_is_not_begun_anew() -> None:
    told: list[str] = []
    second = Scripted(said("All of it"))
    with pytest.raises(ConnectionFailed) as caught:
        await Fallback(failing("a", ConnectionFailed("no")), Telling(), second).complete(
            GO, lambda chunk: told.append(chunk.text)
        )
    assert (told, second.requests) == (["Half of"], [])
    assert caught.value.__notes__ == ["before it, a failed: ConnectionFailed: no"]
    # Nobody was told anything where nobody listens.
    assert (await Fallback(Telling(), second).complete(GO)).message.content == "All of it"


@pytest.mark.parametrize(
    "fault",
    [
        status(503),
        status(429, {"retry-after": "60"}),
        status(401),
        status(402),
        Raw([b"<html>"], headers={"content-type": "text/html"}),
        Raw([b"{"], headers={"content-type": "application/json"}, then="close"),
        Raw(status=None, then="reset"),
        Raw(status=None, then="stall"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_two_real_endpoints(fault: Any, *, streamed: bool) -> None:
    with chaos(fault) as first, chaos(calling(("add", {"a": 1, "b": 2})), answer("three")) as second:
        down = ChatClient("m", base_url=first.url, retries=0, timeout=0.2)
        agent = Agent(Fallback(down, ChatClient("m", base_url=second.url)), tools=[add])
        if streamed:
            async with agent.stream("go") as run:
                events = [event async for event in run]
            result = run.result
            assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "three"
        else:
            result = await agent.run("go")
        assert result.output == "three"
        assert (len(first.requests), len(second.requests)) == (2, 2)


async def test_a_stream_that_breaks_after_its_first_words_is_not_told_twice() -> None:
    with chaos(cut(answer("one two three four"), after_chunks=3)) as first, chaos(answer("other")) as second:
        down = ChatClient("m", base_url=first.url, retries=0)
        seen: list[Event] = []
        agent = Agent(Fallback(down, ChatClient("m", base_url=second.url)), observers=[seen.append])
        async with agent.stream("go") as run:
            with pytest.raises(ModelError):
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


def picture() -> ImagePart:
    return ImagePart("https://a.b/c.png")


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
        model = Fallback(
            ChatClient("m", base_url=first.url, retries=0, profile=echo),
            ChatClient("m", base_url=second.url, retries=0, profile=echo),
        )
        result = await Agent(model, tools=[add]).run("go")
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


STRICT: list[tuple[Refusal, Profile]] = [
    (refusal_of_openai, known.OPENAI),
    (refusal_of_vllm, known.STANDARD),
    (refusal_of_gemini, known.GEMINI),
    (refusal_of_deepseek, known.DEEPSEEK),
    (refusal_of_mistral, known.MISTRAL),
    (refusal_of_groq, known.GROQ),
    (refusal_of_moonshot, known.MOONSHOT),
    (refusal_of_bedrock, known.BEDROCK),
    (refusal_of_a_template, known.LLAMA_CPP),
    (refusal_of_openrouter, known.OPENROUTER),
]


async def conversation() -> tuple[Message, ...]:
    """A conversation with all that endpoints refuse: odd names and arguments, images, notes, silence, a long id."""
    model = Scripted(
        called(("picture", {}), ("add", {"a": 1, "b": 2}), ("get weather!", "{nonsense")),
        said(""),
        called(("add", '"3"')),
        called(("picture", {})),
        said("done"),
    )
    result = await Agent(model, tools=[add, picture], instructions="Be brief.").run("go")
    return (*result.messages, UserMessage("And now?"))


# What OpenRouter wants back, no other model has said: the last of them cannot take over.
@ASYNCIO
@pytest.mark.parametrize("at", range(len(STRICT) - 1), ids=[refusal.__name__ for refusal, _ in STRICT[:-1]])
async def test_a_strict_endpoint_takes_over(at: int) -> None:
    refusal, profile = STRICT[at]
    history = await conversation()
    with (
        serving(Raw([b"{}"], status=503)) as first,
        serving(strictly(refusal, reply=text("ok"))) as second,
    ):
        model = Fallback(
            ChatClient("m", base_url=first.url, retries=0),
            ChatClient("m", base_url=second.url, retries=0, profile=profile),
        )
        async with Agent(model, tools=[add, picture]).stream(history) as run:
            async for _ in run:
                pass
        assert run.result.output == "ok"


@ASYNCIO
@pytest.mark.parametrize("at", range(len(STRICT)), ids=[refusal.__name__ for refusal, _ in STRICT])
async def test_images_and_results_are_taken_by_strict_endpoints(at: int) -> None:
    """The whole of a run: a call, an image, an answer."""
    refusal, profile = STRICT[at]
    first_reply = thinking(
        calls(("picture", {}), ("add", {"a": 1, "b": 2}), ids=["abcdefgh1", "abcdefgh2"]),
        reasoning_content="hm",
        reasoning_details=[{"text": "hm"}],
        call=SIGNED,
    )

    def reply(request: Json) -> Json | Raw:
        after = strictly(refusal, reply=text("a cat") if len(request["messages"]) > 2 else first_reply)
        return after(request)

    with serving(reply) as endpoint:
        client = ChatClient("m", base_url=endpoint.url, retries=0, profile=profile)
        result = await Agent(client, tools=[add, picture]).run("go")
        assert result.output == "a cat"
        assert any("https://a.b/c.png" in json.dumps(message) for message in endpoint.requests[1]["messages"])
        # Going on does not show it twice.
        await Agent(client, tools=[add, picture]).run([*result.messages, UserMessage("And?")])
        assert json.dumps(endpoint.requests[2]).count("https://a.b/c.png") == 1
    assert [message.content for message in result.messages if isinstance(message, ToolMessage)] == [
        "The image is shown after the results.",
        "3",
    ]
