"""Observers, told by hand and by real runs: each run once, and as lines of a log."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import Agent, AssistantMessage, ChatClient, ToolCall, ToolChoice, ToolMessage, Usage, tool
from agentkit.core.chat import ChatRequest
from agentkit.core.errors import AgentkitError
from agentkit.core.repair import Repair
from agentkit.core.state import Step, Violation
from agentkit.observers.log import log_to, once
from agentkit.runs.events import (
    AnswerDelta,
    ApprovalNeeded,
    ArgumentsRepaired,
    Event,
    HistoryRepaired,
    Nested,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from tests.endpoint import calls, serving, text
from tests.scripted import Scripted, called, said

SECRET = "what nobody may see"
CALL = ToolCall("c0", "get_weather", json.dumps({"city": SECRET}))
REQUEST = ChatRequest(())
STEP = Step(AssistantMessage(SECRET, (CALL,)), ToolChoice(), "auto", finish_reason="tool_calls", usage=Usage(1, 12, 5))
DONE = ToolMessage("c0", SECRET)


class Unsayable:
    """Something that cannot be written."""

    def __str__(self) -> str:
        raise ValueError(SECRET)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.runs")
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.setLevel(logging.NOTSET)


def a_run(*events: Event, run_id: str = "r1", parent: str | None = None, ending: Event | None = None) -> list[Event]:
    """The events of a run, from its first to its last."""
    ended = ending or RunFinished("answer", Usage(2, 20, 10))
    return [replace(each, run_id=run_id) for each in (RunStarted("weather", "m", parent), *events, ended)]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def data(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = vars(record)["agentkit"]
    return found


def test_a_run_is_told_bare() -> None:
    told: list[Event] = []
    observer = once(told.append)
    events = a_run(StepStarted(0, ToolChoice(), REQUEST), TextDelta("a"))
    for event in events:
        observer(Nested(CALL, Nested(CALL, event), run_id="outer"))
    assert told == events
    assert [each.run_id for each in told] == ["r1"] * len(events)


def test_a_run_whose_beginning_was_not_told_is_left_out() -> None:
    told: list[Event] = []
    observer = once(told.append)
    for event in a_run(TextDelta("a"))[1:]:
        observer(event)
    assert told == []


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True), st.integers(0, 5))
def test_a_run_that_is_told_at_several_depths_is_told_once(depths: list[int], pieces: int) -> None:
    told: list[Event] = []
    observer = once(told.append)
    events = a_run(*[TextDelta(str(at)) for at in range(pieces)])
    for event in events:
        for depth in sorted(depths):  # the inner agent tells it first
            for _ in range(depth):
                event = Nested(CALL, event, run_id="outer")  # noqa: PLW2901 (wrapped once for each agent around)
            observer(event)
    assert told == events


def test_what_is_over_is_forgotten(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Event] = []
    observer, log = once(told.append), log_to(logger)
    events = a_run(TextDelta("a"))
    for event in (*events, *[Nested(CALL, each) for each in events]):
        observer(event)
    assert told == events * 2
    for event in (*a_run(), *a_run(run_id="r2", parent="r1")):
        log(event)
    assert caplog.records[-1].getMessage().startswith("weather r2: ended")


def test_each_event_is_a_line(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    observer = log_to(logger)
    mended = ArgumentsRepaired(CALL, (("city", f"{SECRET} became a text"),))
    for event in a_run(
        HistoryRepaired(Repair("closed", 3, SECRET)),
        StepStarted(0, ToolChoice("required"), REQUEST),
        TextDelta(SECRET),
        AnswerDelta({"city": SECRET}),
        StepFinished(STEP),
        mended,
        ApprovalNeeded(CALL),
        ToolStarted(CALL),
        ToolProgress(CALL, SECRET),
        ToolFinished(CALL, DONE, 0.25),
        ToolFinished(CALL, replace(DONE, outcome="error"), 0.25, KeyError(SECRET)),
        StepStarted(1, ToolChoice(), REQUEST),
        StepFinished(replace(STEP, message=AssistantMessage(None), violation=Violation("empty", "it said nothing"), usage=Usage(1))),
    ):
        observer(event)
    assert [line.rpartition(", ")[0] if line.endswith(" s") else line for line in lines(caplog)] == [
        "INFO weather r1: started with m",
        "INFO weather r1: history repaired: closed",
        "DEBUG weather r1: step 0 asks, required",
        "INFO weather r1: step 0 called get_weather, 17 tokens",
        "INFO weather r1: a call of get_weather was repaired",
        "INFO weather r1: get_weather needs approval",
        "DEBUG weather r1: get_weather runs",
        "DEBUG weather r1: get_weather goes on",
        "INFO weather r1: get_weather ok",
        "WARNING weather r1: get_weather error, KeyError",
        "DEBUG weather r1: step 1 asks, auto",
        "WARNING weather r1: step 1 was not taken, it said nothing",
        "INFO weather r1: ended with answer after 2 requests, 30 tokens",
    ]
    common = {"run_id": "r1", "agent": "weather", "parent": None}
    assert all(common.items() <= data(record).items() for record in caplog.records)
    assert data(caplog.records[9]) == common | {
        "event": "ToolFinished",
        "step": 0,
        "tool": "get_weather",
        "call_id": "c0",
        "outcome": "error",
        "seconds": 0.25,
        "error": "KeyError",
    }
    assert data(caplog.records[3])["prompt_tokens"] == 12
    json.dumps([data(record) for record in caplog.records])


def everything() -> list[Event]:
    failed = ToolFinished(CALL, replace(DONE, outcome="error"), 0.1, KeyError(SECRET))
    events: list[Event] = [
        HistoryRepaired(Repair("closed", 3, SECRET)),
        StepStarted(0, ToolChoice(), REQUEST),
        StepFinished(STEP),
        ArgumentsRepaired(CALL, (("city", SECRET),)),
        ApprovalNeeded(CALL),
        ToolStarted(CALL),
        ToolProgress(CALL, SECRET),
        ToolFinished(CALL, DONE, 0.1),
        failed,
    ]
    return a_run(*events, ending=RunFinished(None, Usage(1), AgentkitError(SECRET)))


@pytest.mark.parametrize("content", [False, True])
def test_content_shows_only_where_it_may(
    content: bool, logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    observer = log_to(logger, content=content)
    for event in everything():
        observer(event)
    shown = [
        SECRET in f"{record.getMessage()}{data(record)}" or SECRET in str(record.exc_text) for record in caplog.records
    ]
    # All events but the beginnings of a run and of a step have some.
    assert shown == [content and type(each) not in (RunStarted, StepStarted) for each in everything()]


def test_content_is_shortened_and_in_one_line(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    observer = log_to(logger, content=True)
    for event in a_run(ToolProgress(CALL, "a\nb\x1b[31m" + "c" * 10_000), ToolProgress(CALL, Unsayable())):
        observer(event)
    assert "value=a b [31mccc" in lines(caplog)[1]
    assert len(lines(caplog)[1]) < 300
    assert data(caplog.records[1])["value"].endswith("c…")
    assert data(caplog.records[2])["value"] == "<Unsayable>"


def test_a_name_that_a_model_made_up_stays_in_its_line(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    observer = log_to(logger)
    odd = ToolCall("c1", "x\nERROR all is lost " + "y" * 5_000, "{}")
    for event in a_run(ToolFinished(odd, ToolMessage("c1", "no", "error"), error=AgentkitError("no"))):
        observer(event)
    assert "\n" not in caplog.records[1].getMessage()
    assert len(caplog.records[1].getMessage()) < 300


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (AgentkitError("no"), "ERROR weather r1: failed, AgentkitError, after 1 request, "),
        (KeyboardInterrupt(), "INFO weather r1: was stopped, KeyboardInterrupt, after 1 request, "),
        (
            BaseExceptionGroup("", [KeyboardInterrupt()]),
            "INFO weather r1: was stopped, KeyboardInterrupt, after 1 request, ",
        ),
    ],
)
def test_how_a_run_failed(
    error: BaseException, line: str, logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    observer = log_to(logger)
    for event in a_run(ending=RunFinished(None, Usage(1), error)):
        observer(event)
    assert lines(caplog)[1].startswith(line)
    assert caplog.records[1].exc_info is None


def test_a_traceback_is_content(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    observer = log_to(logger, content=True)
    for event in everything():
        observer(event)
    traced = [data(record)["event"] for record in caplog.records if record.exc_info]
    assert traced == ["ToolFinished", "RunFinished"]


def test_the_level_is_that_of_ordinary_lines(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    observer = log_to(logger, level=logging.DEBUG)
    for event in everything():
        observer(event)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG, logging.WARNING, logging.ERROR}


def test_a_nested_run_is_indented(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    observer = log_to(logger)
    first, *_, last = a_run()
    inner = [Nested(CALL, each, run_id="r1") for each in a_run(run_id="r2", parent="r1")]
    innermost = [Nested(CALL, Nested(CALL, each)) for each in a_run(run_id="r3", parent="r2")]
    for event in (first, inner[0], *innermost, *inner[1:], last):
        observer(event)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "weather r1",
        "  weather r2",
        "    weather r3",
        "    weather r3",
        "  weather r2",
        "weather r1",
    ]
    assert caplog.records[1].getMessage() == "  weather r2: started with m, a tool in r1"
    assert data(caplog.records[2])["parent"] == "r2"


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    if city == "Atlantis":
        raise KeyError(city)
    return f"light rain in {city}"


def test_a_real_run_is_logged(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    model = Scripted(
        called(("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Atlantis"})), said("It rains.")
    )
    agent = Agent(model, tools=[get_weather], observers=[log_to(logger)], name="bot")
    agent.run_sync("Hello")
    (run_id,) = {data(record)["run_id"] for record in caplog.records}
    by_event = [data(record)["event"] for record in caplog.records]
    assert by_event[:3] == ["RunStarted", "StepStarted", "StepFinished"]
    assert by_event[-3:] == ["StepStarted", "StepFinished", "RunFinished"]
    assert sorted(record.levelname for record in caplog.records if data(record)["event"] == "ToolFinished") == [
        "INFO",
        "WARNING",
    ]
    assert lines(caplog)[0] == f"INFO bot {run_id}: started with scripted"
    assert "Atlantis" not in caplog.text


def test_an_agent_that_is_a_tool_is_logged_once(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    observer = log_to(logger)
    inner = Agent(Scripted(said("It rains.")), observers=[observer], name="inner")
    ask = inner.as_tool("ask", description="Ask about the weather.")
    outer = Agent(Scripted(called(("ask", {"prompt": "Paris?"})), said("Yes.")), tools=[ask], observers=[observer])
    outer.run_sync("Hello")
    began = [data(record) for record in caplog.records if data(record)["event"] == "RunStarted"]
    assert [(each["agent"], each["parent"]) for each in began] == [("agent", None), ("inner", began[0]["run_id"])]
    inner_lines = [record.getMessage() for record in caplog.records if data(record)["agent"] == "inner"]
    assert len(inner_lines) == 4
    assert all(line.startswith("  inner ") for line in inner_lines)


@pytest.mark.anyio
async def test_many_runs_at_once_share_an_observer(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    observer = log_to(logger)

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        return text("It rains.") if len(request["messages"]) > 1 else calls(("get_weather", {"city": "Paris"}))

    with serving(reply) as served:
        agent = Agent(ChatClient("m", base_url=served.url, api_key=""), tools=[get_weather], observers=[observer])
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(agent.run, "Hello")
    runs = {data(record)["run_id"] for record in caplog.records}
    assert len(runs) == 50
    assert len(caplog.records) == 50 * 8
