from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import AssistantMessage, ImagePart, Message, Result, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.server import Bounds
from agentkit.server.client_calls import ClientCalls, ClientCallStore, client_calls_of

HELLO = UserMessage("Hello")
MINE = ("agent", "key")


def call(name: str, call_id: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(call_id, name, arguments)


def paused(*added: Message) -> Result[object]:
    return Result("", (HELLO, *added), (), Usage(), "paused", 1)


EARLIER = (AssistantMessage(tool_calls=(call("search", "c0"),)), ToolMessage("c0", "found"))
OPEN = AssistantMessage("And now?", (call("search", "c0"), call("ask_user", "c1"), call("ask_user", "c2")))
PAUSED = paused(*EARLIER, OPEN, ToolMessage("c0", "found more"))


def new_calls() -> ClientCalls:
    return client_calls_of(PAUSED)


def conversation(calls: ClientCalls) -> tuple[Message, ...]:
    """The conversation as the client has it, with its results."""
    return (HELLO, AssistantMessage("And now?", calls.calls), *[ToolMessage(call.id, "yes") for call in calls.calls])


def test_the_clients_calls_get_ids_of_this_server_and_the_rest_stays() -> None:
    calls = new_calls()
    assert (calls.messages[:2], calls.messages[3]) == (EARLIER, ToolMessage("c0", "found more"))
    reply = calls.messages[2]
    assert isinstance(reply, AssistantMessage)
    own, *theirs = reply.tool_calls
    assert (own.id, tuple(theirs)) == ("c0", calls.calls)
    assert all(call.id.startswith("call_") and len(call.id) == 37 for call in theirs)
    assert new_calls().calls[0].id != calls.calls[0].id


@pytest.mark.parametrize(("wrote", "sent"), [('{"a": 1}', '{"a": 1}'), ("", "{}"), ('```json\n{"a":1}\n```', '{"a":1}'), ("null", "{}")])  # fmt: skip
def test_arguments_are_an_object_whatever_the_model_wrote(wrote: str, sent: str) -> None:
    run = paused(AssistantMessage(tool_calls=(call("ask_user", "c1", wrote),)))
    assert client_calls_of(run).calls[0].arguments == sent


def test_the_steps_before_are_put_back_once_for_the_owners_very_calls() -> None:
    store, calls = ClientCallStore(Bounds()), new_calls()
    store.keep(MINE, calls)
    client = conversation(calls)
    whole = (HELLO, *calls.messages, *client[2:])
    assert store.restore(MINE, client) == whole
    assert store.restore(MINE, (*client, UserMessage("More"))) == (*whole, UserMessage("More"))
    assert store.restore(MINE, client * 3) == whole + client * 2
    for owner in (("agent", "other"), ("other", "key")):
        assert store.restore(owner, client) == client
    fewer = (HELLO, AssistantMessage(tool_calls=calls.calls[:1]), client[2])
    for other in (fewer, (HELLO, AssistantMessage("Hi"), HELLO)):
        assert store.restore(MINE, other) == other


def test_calls_expire() -> None:
    now = [0.0]
    store = ClientCallStore(Bounds(kept_seconds=10), lambda: now[0])
    one, two = new_calls(), new_calls()
    store.keep(MINE, one)
    now[0] = 10
    assert store.restore(MINE, conversation(one)) != conversation(one)
    now[0] = 10.1
    assert (store.restore(MINE, conversation(one)), len(store), store.size) == (conversation(one), 0, 0)
    store.keep(MINE, one)
    now[0] = 21
    store.keep(MINE, two)  # which is when those that nobody asks for go
    assert len(store) == 1


def test_the_least_recently_used_go_first() -> None:
    store = ClientCallStore(Bounds(kept=2))
    one, two, three = new_calls(), new_calls(), new_calls()
    store.keep(MINE, one)
    store.keep(MINE, two)
    store.restore(MINE, conversation(one))
    store.keep(MINE, three)
    forgotten = [store.restore(MINE, conversation(calls)) == conversation(calls) for calls in (one, two, three)]
    assert forgotten == [False, True, False]


@pytest.mark.parametrize("message", [
    ToolMessage("c0", "x", images=(ImagePart("data:image/png;base64," + "A" * 2000),)), ToolMessage("c0", "x", full="x" * 2000), UserMessage("x" * 2000),
])  # fmt: skip
def test_calls_that_are_too_large_are_not_kept(message: Message) -> None:
    store, calls = ClientCallStore(Bounds(kept_bytes=1500)), new_calls()
    store.keep(MINE, calls)
    assert len(store) == 1
    others = tuple([replace(call, id=f"{call.id}x") for call in calls.calls])
    store.keep(MINE, ClientCalls((*calls.messages, message), others))
    assert (len(store), store.size) == (0, 0)


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(1, 5), st.integers(1, 5000))
def test_the_store_never_exceeds_its_limits(sizes: list[int], most: int, most_bytes: int) -> None:
    store = ClientCallStore(Bounds(kept=most, kept_bytes=most_bytes))
    for number, size in enumerate(sizes):
        store.keep(MINE, ClientCalls((UserMessage("x" * size),), (call("a", f"call_{number}"),)))
        assert len(store) <= most
        assert store.size <= most_bytes
