"""The times of a run, and the runs of its sub-agents, as the viewer gets them."""

from typing import Any

import pytest

from agentkit import (
    Agent,
    ApprovalNeeded,
    ArgumentsRepaired,
    AssistantMessage,
    Event,
    MessageReceived,
    Nested,
    RunFinished,
    RunStarted,
    Step,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolCall,
    ToolChoice,
    ToolFinished,
    ToolMessage,
    ToolStarted,
    Usage,
    UserMessage,
    tool,
)
from agentkit.runs.events import TimedEvent, kept_of
from agentkit.runs.timeline import recorded_run, run_facts, run_of_events, timeline_of
from agentkit.tools.argument_repair import ArgumentRepair
from tests.scripted import Scripted, called, said
from tests.viewer import data_in

CALL = ToolCall("c0", "pay", "{}")
REPLY = Step(AssistantMessage(tool_calls=(CALL,)), ToolChoice(), "auto")
ANSWER = Step(AssistantMessage("Done."), ToolChoice(), "auto")
PAID = ToolMessage("c0", "paid")


def timed(*events: Event) -> list[TimedEvent]:
    """One event a second."""
    return [(float(second), event) for second, event in enumerate(events)]


EVENTS = timed(
    RunStarted("boss", "m"),
    StepStarted(0, ToolChoice(), None),
    ArgumentsRepaired(CALL, (ArgumentRepair("name", "read as pay"),)),
    StepFinished(REPLY),
    ApprovalNeeded(CALL),
    ToolStarted(CALL),
    ToolFinished(CALL, PAID),
    StepStarted(1, ToolChoice(), None),
    StepFinished(ANSWER),
    RunFinished("answer", Usage(2)),
)


def test_steps_and_calls_have_their_times() -> None:
    steps, calls = timeline_of(EVENTS, 2)
    assert steps == [{"began": 1.0, "seconds": 2.0}, {"began": 7.0, "seconds": 1.0}]
    assert calls == {(0, "c0"): {"repairs": ["name: read as pay"], "began": 5.0, "waited": 1.0, "seconds": 1.0}}
    assert run_facts(EVENTS) == {
        "agent": "boss", "model": "m", "began": 0.0, "usage": {"requests": 2}, "seconds": 9.0, "stop": "answer",
    }  # fmt: skip


def test_steps_before_a_run_was_resumed_have_no_times() -> None:
    events = timed(
        ToolStarted(CALL), ToolFinished(CALL, PAID), StepStarted(1, ToolChoice(), None), StepFinished(ANSWER)
    )
    steps, calls = timeline_of(events, 2)
    assert steps == [{}, {"began": 2.0, "seconds": 1.0}]
    assert calls == {(0, "c0"): {"began": 0.0, "seconds": 1.0}}
    assert timeline_of(events[:2], 0)[1].keys() == {(-1, "c0")}


def test_a_call_that_did_not_run_has_no_time() -> None:
    assert timeline_of(timed(ToolFinished(CALL, PAID)), 0) == ([], {})


def test_the_runs_of_sub_agents_are_in_the_calls_that_ran_them() -> None:
    inner = [Nested(CALL, event) for _, event in EVENTS]
    failed = [
        Nested(CALL, event, run_id="")
        for event in (RunStarted("other", "n", run_id="2"), RunFinished(None, Usage(), run_id="2"))
    ]
    events = timed(StepStarted(0, ToolChoice(), None), StepFinished(REPLY), *inner, *failed)
    runs: Any = timeline_of(events, 1)[1][0, "c0"]["runs"]
    assert [(run["agent"], run.get("stop"), run.get("error")) for run in runs] == [
        ("boss", "answer", None), ("other", None, "the run failed"),
    ]  # fmt: skip
    assert (runs[0]["began"], runs[0]["seconds"]) == (2.0, 9.0)
    reply, answer = runs[0]["items"]
    assert (reply["calls"][0]["result"], reply["began"], answer["text"]) == ("paid", 3.0, "Done.")


def test_a_run_that_goes_on_has_the_request_that_is_open() -> None:
    prompt, note = (UserMessage("Pay."),), UserMessage("Now.")
    run: Any = run_of_events([*EVENTS[:-2], (9.0, MessageReceived(note))], prompt, "Do")
    user, reply, noted, opened = run["items"]
    assert (user["parts"], noted["parts"], reply["calls"][0]["result"]) == (
        [{"text": "Pay."}],
        [{"text": "Now."}],
        "paid",
    )
    assert opened == {"kind": "step", "number": 2, "open": True, "text": "Do", "choice": "auto", "began": 7.0}
    assert run_of_events([*EVENTS[:-2], EVENTS[-1]], prompt)["items"] == run["items"][:2]


def test_results_of_calls_that_were_open_before_are_in_the_first_request() -> None:
    prompt = (UserMessage("Pay."), AssistantMessage(tool_calls=(CALL,)), PAID)
    events = timed(
        ToolStarted(CALL), ToolFinished(CALL, PAID), StepStarted(0, ToolChoice(), None), StepFinished(ANSWER)
    )
    run: Any = run_of_events(events, prompt)
    assert [item.get("text") for item in run["items"]] == [None, None, "Done."]
    assert (run["items"][1]["calls"][0]["seconds"], run["items"][2]["number"]) == (1.0, 1)


@pytest.mark.parametrize(("event", "kept"), [
    (TextDelta("x"), None), (Nested(CALL, TextDelta("x")), None), (ToolStarted(CALL), ToolStarted(CALL)),
    (ToolFinished(CALL, PAID, 1.0, ValueError("x")), ToolFinished(CALL, PAID, 1.0)),
    (Nested(CALL, RunFinished(None, Usage(), ValueError("x"))), Nested(CALL, RunFinished(None, Usage()))),
    (StepStarted(0, ToolChoice(), object()), StepStarted(0, ToolChoice(), None)),  # type: ignore[arg-type]
])  # fmt: skip
def test_a_result_keeps_no_pieces_requests_and_errors(event: Event, kept: Event | None) -> None:
    assert kept_of(event) == kept


@tool
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def test_a_result_as_a_page() -> None:
    helper = Agent(Scripted(called(("pay", {"amount": 3})), said("It is paid.")), tools=[pay], name="helper")
    boss = Agent(
        Scripted(called(("ask", {"prompt": "Pay 3"})), said("Done.")),
        tools=[helper.as_tool("ask", "Ask.")],
        name="boss",
    )
    result = boss.run_sync("go")
    page = data_in(result.to_html(boss))
    (run,) = page["runs"]
    assert (page["title"], run["agent"], run["stop"], run["usage"]["requests"]) == (
        "A run of boss",
        "boss",
        "answer",
        4,
    )
    assert page["graph"]["path"] == [0, 0]
    assert run["items"][1]["calls"][0]["runs"][0]["items"][0]["calls"][0]["result"] == "paid 3"
    assert all(step["seconds"] >= 0 for step in run["items"] if step["kind"] == "step")
    assert recorded_run(result.messages, result.steps, result.events) == {**run, "stop": "answer"}
    assert "to_html" in result._repr_html_()
    assert "graph" not in data_in(result.to_html())
