from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import ImagePart, State, Step, SystemMessage, ToolChoice, Usage
from agentkit.core.growing import grown
from agentkit.core.messages import AssistantMessage, Message, Outcome, ToolCall, ToolMessage, UserMessage, shown
from agentkit.core.state import CallRecord, ToolResults, Violation
from tests.tool_choice import GO, OUTCOMES, state, turn

NOTE = UserMessage("This is not an answer yet.", note=True)
BROKEN = Violation("tool_choice", "it answered where a tool must be called")
A = ToolCall("x", "a", "{}")
B = ToolCall("y", "b", "{}")


def step(
    message: AssistantMessage,
    violation: Violation | None = None,
    correction: tuple[ToolMessage, ...] | tuple[UserMessage] = (),
    usage: Usage | None = None,
) -> Step:
    return Step(message, ToolChoice(), "auto", violation, correction, usage=usage or Usage(1))


def answered(state: State, *answers: ToolMessage) -> State:
    return state.with_results(ToolResults(answers))


def summary(state: State) -> object:
    return state.messages, state.calls, state.step, state.unanswered, state.finished, state.ending


# A reply: its calls, each with how it ended; and where its answers are cut in two.
replies = st.tuples(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(OUTCOMES)), max_size=4), st.integers(0, 4)
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Message, ...]:
    """Some turns: user messages, notes, texts and answered calls."""
    messages: list[Message] = [SystemMessage("Be kind.")] if draw(st.booleans()) else []
    messages.append(GO)
    for made, _ in draw(st.lists(replies, max_size=5)):
        calls = tuple(ToolCall(f"c{at}", name, "{}") for at, (name, _) in enumerate(made))
        messages.append(AssistantMessage("said", calls))
        messages += [ToolMessage(call.id, "x", outcome) for call, (_, outcome) in zip(calls, made, strict=True)]
        messages += draw(st.sampled_from([[], [NOTE], [UserMessage("and now?")]]))
    return tuple(messages)


def states_after(state: State, made: Sequence[tuple[str, Outcome]], cut: int, *, broken: bool) -> list[State]:
    """Return the states that a run goes through with a reply: with the reply, then answered in two parts."""
    calls = tuple(ToolCall(f"c{at}", name, "{}") for at, (name, _) in enumerate(made))
    message = AssistantMessage("said", calls)
    if broken:
        refused = tuple(ToolMessage(call.id, "no", "refused") for call in calls)
        return [state.with_reply(step(message, BROKEN, refused or (NOTE,)))]
    answers = tuple(ToolMessage(call.id, "x", outcome) for call, (_, outcome) in zip(calls, made, strict=True))
    replied = state.with_reply(step(message))
    some = answered(replied, *answers[:cut])
    return [replied, some, answered(some, *answers[cut:])]


@settings(max_examples=60, deadline=None)
@given(histories(), st.lists(st.tuples(replies, st.booleans()), max_size=6), st.frozensets(st.sampled_from("abc")))
def test_what_is_carried_along_is_what_follows_from_the_messages(
    history: tuple[Message, ...],
    turns: list[tuple[tuple[list[tuple[str, Outcome]], int], bool]],
    stop_at: frozenset[str],
) -> None:
    now = State.of(history, stop_at)
    assert now.messages == history
    assert now.start == len(history)
    for (made, cut), broken in turns:
        ids = [f"c{at}" for at in range(len(made))]
        for after in states_after(now, made, cut, broken=broken):
            assert summary(after) == summary(State.of(after.messages, stop_at))
            assert [call.id for call in after.unanswered] == ids[len(ids) - len(after.unanswered) :]
            now = after
    assert len(now.steps) == len(turns)


def test_an_empty_turn() -> None:
    begun = state()
    assert summary(begun) == (begun.messages, (), 0, (), False, None)
    assert begun.open_reply is None
    assert (begun.violations, begun.usage) == (0, Usage())
    assert State.of(()).finished is False
    assert State.of((SystemMessage("Be kind."),)).finished is False


def test_a_record_has_the_result_and_the_step_however_the_answers_come() -> None:
    reply = AssistantMessage(tool_calls=(A, B))
    refused = State.of((GO, reply, ToolMessage("x", "no", "refused"), ToolMessage("y", "no", "refused"), reply))
    assert (refused.open_step, refused.step) == (0, 0)
    half = answered(refused, ToolMessage("x", "one"))
    assert (half.open_step, half.step) == (0, 1)
    whole = answered(half, ToolMessage("y", "two", "error"))
    assert whole.calls[2:] == (CallRecord(A, "ok", 0, "one"), CallRecord(B, "error", 0, "two"))
    assert State.of((*whole.messages, reply)).open_step == 1


@pytest.mark.parametrize(
    ("outcomes", "steps"),
    [(["ok"], 1), (["error"], 1), (["cancelled"], 1), (["refused"], 0), (["refused"] * 2, 0), (["refused", "ok"], 1)],
)
def test_a_reply_whose_calls_were_all_refused_is_no_step(outcomes: list[Outcome], steps: int) -> None:
    assert state([("a", outcome) for outcome in outcomes]).step == steps


def test_a_user_message_begins_a_turn_and_a_note_does_not() -> None:
    before = turn(("a", "ok"))
    noted = State.of((*before, NOTE))
    assert (noted.step, noted.succeeded("a"), noted.finished) == (1, True, False)
    anew = State.of((*before, AssistantMessage("done"), UserMessage("and now?")))
    assert (anew.step, anew.succeeded("a"), anew.calls, anew.finished) == (0, False, (), False)


def test_succeeded_means_that_it_returned() -> None:
    some = state(("a", "error"), ("b", "ok"), ("b", "error"), ("c", "refused"))
    assert [name for name in "abcd" if some.succeeded(name)] == ["b"]


def test_a_partly_answered_reply_has_open_calls_in_order() -> None:
    reply = AssistantMessage(tool_calls=(A, B))
    open_state = State.of((GO, reply))
    assert (open_state.unanswered, open_state.finished, open_state.step) == ((A, B), False, 0)
    half = State.of((GO, reply, ToolMessage("y", "b")))
    assert (half.unanswered, half.finished, half.step) == ((A,), False, 1)
    whole = answered(half, ToolMessage("x", "a"))
    assert (whole.unanswered, whole.finished, whole.step, len(whole.calls)) == ((), False, 1, 2)
    assert answered(half) is half


@pytest.mark.parametrize("messages", [
    (GO, ToolMessage("x", "nobody asked")),
    (ToolMessage("x", "nobody asked"),),
    (GO, AssistantMessage("done"), ToolMessage("x", "nobody asked")),
    (GO, AssistantMessage("done"), ToolMessage("x", "nobody asked"), UserMessage("more")),
])  # fmt: skip
def test_answers_to_no_call_count_for_nothing(messages: tuple[Message, ...]) -> None:
    strange = State.of(messages, ["a"])
    assert (strange.messages, strange.calls, strange.step) == (messages, (), 0)
    assert (strange.unanswered, strange.ending) == ((), None)


def test_a_call_that_is_answered_is_not_open_whatever_else_is_there() -> None:
    reply = AssistantMessage(tool_calls=(A, B))
    foreign = ToolMessage("z", "foreign")
    answers = [ToolMessage("x", "a"), ToolMessage("y", "b"), ToolMessage("x", "again"), foreign, foreign]
    assert State.of((GO, reply, *answers)).unanswered == ()
    assert State.of((GO, reply, foreign)).unanswered == (A, B)
    assert State.of((GO, reply, foreign)).step == 0
    twice = State.of((GO, AssistantMessage(tool_calls=(A, A)), ToolMessage("x", "a")))
    assert twice.unanswered == (), "two calls with one id are answered together"


@pytest.mark.parametrize(("outcomes", "ended_by"), [
    ([("stop", "ok")], 0),
    ([("stop", "error")], None),
    ([("stop", "refused")], None),
    ([("a", "ok")], None),
    ([("a", "ok"), ("stop", "ok")], 1),
    ([("stop", "error"), ("halt", "ok")], 1),
    ([("stop", "ok"), ("halt", "ok")], 0),
    ([("stop", "ok"), ("a", "error")], 0),
])  # fmt: skip
def test_a_tool_that_ends_the_run(outcomes: list[Any], ended_by: int | None) -> None:
    ended = State.of(turn(outcomes), ["stop", "halt"])
    assert ended.finished is (ended_by is not None)
    assert (ended.ending.tool_call_id if ended.ending else None) == (None if ended_by is None else f"c0_{ended_by}")
    assert not State.of(turn(outcomes)).finished


def test_a_run_is_not_ended_before_every_call_is_answered() -> None:
    half = State.of(turn([("stop", "ok"), ("a", None)]), ["stop"])
    assert half.ending is not None
    assert not half.finished
    assert answered(half, ToolMessage("c0_1", "late")).finished
    assert not State.of((*turn(("stop", "ok")), UserMessage("more")), ["stop"]).finished, "the next turn goes on"


def test_violations_are_those_in_a_row_up_to_the_last() -> None:
    broken = step(AssistantMessage("x"), BROKEN, (NOTE,))
    fine = step(AssistantMessage(tool_calls=(A,)))
    some = state().with_reply(broken).with_reply(broken)
    assert (some.violations, some.messages[-1]) == (2, NOTE)
    obeyed = answered(some.with_reply(fine), ToolMessage("x", "a"))
    assert (obeyed.violations, obeyed.with_reply(broken).violations) == (0, 1)


def test_the_usage_is_the_sum_of_the_steps() -> None:
    some = state().with_reply(step(AssistantMessage("x"), BROKEN, (NOTE,), Usage(1, 10, 5)))
    assert some.with_reply(step(AssistantMessage("x"), usage=Usage(1, 20, 7))).usage == Usage(2, 30, 12)
    assert Step(AssistantMessage("x"), ToolChoice(), "auto").usage == Usage(1)


PICTURE, OTHER = ImagePart("https://a.b/c.png"), ImagePart("data:,x", "low")


def test_images_are_shown_once_every_call_is_answered() -> None:
    replied = State.of((GO,)).with_reply(step(AssistantMessage(tool_calls=(A, B))))
    first, second = ToolMessage("x", "1", images=(PICTURE,)), ToolMessage("y", "2", images=(OTHER,))
    some = answered(replied, first)
    assert some.messages == (*replied.messages, first)
    both = answered(some, second)
    assert both.messages == (*some.messages, second, shown([PICTURE, OTHER]))
    assert both == answered(replied, first, second)
    assert (both.calls, both.step) == ((CallRecord(A, "ok", 0, "1"), CallRecord(B, "ok", 0, "2")), 1)
    assert both.open_reply is None
    assert not both.finished
    # What is shown is no word of the user's: the calls before it still count.
    again = State.of(both.messages)
    assert (again.messages, again.calls, again.step) == (both.messages, both.calls, both.step)


def test_images_of_the_result_that_ends_the_run_are_not_shown() -> None:
    state = State.of((GO,), stop_at=["a"]).with_reply(step(AssistantMessage(tool_calls=(A,))))
    ended = answered(state, ToolMessage("x", "1", images=(PICTURE,)))
    assert ended.messages[-1] == ToolMessage("x", "1", images=(PICTURE,))
    assert ended.finished


def test_a_shortened_result_is_known() -> None:
    state = State.of((GO,)).with_reply(step(AssistantMessage(tool_calls=(A, B))))
    assert not answered(state, ToolMessage("x", "1"), ToolMessage("y", "2")).shortened
    short = answered(state, ToolMessage("x", "…", full="1"), ToolMessage("y", "2"))
    assert short.shortened
    assert State.of(short.messages).shortened
    assert short.with_reply(step(AssistantMessage("done"))).shortened
    assert State.of((*short.messages, AssistantMessage("done"), UserMessage("And?"))).shortened


def test_the_calls_of_the_whole_conversation_grow_with_those_of_the_turn() -> None:
    before, record = (CallRecord(ToolCall("a", "f", "{}"), "ok", -1),), CallRecord(ToolCall("b", "f", "{}"), "ok")
    growing = grown(grown((), ()), [record])
    states = [State((), calls=growing, earlier=before), State((), calls=grown(growing, [record]), earlier=before)]
    assert [state.conversation.calls for state in states] == [(*before, record), (*before, record, record)]
    other = State((), calls=states[1].calls, earlier=(record,))  # the same calls after others
    assert (other.conversation.calls, states[0].conversation.calls) == ((record,) * 3, (*before, record))
