from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import AssistantMessage, ImagePart, Message, Result, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.server import Bounds
from agentkit.server.client_calls import ClientCalls, ClientCallStore, client_calls_of

ASKED = UserMessage("Hello")
MINE = ("agent", "key")


def call(name: str, id_: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(id_, name, arguments)


def paused(*added: Message) -> Result[object]:
    return Result("", (ASKED, *added), (), Usage(), "paused", 1)


EARLIER = (AssistantMessage(tool_calls=(call("search", "c0"),)), ToolMessage("c0", "found"))
OPEN = AssistantMessage("And now?", (call("search", "c0"), call("ask_user", "c1"), call("ask_user", "c2")))
PAUSED = paused(*EARLIER, OPEN, ToolMessage("c0", "found more"))


def test_the_clients_calls_get_ids_of_this_server_and_the_rest_stays() -> None:
    handover = client_calls_of(PAUSED, parallel=True)
    assert handover.messages[:2] == EARLIER
    reply = handover.messages[2]
    assert isinstance(reply, AssistantMessage)
    own, *theirs = reply.tool_calls
    assert own.id == "c0"
    assert tuple(theirs) == handover.calls
    assert all(each.id.startswith("call_") and len(each.id) == 37 for each in theirs)
    assert handover.messages[3] == ToolMessage("c0", "found more")
    assert client_calls_of(PAUSED, parallel=True).calls[0].id != handover.calls[0].id


def test_of_several_calls_one_is_handed_over_where_no_more_are_taken() -> None:
    handover = client_calls_of(PAUSED, parallel=False)
    (only,) = handover.calls
    assert only.name == "ask_user"
    refused = handover.messages[-1]
    assert isinstance(refused, ToolMessage)
    assert (refused.tool_call_id, refused.outcome) == ("c2", "refused")


@pytest.mark.parametrize(
    ("wrote", "handed"), [('{"a": 1}', '{"a": 1}'), ("", "{}"), ('```json\n{"a":1}\n```', '{"a":1}'), ("null", "{}")]
)
def test_arguments_are_an_object_whatever_the_model_wrote(wrote: str, handed: str) -> None:
    run = paused(AssistantMessage(tool_calls=(call("ask_user", "c1", wrote),)))
    assert client_calls_of(run, parallel=True).calls[0].arguments == handed


def seen(handover: ClientCalls) -> tuple[Message, ...]:
    """The conversation as the client has it, with its answers."""
    reply = AssistantMessage("And now?", handover.calls)
    return (ASKED, reply, *[ToolMessage(each.id, "yes") for each in handover.calls])


def test_what_was_done_before_is_put_back() -> None:
    kept, handover = ClientCallStore(Bounds()), client_calls_of(PAUSED, parallel=True)
    kept.keep(MINE, handover)
    answers = [ToolMessage(each.id, "yes") for each in handover.calls]
    whole = (ASKED, *handover.messages, *answers)
    assert kept.restore(MINE, seen(handover)) == whole
    assert kept.restore(MINE, (*seen(handover), UserMessage("More"))) == (*whole, UserMessage("More"))


def test_it_is_put_back_once() -> None:
    kept, handover = ClientCallStore(Bounds()), client_calls_of(PAUSED, parallel=True)
    kept.keep(MINE, handover)
    once = kept.restore(MINE, seen(handover))
    assert kept.restore(MINE, seen(handover) * 3) == once + seen(handover) * 2


@pytest.mark.parametrize("owner", [("agent", "other"), ("other", "key")])
def test_another_does_not_get_it(owner: tuple[str, str]) -> None:
    kept, handover = ClientCallStore(Bounds()), client_calls_of(PAUSED, parallel=True)
    kept.keep(MINE, handover)
    assert kept.restore(owner, seen(handover)) == seen(handover)


def test_other_calls_than_were_handed_over_stay_as_they_are() -> None:
    kept, handover = ClientCallStore(Bounds()), client_calls_of(PAUSED, parallel=True)
    kept.keep(MINE, handover)
    fewer = (ASKED, AssistantMessage(tool_calls=handover.calls[:1]), ToolMessage(handover.calls[0].id, "yes"))
    assert kept.restore(MINE, fewer) == fewer
    assert kept.restore(MINE, (ASKED, AssistantMessage("Hi"), ASKED)) == (ASKED, AssistantMessage("Hi"), ASKED)


def test_one_is_forgotten_after_its_time() -> None:
    now = [0.0]
    kept = ClientCallStore(Bounds(kept_seconds=10), lambda: now[0])
    one, two = client_calls_of(PAUSED, parallel=True), client_calls_of(PAUSED, parallel=True)
    kept.keep(MINE, one)
    now[0] = 10
    assert kept.restore(MINE, seen(one)) != seen(one)
    now[0] = 10.1
    assert kept.restore(MINE, seen(one)) == seen(one)
    assert (len(kept), kept.size) == (0, 0)
    kept.keep(MINE, one)
    now[0] = 21
    kept.keep(MINE, two)  # which is when those that nobody asks for go
    assert len(kept) == 1


def test_the_one_that_was_not_used_the_longest_goes_first() -> None:
    kept = ClientCallStore(Bounds(kept=2))
    one, two, three = [client_calls_of(PAUSED, parallel=True) for _ in range(3)]
    kept.keep(MINE, one)
    kept.keep(MINE, two)
    kept.restore(MINE, seen(one))
    kept.keep(MINE, three)
    assert [kept.restore(MINE, seen(each)) == seen(each) for each in (one, two, three)] == [False, True, False]


def test_one_that_is_too_large_is_not_kept() -> None:
    image = ImagePart("data:image/png;base64," + "A" * 2000)
    handover = client_calls_of(PAUSED, parallel=True)
    for message in (
        ToolMessage("c0", "x", images=(image,)),
        ToolMessage("c0", "x", full="x" * 2000),
        UserMessage("x" * 2000),
    ):
        kept = ClientCallStore(Bounds(kept_bytes=1500))
        kept.keep(MINE, handover)
        assert len(kept) == 1
        kept.keep(MINE, replace_calls(handover, message))
        assert (len(kept), kept.size) == (0, 0)


def replace_calls(handover: ClientCalls, more: Message) -> ClientCalls:
    calls = tuple([replace(each, id=f"{each.id}x") for each in handover.calls])
    return ClientCalls((*handover.messages, more), calls)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(1, 5), st.integers(1, 5000))
def test_it_never_holds_more_than_it_may(sizes: list[int], most: int, most_bytes: int) -> None:
    kept = ClientCallStore(Bounds(kept=most, kept_bytes=most_bytes))
    for at, size in enumerate(sizes):
        given: Any = ClientCalls((UserMessage("x" * size),), (call("a", f"call_{at}"),))
        kept.keep(MINE, given)
        assert len(kept) <= most
        assert kept.size <= most_bytes
