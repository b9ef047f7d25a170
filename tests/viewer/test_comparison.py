import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.viewer import Json, comparison, differences, run_of


def run(*texts: str) -> Json:
    return run_of([UserMessage("go"), *map(AssistantMessage, texts)])


def test_items_that_do_the_same_are_pairs() -> None:
    assert differences(run("a", "b", "d"), run("a", "c", "d")) == [
        (0, 0, True), (1, 1, True), (2, 2, False), (3, 3, True),
    ]  # fmt: skip
    assert differences(run("a", "b"), run("a", "x", "y", "b"))[2:] == [(None, 2, False), (None, 3, False), (2, 4, True)]
    assert differences(run("a", "b", "c"), run("a")) == [
        (0, 0, True), (1, 1, True), (2, None, False), (3, None, False),
    ]  # fmt: skip


def test_times_costs_and_ids_are_no_difference() -> None:
    def called(call_id: str, seconds: float, result: str = "ok") -> Json:
        reply = AssistantMessage(tool_calls=(ToolCall(call_id, "f", "{}"),))
        return run_of([reply, ToolMessage(call_id, result)], [{"seconds": seconds}], {(0, call_id): {"began": seconds}})

    assert differences(called("a", 1.0), called("b", 2.0)) == [(0, 0, True)]
    assert differences(called("a", 1.0), called("a", 1.0, "other")) == [(0, 0, False)]


def test_a_long_middle_is_compared_place_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "_MOST", 2)
    assert differences(run("a", "b", "c", "d"), run("b", "c", "x", "d"))[1:] == [
        (1, 1, False), (2, 2, False), (3, 3, False), (4, 4, True),
    ]  # fmt: skip


TEXTS = st.lists(st.sampled_from("abc"), max_size=8)


@given(TEXTS, TEXTS)
def test_every_item_stands_once_and_in_order(one: list[str], other: list[str]) -> None:
    pairs = differences(run(*one), run(*other))
    assert [left for left, _, _ in pairs if left is not None] == [*range(len(one) + 1)]
    assert [right for _, right, _ in pairs if right is not None] == [*range(len(other) + 1)]
    assert one != other or all(same for _, _, same in pairs)
