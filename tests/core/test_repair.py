import json
from collections.abc import Callable, Sequence
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import ImagePart, SystemMessage
from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage, shown
from agentkit.core.parts import Media
from agentkit.core.repair import UNKNOWN, repaired
from agentkit.core.state import State
from tests.endpoint import fault_in
from tests.strategies import any_text

HI = UserMessage("Hi")
DONE = AssistantMessage("done")
ONE, TWO = ImagePart("data:,1"), ImagePart("data:,2")


def calls(*ids: str) -> AssistantMessage:
    return AssistantMessage(tool_calls=tuple(ToolCall(call_id, "f", "{}") for call_id in ids))


def said(id_: str, text: str = "x", *images: ImagePart) -> ToolMessage:
    return ToolMessage(id_, text, images=images)


def unknown(id_: str) -> ToolMessage:
    return ToolMessage(id_, UNKNOWN, "cancelled")


@pytest.mark.parametrize("messages", [
    (),
    (HI, DONE),
    (HI, calls("a", "b"), said("a"), said("b"), DONE),
    (HI, calls("a"), said("a"), calls("a"), said("a"), DONE),
    (HI, calls("a", "b")),
    (HI, calls("a", "b"), said("a")),
    (HI, calls("a", "b"), said("b")),
    (HI, calls("a"), said("a", "x", ONE), shown([ONE]), DONE),
    (HI, calls("a"), said("a", "x", ONE), UserMessage(shown([ONE]).content), DONE),
    (HI, calls("a"), said("a", "x", ONE)),
    (HI, calls("a", "b"), said("a", "x", ONE)),
])  # fmt: skip
def test_a_sound_history_stays_the_very_same(messages: tuple[Message, ...]) -> None:
    result = repaired(messages)
    assert result.messages is messages
    assert result.repairs == ()


@pytest.mark.parametrize(("messages", "made", "repairs"), [
    ((said("a"), HI), (HI,), [("orphan", 0)]),
    ((HI, said("a"), calls("a"), HI), (HI, calls("a"), unknown("a"), HI), [("orphan", 1), ("closed", 2)]),
    ((calls("a"), said("a"), said("a", "y"), DONE), (calls("a"), said("a"), DONE), [("duplicate", 2)]),
    ((calls("a"), said("a"), DONE, said("a", "y")), (calls("a"), said("a"), DONE), [("duplicate", 3)]),
    ((calls("a", "b"), HI, DONE), (calls("a", "b"), unknown("a"), unknown("b"), HI, DONE), [("closed", 0), ("closed", 0)]),
    ((calls("a", "b"), said("b"), HI), (calls("a", "b"), unknown("a"), said("b"), HI), [("closed", 0)]),
    ((calls("a"), calls("b"), said("b"), said("a")), (calls("a"), said("a"), calls("b"), said("b")), [("moved", 3)]),
    ((calls("a", "b"), said("b"), said("a")), (calls("a", "b"), said("a"), said("b")), [("moved", 1)]),
    ((calls("a"), HI, said("a")), (calls("a"), said("a"), HI), [("moved", 2)]),
    ((calls("a"), HI, calls("a"), said("a")), (calls("a"), unknown("a"), HI, calls("a"), said("a")), [("closed", 0)]),
    ((calls("a"), unknown("a"), HI, said("a")), (calls("a"), said("a"), HI), [("replaced", 1), ("moved", 3)]),
    ((calls("a"), unknown("a"), HI, unknown("a"), said("a", "1"), said("a", "2")), (calls("a"), said("a", "1"), HI), [("replaced", 1), ("duplicate", 3), ("moved", 4), ("duplicate", 5)]),
    ((calls("a"), unknown("a"), HI, calls("a"), said("a"), said("a", "1")), (calls("a"), said("a", "1"), HI, calls("a"), said("a")), [("replaced", 1), ("moved", 5)]),
    ((calls("a"), said("a"), HI, unknown("a")), (calls("a"), said("a"), HI), [("duplicate", 3)]),
    ((calls("a", "a"), said("a", "1"), said("a", "2"), DONE), (calls("a", "a_2"), said("a", "1"), said("a_2", "2"), DONE), [("renamed", 0)]),
    ((HI, calls("a", "a")), (HI, calls("a", "a_2")), [("renamed", 1)]),
    ((calls("a", "a_2", "a", "a"), said("a_2")), (calls("a", "a_2", "a_3", "a_4"), said("a_2")), [("renamed", 0), ("renamed", 0)]),
    (
        (calls("a", "b"), said("b", "x", TWO), said("a", "x", ONE), DONE),
        (calls("a", "b"), said("a", "x", ONE), said("b", "x", TWO), shown([ONE, TWO]), DONE),
        [("images", 0), ("moved", 1)],
    ),
    ((calls("a"), said("a", "x", ONE), DONE), (calls("a"), said("a", "x", ONE), shown([ONE]), DONE), [("images", 0)]),
    ((calls("a"), shown([ONE]), said("a", "x", ONE)), (calls("a"), said("a", "x", ONE), shown([ONE])), [("moved", 2)]),
])  # fmt: skip
def test_what_is_repaired(
    messages: tuple[Message, ...], made: tuple[Message, ...], repairs: list[tuple[str, int]]
) -> None:
    result = repaired(messages)
    assert result.messages == made
    assert [(repair.what, repair.at) for repair in result.repairs] == repairs


IDS = st.sampled_from(["a", "b", "c", "a_2"])
IMAGES = st.sampled_from([(), (), (), (ONE,), (ONE, TWO)])
MESSAGE: st.SearchStrategy[Message] = (
    st.just(SystemMessage("Be kind."))
    | st.builds(UserMessage, st.sampled_from(["Hi", "Go on"]), note=st.booleans())
    | st.just(shown([ONE]))
    | st.builds(AssistantMessage, any_text(max_size=2), st.lists(IDS).map(lambda ids: calls(*ids).tool_calls))
    | st.builds(ToolMessage, IDS, any_text(max_size=2), images=IMAGES)
)


@st.composite
def broken(draw: st.DrawFn) -> tuple[Message, ...]:
    """A sound history of which messages were dropped, doubled and moved."""
    messages: list[Message] = []
    for number in range(draw(st.integers(0, 4))):
        ids = [f"{draw(IDS)}{number if draw(st.booleans()) else ''}" for _ in range(draw(st.integers(0, 3)))]
        messages += [UserMessage(f"go {number}"), AssistantMessage("so", calls(*ids).tool_calls)]
        messages += [said(call_id, f"{call_id} {number}", *draw(IMAGES)) for call_id in ids]
    for _ in range(draw(st.integers(0, 4))):
        at, to = draw(st.integers(0, len(messages))), draw(st.integers(0, len(messages)))
        some = messages[at : at + 1]
        what = draw(st.sampled_from(["drop", "double", "move"]))
        if what in ("drop", "move"):
            del messages[at : at + 1]
        if what in ("double", "move"):
            messages[to:to] = some
    return tuple(messages)


def wire(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [json.loads(message.encoded) for message in messages]


def ended(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The history after the calls at its end have run, their answers put in order."""
    state = State(messages)
    reply = state.open_reply
    if reply is None:
        return messages
    begin = max(at for at, message in enumerate(messages) if message is reply) + 1
    answers = {result.tool_call_id: result for result in messages[begin:] if isinstance(result, ToolMessage)}
    return (*messages[:begin], *[answers.get(call.id, unknown(call.id)) for call in reply.tool_calls])


def texts(messages: Sequence[Message]) -> list[object]:
    return [message.content for message in messages if not isinstance(message, ToolMessage)]


def is_in(few: Sequence[object], many: Sequence[object]) -> bool:
    """Whether the few are among the many, in their order."""
    rest = iter(many)
    return all(item in rest for item in few)


@given(st.lists(MESSAGE, max_size=8).map(tuple) | broken())
def test_any_history_becomes_sound(messages: tuple[Message, ...]) -> None:
    result = repaired(messages)
    assert fault_in(wire(ended(result.messages))) is None
    assert (result.messages is messages) == (not result.repairs)
    again = repaired(result.messages)
    assert again.messages is result.messages
    # What anyone said is there, in order; all that may come between are images.
    assert is_in(texts(messages), texts(result.messages))
    assert set(map(str, texts(result.messages))) - set(map(str, texts(messages))) <= {
        str(shown(images).content)
        for images in (
            [image for part in result.messages[begin:end] if isinstance(part, ToolMessage) for image in part.images]
            for begin in range(len(result.messages))
            for end in range(begin, len(result.messages))
        )
    }
    # No answer is made up but for calls of which the conversation has none.
    known = [message.content for message in messages if isinstance(message, ToolMessage)] + [UNKNOWN]
    assert all(message.content in known for message in result.messages if isinstance(message, ToolMessage))


@given(broken())
def test_every_image_is_shown_once(messages: tuple[Message, ...]) -> None:
    made = repaired(messages).messages
    for at, message in enumerate(made):
        group = list[Media]()
        for earlier in made[at:0:-1] if isinstance(message, ToolMessage) else ():
            if not isinstance(earlier, ToolMessage):
                break
            group[:0] = earlier.images
        if group and at + 1 < len(made) and not isinstance(made[at + 1], ToolMessage):
            assert made[at + 1] == shown(group)
            assert made[at + 2 : at + 3] != (shown(group),)


def long(turns: int) -> tuple[Message, ...]:
    turn = (HI, calls("a", "b"), said("a"), said("b"))
    return turn * turns


def fastest(messages: tuple[Message, ...]) -> float:
    times: list[float] = []
    for _ in range(15):
        begin = process_time()
        repaired(messages)
        times.append(process_time() - begin)
    return min(times)


def with_an_orphan(turns: int) -> tuple[Message, ...]:
    return (said("z"), *long(turns))


def answered_at_the_end(turns: int) -> tuple[Message, ...]:
    ids = [f"c{at}" for at in range(turns)]
    return (*map(calls, ids), *map(said, ids))


def with_one_id(turns: int) -> tuple[Message, ...]:
    return (calls(*["a"] * turns), *[said("a", "x", ONE)] * turns, DONE)


@pytest.mark.parametrize("make", [with_an_orphan, answered_at_the_end, with_one_id])
@pytest.mark.no_cover
def test_the_time_is_linear(make: Callable[[int], tuple[Message, ...]]) -> None:
    assert fastest(make(800)) < 30 * fastest(make(100))
