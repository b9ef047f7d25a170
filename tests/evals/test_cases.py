"""What is expected of a run."""

from typing import Any

import pytest

from agentkit import Agent, ConfigurationError, Result, UserMessage, tool
from agentkit.core.messages import AssistantMessage, ToolCall
from agentkit.evals import Case, ExpectedCall, Judge, expect
from agentkit.evals.cases import calls_in
from agentkit.tool_choice import budget
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


@tool
def look(city: str, unit: str = "celsius") -> str:
    return f"rain in {city}, {unit}"


@tool
def pay(amount: int) -> str:
    return f"paid {amount}"


class Between:
    """A matcher."""

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and self.least <= other <= self.most

    __hash__ = object.__hash__


async def result_of(*calls: tuple[str, Any], answer: str = "It rains.", **options: Any) -> Result[Any]:
    model = Scripted(called(*calls), said(answer)) if calls else Scripted(said(answer))
    return await Agent(model, tools=[look, pay], **options).run("Hi")


def begins(text: str) -> bool:
    return text.startswith("It")


PARIS, ROME = ("look", {"city": "Paris"}), ("look", {"city": "Rome"})


@pytest.mark.parametrize(
    ("case", "calls", "marks"),
    [
        (Case("x"), [], "TAFD"),
        (Case("x", [expect(look, city="Paris")]), [PARIS], "TAFD"),
        (Case("x", [expect("look")]), [PARIS], "TAFD"),
        (Case("x", [expect(look, city="Paris")]), [ROME], "T-FD"),
        (Case("x", [expect(look, city="Paris")]), [], "--FD"),
        (Case("x", [expect(look, city="Paris"), expect(look, city="Rome")]), [ROME, PARIS], "TAFD"),
        (Case("x", [expect(look, city="Paris"), expect(look, city="Paris")]), [PARIS], "--FD"),
        (Case("x", [expect(pay, amount=Between(1, 5))]), [("pay", {"amount": 3})], "TAFD"),
        (Case("x", [expect(pay, amount=Between(1, 5))]), [("pay", {"amount": 7})], "T-FD"),
        (Case("x", [expect(look, unit="kelvin")]), [PARIS], "T-FD"),
        (Case("x", [expect(look)], exact=True), [PARIS, ROME], "--FD"),
        (Case("x", forbidden=[pay]), [("pay", {"amount": 3})], "TA-D"),
        (Case("x", answer="RAIN"), [], "TAFD"),
        (Case("x", answer="sun"), [], "TAF-"),
        (Case("x", answer=begins), [], "TAFD"),
        (Case("x", answer=5), [], "TAF-"),
    ],
)
async def test_marks(case: Case, calls: list[tuple[str, Any]], marks: str) -> None:
    got = await case.check(await result_of(*calls))
    found = [got.right_tool, got.right_arguments, got.no_forbidden, got.answered]
    assert "".join([letter if one else "-" for letter, one in zip("TAFD", found, strict=True)]) == marks
    assert bool(got.problems) == ("-" in marks)


async def test_a_run_that_failed_or_waits() -> None:
    assert (await Case("x").check(None)).problems == ("the run failed",)
    waiting = Result("", (UserMessage("x"), called(PARIS)), (), (await result_of()).usage, "paused")
    assert not (await Case("x", [expect(look)]).check(waiting)).answered


async def test_a_call_that_was_refused_was_not_made() -> None:
    result = await result_of(PARIS, ROME, tool_choice=budget(1))
    assert [call.arguments["city"] for call in calls_in(result.messages)] == ["Paris"]
    odd = AssistantMessage(tool_calls=(ToolCall("c", "look", "{"),))
    assert calls_in([odd])[0].arguments == {}


async def test_a_judge() -> None:
    model = Scripted(called(("final_answer", {"answer": True})), called(("final_answer", {"answer": False})))
    case = Case("x", answer=Judge(model, "Does it rain?"))
    result = await result_of()
    assert (await case.check(result)).answered
    asked = str(model.requests[0].messages[-1].content)
    assert "It rains." in asked
    assert "Does it rain?" in asked


def test_names() -> None:
    assert (str(Case("Where\nis it?")), str(Case("x", name="y"))) == ("Where is it?", "y")
    assert len(Case("x" * 99).name) < 70
    assert str(ExpectedCall("look", {"city": "Paris"})) == "look(city='Paris')"
    with pytest.raises(ConfigurationError):
        Case("x", tags="one")
