from itertools import permutations

import pytest

from agentkit import PolicyContradiction, ToolChoice
from agentkit.core.choice import Values
from agentkit.tool_choice.choices import as_json, most_restrictive

A, B = frozenset({"a"}), frozenset({"b"})


@pytest.mark.parametrize(("choices", "result"), [
    ([ToolChoice("auto"), ToolChoice("required"), ToolChoice("none")], ToolChoice("none")),
    ([ToolChoice("required", tools=A | B), ToolChoice("auto", tools=A)], ToolChoice("required", tools=A)),
    ([ToolChoice("tool", "a"), ToolChoice("required", firm=True), ToolChoice(withheld=B)], ToolChoice("tool", "a", None, B, firm=True)),
])  # fmt: skip
def test_the_order_of_the_choices_does_not_matter(choices: list[ToolChoice], result: ToolChoice) -> None:
    for order in permutations(choices):
        assert most_restrictive([("a policy", choice) for choice in order]) == result


@pytest.mark.parametrize(("limits", "result"), [
    ([("a", "n", (2, 1)), ("a", "n", (2, 1))], ToolChoice(values=(Values("a", "n", (2, 1)),))),
    ([("a", "n", (3, 2, 1)), ("a", "n", (1, 2))], ToolChoice(values=(Values("a", "n", (1, 2)),))),
    ([("b", "n", (1,)), ("a", "n", (1,))], ToolChoice(values=(Values("a", "n", (1,)), Values("b", "n", (1,))))),
    ([("a", "n", (1, {"x": [1]})), ("a", "n", (True, {"x": [1]}))], ToolChoice(values=(Values("a", "n", ({"x": [1]},)),))),
    ([("a", "n", (1,)), ("a", "n", (2,))], ToolChoice(withheld=A, values=(Values("a", "n", ()),))),
])  # fmt: skip
def test_the_values_that_all_allow(limits: list[tuple[str, str, tuple[object, ...]]], result: ToolChoice) -> None:
    for order in permutations(limits):
        assert most_restrictive([("a policy", ToolChoice(values=(Values(*limit),))) for limit in order]) == result


def test_what_json_cannot_say_is_compared_by_its_repr() -> None:
    thing = object()
    assert as_json(thing) == repr(thing).encode()


def test_a_contradiction_blames_the_policies() -> None:
    with pytest.raises(PolicyContradiction, match=r"'one'.*'two'"):
        most_restrictive([("one", ToolChoice("tool", "a")), ("two", ToolChoice(withheld=A))])
