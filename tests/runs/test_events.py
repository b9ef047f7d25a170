import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from agentkit import AnswerDelta, Nested, RunFinished, RunStarted, TextDelta, ToolCall, Usage

CALL = ToolCall("c0", "ask", "{}")


def test_events_are_frozen_values() -> None:
    event = TextDelta("a")
    assert event == TextDelta("a")
    with pytest.raises(FrozenInstanceError):
        event.text = "b"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_whose_event_it_is_does_not_make_it_another() -> None:
    event = RunStarted("agent", "m", run_id="1")
    assert event == RunStarted("agent", "m", run_id="2")
    assert (event.run_id, RunStarted("agent", "m").run_id) == ("1", "")
    assert repr(event) == "RunStarted(agent='agent', model='m', parent=None, conversation=None, streamed=False)"
    assert event != RunStarted("agent", "m", "0")
    assert len({event, RunStarted("agent", "m", run_id="2"), RunStarted("agent", "m", "0")}) == 2


def test_events_can_be_sent_elsewhere() -> None:
    for event in (RunFinished("answer", Usage(1), run_id="1"), Nested(CALL, AnswerDelta([1]), run_id="1")):
        copy = pickle.loads(pickle.dumps(event))  # noqa: S301 (our own)
        assert copy == event
        assert copy.run_id == "1"
        assert replace(event, run_id="2") == event
