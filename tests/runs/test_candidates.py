from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel

from agentkit import ChatResponse, ConfigurationError, Toolbox, ToolChoice
from agentkit.core.chat import Choice
from agentkit.core.messages import AssistantMessage, Usage
from agentkit.runs.candidates import Candidate, Selector, first_valid, majority, select_candidate
from agentkit.runs.output import Mode, Output, output_of
from tests.scripted import called, said

AUTO, NONE, REQUIRED = ToolChoice(), ToolChoice("none"), ToolChoice("required")
AB = frozenset("ab")


class Trip(BaseModel):
    city: str
    days: int = 1


@dataclass
class Verdict:
    right: bool
    why: str = field(compare=False)


def only_even(number: int) -> int:
    return number // (number % 2 == 0)  # raises what is not a ValidationError


def search(query: str, limit: float = 5) -> None: ...


def remember(what: Any) -> None: ...


def halve(number: Annotated[int, AfterValidator(only_even)]) -> None: ...


TOOLS = Toolbox([search, remember, halve])


def typed(kind: object, mode: Mode = "tool") -> tuple[Output[Any], Toolbox]:
    output = output_of(kind, mode)
    assert output is not None
    return output, Toolbox([search, *([output.final] if output.final else [])])


def reply(*messages: AssistantMessage | Choice) -> ChatResponse:
    choices = [message if isinstance(message, Choice) else Choice(message, "stop") for message in messages]
    return ChatResponse(tuple(choices), Usage(1, 10, 50), "id", "m", {"more": 1})


def candidates(*values: Any) -> list[Candidate]:
    """Candidates as `select_candidate` makes them: a text's value is its text."""
    contents = [value if isinstance(value, str) else None for value in values]
    return [
        Candidate(AssistantMessage(content), at, "stop", value)
        for at, (content, value) in enumerate(zip(contents, values, strict=True))
    ]


class Seen:
    """A selector that keeps what it was handed."""

    def __init__(self, selector: Selector = first_valid) -> None:
        self.candidates: Sequence[Candidate] = ()
        self.selector = selector

    def __call__(self, candidates: Sequence[Candidate]) -> Candidate:
        self.candidates = candidates
        return self.selector(candidates)


def usable(
    *messages: AssistantMessage | Choice,
    choice: ToolChoice = AUTO,
    toolbox: Toolbox = TOOLS,
    output: Output[Any] | None = None,
) -> list[tuple[int, Any]]:
    """Return the usable answers of a reply, each with its place; an empty answer more makes it several."""
    seen = Seen()
    select_candidate(reply(*messages, said("")), choice, toolbox, output, seen)
    return [(candidate.index, candidate.value) for candidate in seen.candidates]


# The selectors


BARE: dict[str, object] = {}


@pytest.mark.parametrize(
    ("values", "index"),
    [
        (["a"], 0),
        (["a", "b", "b"], 1),
        (["a", "b", "b", "a"], 0),
        (["b", "a", "c", "a", "b"], 0),
        # Texts: white space and case aside.
        (["no", "Yes", "  yes\n", "NO.", "no!"], 1),
        (["Straße", "a", "b", "STRASSE"], 0),
        (["a b", "ab", " A  B"], 0),
        # Calls: order of keys and spelling of numbers aside.
        ([(("f", {"x": 1, "y": 2}),), (("f", {"x": 3}),), (("f", {"y": 2.0, "x": 1}),)], 0),
        ([(("f", {"x": 3}),), (("f", {"x": [1]}),), (("g", {"x": [1]}),), (("f", {"x": [1.0]}),)], 1),
        ([(("f", BARE),), (("f", BARE), ("g", BARE)), (("g", BARE), ("f", BARE)), (("g", BARE), ("f", BARE))], 2),
        # What JSON tells apart is not one because it is one to Python.
        ([(("f", {"x": 1}),), (("f", {"x": True}),), (("f", {"x": True}),)], 1),
        ([(("f", {"x": [{"y": 0}]}),), (("f", {"x": [{"y": False}]}),), (("f", {"x": [{"y": False}]}),)], 1),
        ([0, False, False], 1),
        # Typed answers: by what their type says is equal.
        ([Trip(city="a"), Trip(city="b"), Trip(city="b", days=1)], 1),
        ([Trip(city="a"), Trip(city="B"), Trip(city="b")], 0),
        ([Verdict(right=True, why="a"), Verdict(right=False, why="b"), Verdict(right=False, why="c")], 1),
        ([[1, 2], [2, 1], [2, 1]], 1),
        ([None, 3, 3.0], 1),
        ([float("nan"), 1, 1], 1),
        # What calls a tool and what answers do not say the same.
        (["f", (("f", BARE),), (("f", BARE),)], 1),
    ],
)
def test_the_majority(values: list[Any], index: int) -> None:
    assert majority(candidates(*values)).index == index


def test_a_typed_answer_that_is_a_text_is_compared_exactly() -> None:
    several = [Candidate(called(("final_answer", {"answer": word})), 0, "stop", word) for word in ["us", "US", "US"]]
    assert majority(several) is several[1]


# What can be used


WHOLE = called(("search", {"query": "a"}))
SEARCH = (("search", {"query": "a"}),)


def test_what_is_not_whole_or_says_nothing_is_no_candidate() -> None:
    for reason in ("length", "max_tokens", "content_filter", "error"):
        assert usable(Choice(said("a"), reason), Choice(WHOLE, reason), said("b")) == [(2, "b")]
    for whole in ("stop", "tool_calls", None, "a word of its own"):
        assert usable(Choice(said("a"), whole), Choice(WHOLE, whole)) == [(0, "a"), (1, SEARCH)]
    for silent in (said(""), said(" \n"), AssistantMessage(), AssistantMessage(refusal="No.")):
        assert usable(silent, said("a")) == [(1, "a")]


@pytest.mark.parametrize(
    ("choice", "indexes"),
    [
        (AUTO, [0, 1, 2, 3]),
        (NONE, [0]),
        (REQUIRED, [1, 2, 3]),
        (ToolChoice("tool", "search"), [1, 3]),
        (ToolChoice(tools=frozenset({"remember"})), [0, 2, 3]),
        (ToolChoice(withheld=frozenset({"remember"})), [0, 1, 3]),
    ],
)
def test_what_breaks_the_choice_is_no_candidate(choice: ToolChoice, indexes: list[int]) -> None:
    search, remember = ("search", {"query": "a"}), ("remember", {"what": 1})
    messages = [said("a"), called(search), called(remember), called(search, remember)]
    assert [index for index, _ in usable(*messages, choice=choice)] == indexes


def test_calls_that_do_not_fit_are_no_candidates() -> None:
    assert usable(
        called(("search", {})),
        called(("search", {"query": "a", "more": 1})),
        called(("search", '{"query": "a')),
        called(("look", {"query": "a"})),
        called(("search", {"query": "a"}), ("look", {})),
        called(("search", {"query": "a"}), ("search", {"limit": 1})),
        called(("halve", {"number": 3})),
        called(("halve", {"number": 4})),
    ) == [(7, (("halve", {"number": 4}),))]


def test_calls_are_read_as_they_will_be_run() -> None:
    assert usable(
        called(("functions.search", {"limit": "3", "query": "a"})),
        called(("SEARCH", '```json\n{"query": "a"}\n```'), ("remember", {"what": [1]})),
    ) == [
        (0, (("search", {"limit": 3.0, "query": "a"}),)),
        (1, (("search", {"query": "a"}), ("remember", {"what": [1]}))),
    ]


def test_typed_answers_that_come_as_calls() -> None:
    output, toolbox = typed(Trip)
    assert usable(
        called(("final_answer", {"city": "Rome", "days": "x"})),
        called(("final_answer", {"city": "Rome", "days": "2"})),
        called(("search", {"query": "a"})),
        called(("final_answer", {"city": "Rome"}), ("search", {"query": "a"})),
        said("Rome"),
        called(("final_answer", {"days": 2})),
        choice=REQUIRED,
        toolbox=toolbox,
        output=output,
    ) == [
        (1, Trip(city="Rome", days=2)),
        (2, SEARCH),
        (3, (("final_answer", {"answer": Trip(city="Rome")}), ("search", {"query": "a"}))),
    ]


def test_typed_answers_that_come_as_texts() -> None:
    output, toolbox = typed(Literal["a", "b"], "format")
    assert usable(
        said('{"answer": "c"}'),
        said('{"answer": "b"}'),
        said("b"),
        called(("search", {"query": "a"})),
        AssistantMessage(refusal="No."),
        toolbox=toolbox,
        output=output,
    ) == [(1, "b"), (3, SEARCH)]


# Picking


def test_the_reply_is_reduced_to_the_selected_one() -> None:
    extra = Choice(said("b"), "stop", {"logprobs": 1})
    whole = reply(said(""), said("a"), extra, said("B"))
    assert select_candidate(whole, AUTO, TOOLS, None, first_valid) == reply(said("a"))
    assert select_candidate(whole, AUTO, TOOLS, None, majority) == reply(extra)
    assert select_candidate(whole, AUTO, TOOLS, None, lambda several: several[-1]) == reply(said("B"))


def test_if_none_can_be_used_the_first_is_left() -> None:
    seen = Seen()
    whole = reply(said("a"), called(("look", {})), said(""))
    assert select_candidate(whole, REQUIRED, TOOLS, None, seen) == reply(said("a"))
    assert seen.candidates == ()


def raising(candidates: Sequence[Candidate]) -> Candidate:
    raise KeyError("city")


def empty(candidates: Sequence[Candidate]) -> Any:
    return None


@pytest.mark.parametrize(
    ("selector", "name", "key_word"),
    [
        (raising, "raising", "KeyError"),
        (partial(raising), "raising", "KeyError"),
        (empty, "empty", "not None"),
    ],
)
def test_a_selector_that_selects_nothing(selector: Selector, name: str, key_word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"selector={name}.*{key_word}") as caught:
        select_candidate(reply(said("a"), said(""), said("b")), AUTO, TOOLS, None, selector)
    assert len(str(caught.value)) < 300
    assert isinstance(caught.value.__cause__, KeyError) == (key_word == "KeyError")


# On the wire
