from dataclasses import FrozenInstanceError

import pytest

from agentkit import ToolChoice
from agentkit.core.choice import AUTO


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (ToolChoice(), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required", firm=True), "required"),
        (ToolChoice("tool", "search"), "search"),
        (ToolChoice("auto", tools=frozenset({"b", "a"})), "auto of a, b"),
        (ToolChoice("auto", tools=frozenset()), "auto of "),
        (ToolChoice("required", withheld=frozenset({"d", "c"})), "required without c, d"),
        (ToolChoice("tool", "a", frozenset({"a"}), frozenset({"b"})), "a of a without b"),
    ],
)
def test_a_choice_in_words(choice: ToolChoice, said: str) -> None:
    assert str(choice) == said


@pytest.mark.parametrize(
    ("choice", "offered"),
    [
        (ToolChoice(), {"a", "b", "c"}),
        (ToolChoice("none"), {"a", "b", "c"}),
        (ToolChoice(tools=frozenset({"a", "b"})), {"a", "b"}),
        (ToolChoice(withheld=frozenset({"a"})), {"b", "c"}),
        (ToolChoice(tools=frozenset({"a", "b"}), withheld=frozenset({"b", "c"})), {"a"}),
        (ToolChoice(tools=frozenset()), set[str]()),
    ],
)
def test_what_is_offered(choice: ToolChoice, offered: set[str]) -> None:
    assert {name for name in "abc" if choice.offers(name)} == offered


@pytest.mark.parametrize("mode", ["auto", "none", "required"])
def test_the_wire_has_a_word(mode: str) -> None:
    choice = {"auto": ToolChoice("auto"), "none": ToolChoice("none"), "required": ToolChoice("required")}[mode]
    assert choice.to_wire() == mode


def test_the_wire_has_an_object_for_one_tool() -> None:
    assert ToolChoice("tool", "search").to_wire() == {"type": "function", "function": {"name": "search"}}


def test_a_choice_is_a_frozen_value() -> None:
    choice = ToolChoice("required", tools=frozenset({"a"}))
    assert choice == ToolChoice("required", tools=frozenset({"a"}))
    assert hash(choice) == hash(ToolChoice("required", tools=frozenset({"a"})))
    assert choice != ToolChoice("required", tools=frozenset({"a"}), firm=True)
    assert ToolChoice() == AUTO
    with pytest.raises(FrozenInstanceError):
        choice.mode = "none"  # type: ignore[misc]
