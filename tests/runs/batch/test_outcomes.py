import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from pydantic import AfterValidator, BaseModel, Field

from agentkit import Agent, AssistantMessage, Batched, Mapped, Result, Summary, Usage, UserMessage
from agentkit.core.errors import AgentkitError, BatchFailed, LimitReached, Partial, RateLimited, StoredFailure
from agentkit.runs.batch.outcomes import line_of, mapped_of
from tests.scripted import Scripted, called, said
from tests.strategies import any_text


class Trip(BaseModel):
    city: str
    days: int = Field(ge=1, alias="nights")


@dataclass
class Point:
    x: float
    y: float


def kept(agent: Agent[Any, Any], result: Result[Any]) -> tuple[dict[str, Any], Mapped[Any] | None]:
    """What a journal has of a result, and what comes back."""
    line = json.loads(json.dumps(line_of(Mapped(3, "k", result), agent.plan), ensure_ascii=False))
    return line, mapped_of(line, 3, "k", agent.plan)


@pytest.mark.parametrize(
    ("kind", "written", "output"),
    [
        (Trip, '{"city": "Rome", "nights": 2}', {"city": "Rome", "nights": 2}),
        (Point, '{"x": 0.1, "y": 2}', {"x": 0.1, "y": 2}),
        (Literal["spam", "ham"], '{"answer": "ham"}', "ham"),
        (list[Trip], '{"answer": [{"city": "Rome", "nights": 2}]}', [{"city": "Rome", "nights": 2}]),
        (int | None, '{"answer": null}', None),
        (int, '{"answer": 123456789012345678901234567890}', {"$int": hex(123456789012345678901234567890)}),
    ],
)
@pytest.mark.parametrize("mode", ["tool", "format"])
def test_a_typed_answer_comes_back_as_it_was(kind: Any, written: str, output: object, mode: Any) -> None:
    if mode == "format" and kind is Point:
        mode = "tool"
    reply = called(("final_answer", written)) if mode == "tool" else said(written)
    agent = Agent(Scripted(reply), output=kind, output_mode=mode)
    result = agent.run_sync("go")
    line, back = kept(agent, result)
    assert line == {"key": "k", "output": output, "stop": "answer", "usage": {"requests": 1}} | {"usage": line["usage"]}
    assert back is not None
    assert back.result == Result(result.output, (), (), result.usage, "answer")
    assert type(back.output) is type(result.output)
    assert (back.index, back.key, back.stored, back.error, back.failure) == (3, "k", True, None, None)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (Trip, '```json\n{"city": "Rome", "nights": 2}\n```'),  # it is mended, and read by the same mends again
        (list[int], '{"answer": "[1, 2]"}'),
        (Decimal, '{"answer": 0.10000000000000000000001}'),
        (Annotated[int, AfterValidator(lambda _: float("nan"))], '{"answer": 1}'),  # which equals nothing
    ],
)
def test_what_json_would_not_give_back_is_kept_as_it_was_written(kind: Any, written: str) -> None:
    agent = Agent(Scripted(called(("final_answer", written))), output=kind)
    result = agent.run_sync("go")
    line, back = kept(agent, result)
    assert ("written" in line) != ("output" in line)
    assert back is not None
    assert repr(back.output) == repr(result.output)


@given(any_text())
def test_every_text_comes_back(text: str) -> None:
    line, back = kept(Agent(Scripted(said("x"))), Result(text, (UserMessage("a"),), (), Usage()))
    assert back is not None
    assert back.output == text
    assert line["stop"] == "answer"


@pytest.mark.parametrize(
    "line",
    [
        {"output": {"city": "Rome", "nights": 0}, "stop": "answer"},
        {"output": "Rome", "stop": "answer"},
        {"output": {"city": "Rome", "nights": 1}, "stop": "exploded"},
        {"output": {"$later": 1}, "stop": "answer"},
        {"written": "{", "stop": "answer"},
        {"stop": "answer"},
    ],
)
def test_an_answer_that_does_not_fit_is_none(line: dict[str, object]) -> None:
    assert mapped_of(line, 0, "k", Agent(Scripted(), output=Trip).plan) is None
    assert mapped_of({"output": 7, "stop": "answer"}, 0, "k", Agent(Scripted()).plan) is None


def test_a_paused_result_is_kept_as_such() -> None:
    agent = Agent(Scripted(), output=Trip)
    line = line_of(Mapped(0, "k", Result("", (), (), Usage(1), "paused")), agent.plan)
    assert line == {"key": "k", "output": "", "stop": "paused", "usage": {"requests": 1}}


def test_a_failure_comes_back_with_its_kind() -> None:
    plan = Agent(Scripted()).plan
    error = RateLimited("slow down", status=429)
    written = {"kind": "RateLimited", "text": "slow down"}
    assert line_of(Mapped(0, "k", error=error), plan) == {"key": "k", "error": written}
    error.partial = Partial((AssistantMessage("well"),), Usage(2, 3))
    line = line_of(Mapped(0, "k", error=error), plan, again=True)
    assert (line["usage"], line["again"]) == ({"requests": 2, "prompt_tokens": 3}, True)
    back = mapped_of(line, 5, "k", plan)
    assert back is not None
    assert isinstance(back.error, StoredFailure)
    assert (str(back.error), back.error.kind, back.failure) == ("slow down", "RateLimited", "RateLimited")
    assert back.stored
    with pytest.raises(StoredFailure, match="slow down"):
        _ = back.output
    no_result: Mapped[str] = Mapped(0, "k")
    with pytest.raises(AgentkitError, match="there is no result"):
        raise AssertionError(no_result.output)


def test_a_summary_counts() -> None:
    good = Mapped(0, "a", Result("A", (), (), Usage(1)))
    waits = Mapped(1, "b", Result("", (), (), Usage(1), "paused"), stored=True)
    bad: Mapped[str] = Mapped(2, "c", error=ValueError("no"))
    before: Mapped[str] = Mapped(3, "d", error=StoredFailure("slow", "RateLimited"), stored=True)
    summary = Summary()
    for mapped in (good, good, waits, bad, bad, before):
        summary = summary.plus(mapped)
    assert (summary.done, summary.stored, summary.paused, summary.failed, summary.ended) == (2, 2, 1, 3, 6)
    assert summary.failures == {"ValueError": 2, "RateLimited": 1}
    assert str(summary) == (
        "2 done (2 before), 1 wait for approval, 3 failed (2 ValueError, 1 RateLimited), 0 requests"
    )
    limit = LimitReached("enough", "cost", 1.0)
    assert str(Summary(1, usage=Usage(1, 1000, 1, cost=0.25), stopped=limit)) == (
        "1 done, 1 request, 1,001 tokens, cost 0.25; stopped: enough"
    )


def test_a_batch_raises_what_went_wrong() -> None:
    good = Mapped(0, "a", Result("A", (), (), Usage(1)))
    bad: Mapped[str] = Mapped(1, "b", error=ValueError("no"))
    fine = Batched((good,), Summary(1))
    fine.raise_failures()
    assert (fine.outputs, list(fine), len(fine), fine.failed) == (["A"], [good], 1, ())
    failed = Batched((good, bad), Summary(1, failures={"ValueError": 1}))
    assert failed.failed == (bad,)
    with pytest.raises(BatchFailed, match=r"1 failed \(1 ValueError\).*the first error: no") as raised:
        _ = failed.outputs
    assert raised.value.errors == (bad.error,)
    assert raised.value.__cause__ is bad.error
    limit = LimitReached("enough", "cost", 1.0)
    with pytest.raises(BatchFailed, match="stopped: enough") as raised:
        Batched((good,), Summary(1, stopped=limit)).raise_failures()
    assert raised.value.__cause__ is limit
