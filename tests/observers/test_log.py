"""Observers that log: each run once, and one line for each event."""

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import Agent, ToolCall, ToolChoice, ToolFinished, ToolMessage, ToolProgress, Usage, tool
from agentkit.core.errors import AgentkitError
from agentkit.observers.log import log_to, once
from agentkit.runs.events import AnswerDelta, Event, Nested, RunFinished, RunStarted, StepStarted, TextDelta
from tests.observers.events import CALL, SECRET, all_kinds, events_of
from tests.scripted import Scripted, called, said


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


def log_all(logger: logging.Logger, events: Iterable[Event], **options: Any) -> None:
    observer = log_to(logger, **options)
    for event in events:
        observer(event)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def data(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = vars(record)["agentkit"]
    return found


def test_nested_events_come_bare() -> None:
    seen: list[Event] = []
    observer = once(seen.append)
    events = events_of(ToolProgress(CALL, 1), TextDelta("a"))
    for event in events:
        observer(Nested(CALL, Nested(CALL, event), run_id="outer"))
    assert seen == events
    assert [event.run_id for event in seen] == ["r1"] * len(events)


def test_a_run_without_its_first_event_is_left_out() -> None:
    seen: list[Event] = []
    observer = once(seen.append)
    for event in events_of(TextDelta("a"))[1:]:
        observer(event)
    assert seen == []


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True), st.integers(0, 5))
def test_events_from_several_depths_come_once(depths: list[int], pieces: int) -> None:
    seen: list[Event] = []
    observer = once(seen.append)
    events = events_of(*[TextDelta(str(at)) for at in range(pieces)])
    for event in events:
        for depth in sorted(depths):  # from the inner agent first
            for _ in range(depth):
                event = Nested(CALL, event, run_id="outer")  # noqa: PLW2901 (wrapped once for each agent around)
            observer(event)
    assert seen == events


def test_ended_runs_are_forgotten(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []
    observer, log = once(seen.append), log_to(logger)
    events = events_of(TextDelta("a"))
    for event in (*events, *[Nested(CALL, event) for event in events]):
        observer(event)
    assert seen == events * 2
    for event in (*events_of(), *events_of(run_id="r2", parent="r1")):
        log(event)
    assert caplog.records[-1].getMessage().startswith("weather r2: ended")


def test_each_event_is_a_line(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    log_all(logger, (*all_kinds(), *events_of(AnswerDelta({"city": SECRET}))))
    assert [line.rpartition(", ")[0] if line.endswith(" s") else line for line in lines(caplog)] == [
        "INFO weather r1: started with m",
        "INFO weather r1: history repaired: closed",
        "INFO weather r1: received a message",
        "DEBUG weather r1: step 0 requests, required",
        "INFO weather r1: step 0 called get_weather, 17 tokens",
        "INFO weather r1: arguments of get_weather repaired",
        "INFO weather r1: get_weather needs approval",
        "DEBUG weather r1: get_weather starts",
        "DEBUG weather r1: get_weather reports progress",
        "INFO weather r1: get_weather ok",
        "WARNING weather r1: get_weather error, KeyError",
        "DEBUG weather r1: step 1 requests, auto",
        "WARNING weather r1: step 1 rejected, it said nothing, 17 tokens",
        "DEBUG weather r1: step 2 requests, auto",
        "ERROR weather r1: failed, RateLimited, after 3 requests, 60 tokens",
        "INFO weather r1: started with m",
        "INFO weather r1: ended with answer after 2 requests, 30 tokens",
    ]
    common = {"run_id": "r1", "agent": "weather", "parent": None}
    assert all(common.items() <= data(record).items() for record in caplog.records)
    call = {"event": "ToolFinished", "step": 0, "tool": "get_weather", "call_id": "c1"}
    assert data(caplog.records[10]) == common | call | {"outcome": "error", "seconds": 0.25, "error": "KeyError"}
    assert data(caplog.records[4])["prompt_tokens"] == 12
    json.dumps([data(record) for record in caplog.records])


@pytest.mark.parametrize("content", [False, True])
def test_content_is_opt_in(content: bool, logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    log_all(logger, all_kinds(), content=content)
    shown = [SECRET in f"{record.getMessage()}{data(record)}{record.exc_text}" for record in caplog.records]
    kinds = [type(event) for event in all_kinds() if type(event) is not TextDelta]
    assert shown == [content and kind not in (RunStarted, StepStarted) for kind in kinds]
    traced = [data(record)["event"] for record in caplog.records if record.exc_info]
    assert traced == (["ToolFinished", "RunFinished"] if content else [])


def test_content_is_shortened_and_in_one_line(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    events = events_of(ToolProgress(CALL, "a\nb\x1b[31m" + "c" * 10_000), ToolProgress(CALL, Unsayable()))
    log_all(logger, events, content=True)
    assert r"value=a\nb\u001b[31mccc" in lines(caplog)[1]
    assert len(lines(caplog)[1]) < 300
    assert data(caplog.records[1])["value"].endswith("c…")
    assert data(caplog.records[2])["value"] == "<Unsayable>"


def test_a_name_that_a_model_made_up_stays_in_its_line(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    odd = ToolCall("c1", "x\nERROR all is lost " + "y" * 5_000, "{}")
    log_all(logger, events_of(ToolFinished(odd, ToolMessage("c1", "no", "error"), error=AgentkitError("no"))))
    assert "\n" not in caplog.records[1].getMessage()
    assert len(caplog.records[1].getMessage()) < 300


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (AgentkitError("no"), "ERROR weather r1: failed, AgentkitError, after 1 request, "),
        (KeyboardInterrupt(), "INFO weather r1: cancelled, KeyboardInterrupt, after 1 request, "),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), "INFO weather r1: cancelled, KeyboardInterrupt, after "),
    ],
)
def test_how_a_run_failed(
    error: BaseException, line: str, logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    log_all(logger, events_of(ending=RunFinished(None, Usage(1), error)))
    assert lines(caplog)[1].startswith(line)
    assert caplog.records[1].exc_info is None


def test_the_level_is_that_of_ordinary_lines(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    log_all(logger, all_kinds(), level=logging.DEBUG)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG, logging.WARNING, logging.ERROR}


def test_a_nested_run_is_indented(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    first, *_, last = events_of()
    inner = [Nested(CALL, event, run_id="r1") for event in events_of(run_id="r2", parent="r1")]
    innermost = [Nested(CALL, Nested(CALL, event)) for event in events_of(run_id="r3", parent="r2")]
    log_all(logger, (first, inner[0], *innermost, *inner[1:], last))
    begins = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert begins[:3] == ["weather r1", "  weather r2", "    weather r3"] == begins[:2:-1]
    assert caplog.records[1].getMessage() == "  weather r2: started with m, a tool in r1"
    assert data(caplog.records[2])["parent"] == "r2"


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    if city == "Atlantis":
        raise KeyError(city)
    return f"light rain in {city}"


def test_a_real_run_is_logged(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    both = called(("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Atlantis"}))
    agent = Agent(Scripted(both, said("It rains.")), tools=[get_weather], observers=[log_to(logger)], name="bot")
    agent.run_sync("Hello")
    (run_id,) = {data(record)["run_id"] for record in caplog.records}
    levels = sorted(record.levelname for record in caplog.records if data(record)["event"] == "ToolFinished")
    assert levels == ["INFO", "WARNING"]
    assert lines(caplog)[0] == f"INFO bot {run_id}: started with scripted"
    assert "Atlantis" not in caplog.text


def test_a_known_call_is_not_logged_as_a_request(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    known = StepStarted(0, ToolChoice("tool", "lookup", arguments="{}"), None)
    log_all(logger, events_of(known))
    assert any(line.endswith("step 0 knows its call, lookup") for line in lines(caplog))
