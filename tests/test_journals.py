import json

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import InvalidRequest, SessionError
from agentkit.journals import Entry, Kept, Started, entries_of, line_of, to_its_end
from agentkit.limiters import Limiter
from agentkit.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from tests.test_stored import MESSAGE, TEXT

CALLING = AssistantMessage(tool_calls=(ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")))
A, B = Started("a", "f", "{}"), Started("b", "f", "{}")


@given(st.lists(MESSAGE | st.builds(Started, TEXT, TEXT, TEXT), max_size=4))
def test_entries_are_lines_and_entries_again(entries: list[Entry]) -> None:
    lines = [line_of(each) for each in entries]
    assert not any("\n" in each for each in lines)
    assert list(entries_of(("here", each.encode()) for each in lines)) == entries


def test_what_was_started_and_not_answered_is_known() -> None:
    kept = Kept.of([UserMessage("Hi"), CALLING, A, B, ToolMessage("b", "done")])
    assert kept == Kept((UserMessage("Hi"), CALLING, ToolMessage("b", "done")), (A,))
    assert Kept.of([CALLING, A, ToolMessage("a", "done")]).started == ()
    assert Kept.of([ToolMessage("a", "done"), A]).started == (A,)


def test_an_id_that_is_used_again_is_another_call() -> None:
    assert Kept.of([CALLING, A, B, UserMessage("Hi"), CALLING]).started == ()


def test_records_that_are_not_known_here_are_left_out() -> None:
    lines = ['{"forked": {}}', "{}", line_of(A)]
    assert list(entries_of(("here", each) for each in lines)) == [A]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "Expecting value"),
        ("[]", r"the entry must be a message or a dict, not \[\]"),
        (b"\xff", "codec can't decode"),
        ("[" * 100_000, "recursion"),
        ('{"role": "user"}', r"the entry\.content must be a text"),
        ('{"started": {"call_id": "a", "name": "f"}}', "has not its id, name and arguments"),
        ('{"started": {"$new": 1}}', "not known to this version"),
    ],
)
def test_a_line_that_is_no_entry_is_an_error(line: str | bytes, said: str) -> None:
    with pytest.raises(SessionError, match=rf"(?s)^line 7 cannot be read: .*{said}.* Nothing was changed; mend"):
        list(entries_of([("line 7", line)]))


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        line_of(AssistantMessage("a", extra={"a": object()}))
    assert json.loads(line_of(A)) == {"started": {"call_id": "a", "name": "f", "arguments": "{}"}}


@pytest.mark.anyio
async def test_it_is_one_at_a_time_and_each_has_its_turn() -> None:
    turn, order, inside = Limiter(1), list[int](), list[int]()

    async def one(number: int) -> None:
        def work() -> int:
            inside.append(number)
            assert len(inside) == 1
            return inside.pop()

        order.append(await to_its_end(turn, work))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(one, number)
    assert sorted(order) == list(range(20))


@pytest.mark.anyio
async def test_what_is_raised_comes_back_as_it_is() -> None:
    def work() -> None:
        raise KeyError("a")

    with pytest.raises(KeyError) as caught:
        await to_its_end(Limiter(1), work)
    assert caught.value.__context__ is None
