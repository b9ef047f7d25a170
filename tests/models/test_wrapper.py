from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from agentkit import ChatClient, ChatRequest, ConfigurationError, Fallback, Model, Prompted, TextToolCalls, UserMessage
from agentkit.core.chat import ToolSpec
from agentkit.core.choice import ToolChoice
from agentkit.models import Continuing, Trimmed
from agentkit.models.wrapper import Wrapper
from agentkit.testing import Reply, answer, chaos, cut, status
from tests.clients import BOTH, KEY, OnChunk, ignore
from tests.models.test_trimmed import talks
from tests.scripted import Scripted, said

pytestmark = pytest.mark.anyio

ADD = ToolSpec("add", "Add.", {"type": "object", "properties": {"a": {"type": "integer"}}})
REQUEST = ChatRequest((*talks(3), UserMessage("now")), (ADD,))
Wrap: TypeAlias = Callable[[Model], Any]


async def summary(messages: object) -> str:
    return "It went well."


WRAPPERS: dict[str, Wrap] = {
    "TextToolCalls": TextToolCalls,
    "Continuing": Continuing,
    "Prompted": Prompted,
    "Trimmed": lambda model: Trimmed(model, exchanges=1),
    "Trimmed with a summary": lambda model: Trimmed(model, exchanges=1, summarise=summary),
    "Trimmed to what is there": lambda model: Trimmed(model, exchanges=9, summarise=summary),
    "Fallback": lambda model: Fallback(model, Scripted(said("hi"))),
    "all": lambda model: Continuing(Fallback(TextToolCalls(Trimmed(Prompted(model), exchanges=1)))),
}


@BOTH
@pytest.mark.parametrize("name", WRAPPERS)
async def test_what_was_sent_goes_through_and_is_what_would_be_sent(name: str, on_chunk: OnChunk | None) -> None:
    with chaos(answer("Hi.")) as endpoint:
        model = WRAPPERS[name](ChatClient("m", base_url=endpoint.url, api_key=KEY))
        reply = await model.complete(REQUEST, on_chunk)
        assert reply.sent.body == endpoint.bodies[-1]
        assert len(endpoint.bodies) == 1
        assert model.sends(REQUEST, streamed=on_chunk is not None) == reply.sent
        assert len(endpoint.bodies) == 1


@BOTH
async def test_of_two_requests_the_first_would_be_sent_and_the_last_was(on_chunk: OnChunk | None) -> None:
    with chaos(answer('{"action": "add"}'), answer('{"action": "add", "arguments": {"a": 1}}')) as endpoint:
        model = Prompted(ChatClient("m", base_url=endpoint.url), small=True)
        first = model.sends(REQUEST, streamed=on_chunk is not None)
        reply = await model.complete(REQUEST, on_chunk)
        assert reply.message.tool_calls
        assert reply.sent is not None
        assert [first.body, reply.sent.body] == endpoint.bodies
        forced = ChatRequest(REQUEST.messages, REQUEST.tools, ToolChoice("required"))
        for request in (forced, ChatRequest(REQUEST.messages)):
            await model.complete(request)
            assert model.sends(request).body == endpoint.bodies[-1]


async def test_no_summary_is_made_to_show_what_would_be_sent() -> None:
    asked: list[object] = []

    async def summarise(messages: object) -> str:
        asked.append(messages)
        return "It went well."

    with chaos(answer("Hi.")) as endpoint:
        model = Trimmed(ChatClient("m", base_url=endpoint.url), exchanges=1, summarise=summarise)
        before = model.sends(REQUEST)
        assert (asked, endpoint.requests) == ([], [])
        assert "[12 earlier messages of this conversation left out here]" in str(before)
        await model.complete(REQUEST)
        assert len(asked) == 1
        after = model.sends(REQUEST)
        assert "It went well." in str(after)
        assert after.body == endpoint.bodies[0]
        assert len(asked) == 1


async def test_a_reply_has_what_was_sent_for_it_by_the_model_that_answered() -> None:
    broken: Reply = cut(answer("one two three four"), after_chunks=3)
    with chaos(status(503)) as first, chaos(broken, answer("Hi.")) as second:
        clients = [ChatClient(at.url, base_url=at.url, retries=0) for at in (first, second)]
        model = Continuing(Fallback(*clients))
        for on_chunk, finish_reason in ((ignore, "length"), (None, "stop")):
            reply = await model.complete(REQUEST, on_chunk)
            assert reply.finish_reason == finish_reason
            shown = clients[1].sends(REQUEST, streamed=on_chunk is not None)
            assert (reply.sent, shown.body) == (shown, second.bodies[-1])
        assert model.sends(REQUEST) == clients[0].sends(REQUEST)


@pytest.mark.parametrize("name", WRAPPERS)
async def test_a_model_that_does_not_show_it_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match="Scripted"):
        WRAPPERS[name](Scripted(said("x"))).sends(REQUEST)
    reply = await WRAPPERS[name](Scripted(said("x"))).complete(REQUEST)
    assert reply.sent is None


def test_a_wrapper_has_the_name_of_its_model_and_a_repr_that_makes_it() -> None:
    assert Wrapper(Scripted(said("x"))).name == "scripted"
    client = ChatClient("m", base_url="http://a")
    for model, options in (
        *[(wrap(client), "") for wrap in (TextToolCalls, Continuing, Prompted)],
        (Prompted(client, small=True), ", small=True"),
        (Trimmed(client, tokens=5, exchanges=3), ", tokens=5, exchanges=3"),
        (Trimmed(client, exchanges=3), ", exchanges=3"),
    ):
        assert repr(model) == f"{type(model).__name__}({client!r}{options})"
