"""What the checks of a JSON schema say of a value, in how many steps."""

from typing import Any

import pytest

from agentkit.tools.schema.json_checks import Checking, Node, TooComplex, any_of
from agentkit.tools.schema.json_compiler import Compiler
from tests.tools.schema.values import INT, STR, Schema


def checked(schema: Schema, value: object) -> tuple[list[tuple[str, Any]], int]:
    """The places and kinds of the faults of a value, and the steps that it took to find them."""
    checking = Checking()
    faults = Compiler(schema, "use").root.faults(value, checking)
    return [(".".join(map(str, fault.where)), fault.details()["type"]) for fault in faults], checking.steps


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
def test_a_part_is_checked_once_for_each_value(keyword: str) -> None:
    """Each of 40 definitions names the next one twice."""
    definitions: Schema = {f"D{at}": {keyword: [{"$ref": f"#/$defs/D{at + 1}"}] * 2} for at in range(20)}
    schema = {"$ref": "#/$defs/D0", "$defs": {**definitions, "D20": INT}}
    faults, steps = checked(schema, "a")
    assert {kind for _, kind in faults} == {"int_type"}
    assert len(faults) <= 20
    assert steps < 100


def test_the_faults_of_the_closest_branch_are_told() -> None:
    branches = [STR, {"type": "object", "properties": {"a": INT}}, {"type": "object", "required": ["b"]}]
    assert checked({"anyOf": branches}, {"a": "x"})[0] == [("a", "int_type"), ("b", "missing")]
    assert checked({"oneOf": branches}, 1)[0] == [("", "string_type"), ("", "dict_type"), ("", "dict_type")]
    assert checked({"additionalProperties": {"anyOf": branches}}, {"x": {"a": "x"}})[0][0] == ("x.a", "int_type")


def test_steps_and_depth_are_bounded() -> None:
    checking = Checking()
    with pytest.raises(TooComplex):
        checking.spend(100_001)
    loop = Node()
    loop.checks.append(any_of([loop]))
    with pytest.raises(TooComplex):
        loop.faults(1, Checking())
