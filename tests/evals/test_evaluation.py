"""Running cases."""

from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, ChatRequest, ConfigurationError, Settings, tool
from agentkit.evals import Case, evaluate, expect
from agentkit.testing import FunctionModel
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


@tool
def look(city: str) -> str:
    return f"rain in {city}"


def reply(request: ChatRequest) -> Any:
    prompt = str(request.messages[0].content)
    if "fail" in prompt:
        raise ValueError("broken")
    return called(("look", {"city": prompt})) if len(request.messages) == 1 else said(f"Rain in {prompt}.")


CASES = [
    Case("Paris", [expect(look, city="Paris")], answer="rain", tags=["europe", "wet"]),
    Case("Rome", [expect(look, city="Milan")], tags=["europe"]),
    Case("fail"),
]


def agent() -> Agent[Any, Any]:
    return Agent(FunctionModel(reply), tools=[look])


async def test_a_report() -> None:
    report = await evaluate(agent(), CASES, repeats=2, progress=False, name="mine")
    assert (report.name, [(row.case, row.number, row.passed) for row in report.rows]) == (
        "mine",
        [("Paris", 0, True), ("Paris", 1, True), ("Rome", 0, False), ("Rome", 1, False), ("fail", 0, False), ("fail", 1, False)],
    )  # fmt: skip
    assert [row.failure for row in report.rows] == [None] * 4 + ["ValueError"] * 2
    assert report.rows[0].requests == 2
    assert report.rows[0].seconds is not None


async def test_options_and_names() -> None:
    other = Scripted(said("Sun."))
    report = await evaluate(agent(), CASES[:1], options={"model": other, "settings": Settings(temperature=0)})
    assert report.name == other.name
    assert other.requests[0].settings.temperature == 0
    assert (await evaluate(agent(), CASES[:1])).name == agent().plan.model.name
    for cases in ([], [Case("x"), Case("x")]):
        with pytest.raises(ConfigurationError):
            await evaluate(agent(), cases)
    with pytest.raises(ConfigurationError):
        await evaluate(agent(), CASES, repeats=0)
    assert (await evaluate(agent(), [CASES[0], CASES[0]])).rate().of == 1


async def test_a_journal_resumes_with_the_same_marks(tmp_path: Path) -> None:
    path = tmp_path / "eval.jsonl"
    before = await evaluate(agent(), CASES[:2], journal=path, progress=False)
    model = Scripted(said("Not asked."))
    model.name = agent().plan.model.name
    after = await evaluate(Agent(model, tools=[look]), CASES[:2], journal=path, progress=False)
    assert [row.marks for row in after.rows] == [row.marks for row in before.rows]
    assert [row.requests for row in after.rows] == [2, 2]
    assert model.requests == []


async def test_an_error_that_every_case_would_have_is_raised() -> None:
    with pytest.raises(ConfigurationError):
        await evaluate(Agent(FunctionModel(reply), tools=[look], instructions=lambda _: 5), CASES)  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]
