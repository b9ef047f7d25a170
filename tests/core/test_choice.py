from dataclasses import FrozenInstanceError

import pytest

from agentkit import ToolChoice
from agentkit.core.choice import AUTO, Values, allow, ask, deny

A, AB = frozenset("a"), frozenset("ab")


@pytest.mark.parametrize(("choice", "text", "offered"), [
    (ToolChoice(), "auto", "abc"),
    (ToolChoice("none"), "none", "abc"),
    (ToolChoice("required", firm=True), "required", "abc"),
    (ToolChoice("tool", "search"), "search", "abc"),
    (ToolChoice("auto", tools=frozenset("ba")), "auto of a, b", "ab"),
    (ToolChoice("auto", tools=frozenset()), "auto of ", ""),
    (ToolChoice("required", withheld=frozenset("dc")), "required without c, d", "ab"),
    (ToolChoice(tools=AB, withheld=frozenset("bc")), "auto of a, b without b, c", "a"),
    (ToolChoice("tool", "a", A, frozenset("b")), "a of a without b", "a"),
])  # fmt: skip
def test_the_text_and_the_offered_tools(choice: ToolChoice, text: str, offered: str) -> None:
    assert str(choice) == text
    assert "".join(name for name in "abc" if choice.offers(name)) == offered


@pytest.mark.parametrize(("choice", "called", "key_word"), [
    (AUTO, "", None),
    (AUTO, "a b a unknown", None),
    (ToolChoice("none"), "", None),
    (ToolChoice("none"), "a", "none"),
    (ToolChoice("none"), "unknown a", "none"),
    (ToolChoice("required"), "a a", None),
    (ToolChoice("required"), "unknown", None),
    (ToolChoice("required"), "", "answered"),
    (ToolChoice("required", tools=A), "", "answered"),
    (ToolChoice("required", tools=A), "b", "called b"),
    (ToolChoice("tool", "a"), "a", None),
    (ToolChoice("tool", "a", AB), "a", None),
    (ToolChoice("tool", "a"), "", "answered"),
    (ToolChoice("tool", "a"), "b", "called b"),
    (ToolChoice("tool", "a"), "b a", None),
    (ToolChoice("tool", "a"), "b b", "called b"),
    (ToolChoice("tool", "a"), "unknown", "called unknown"),
    (ToolChoice("tool", "a"), "a a a", None),
    (ToolChoice(tools=AB), "a b", None),
    (ToolChoice(tools=A), "a unknown", None),
    (ToolChoice(tools=A), "a b", None),
    (ToolChoice(tools=A), "b", "called b"),
    (ToolChoice(withheld=A), "b", None),
    (ToolChoice(withheld=AB), "a b", "called a, b"),
])  # fmt: skip
def test_how_a_reply_breaks_a_choice(choice: ToolChoice, called: str, key_word: str | None) -> None:
    text = choice.violated_by(called.split(), AB)
    assert text is None if key_word is None else key_word in str(text)


def test_the_wire_form() -> None:
    choices = [ToolChoice("auto"), ToolChoice("none"), ToolChoice("required", tools=A)]
    assert [choice.to_wire() for choice in choices] == ["auto", "none", "required"]
    assert ToolChoice("tool", "search").to_wire() == {"type": "function", "function": {"name": "search"}}


def test_a_choice_is_a_frozen_value() -> None:
    choice = ToolChoice("required", tools=A)
    assert choice == ToolChoice("required", tools=A)
    assert hash(choice) == hash(ToolChoice("required", tools=A))
    assert len({ToolChoice(values=(Values("a", "n", ([],)),)), ToolChoice()}) == 2
    assert choice != ToolChoice("required", tools=A, firm=True)
    with pytest.raises(FrozenInstanceError):
        choice.mode = "none"  # type: ignore[misc]


def test_the_strictest_verdict_holds() -> None:
    assert (allow & allow, allow & ask("big"), ask("big") & deny("no")) == (allow, ask("big"), deny("no"))
    assert (deny("no") & deny("late")).reason == "no; late"
    assert (deny("no; late") & deny("late")).reason == "no; late"
