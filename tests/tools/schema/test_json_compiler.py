"""The checks of a JSON schema: what they are made of, and what is left out."""

import pytest

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.json_checks import Checking
from agentkit.tools.schema.json_compiler import Compiler
from tests.tools.schema.values import STR


def test_an_error_names_the_place() -> None:
    with pytest.raises(ToolDefinitionError, match=r"use: the schema of its arguments at 'properties\.\\u202ex\.items'"):
        Compiler({"properties": {"\u202ex": {"items": {"type": "colour"}}}}, "use")


def test_a_schema_may_be_a_boolean() -> None:
    assert Compiler(True, "use").root.faults(1, Checking()) == []
    assert Compiler(False, "use").root.faults(1, Checking()) != []


def test_a_schema_that_holds_itself_through_values() -> None:
    tree = {
        "type": "array",
        "items": {"$ref": "#"},
        "minContains": 0,
        "contains": {"not": {"$ref": "https://example.com/a"}},
    }
    compiler = Compiler(tree, "use")
    assert compiler.unenforced == ["contains.not.$ref"]
    assert compiler.root.partial
    assert compiler.root.faults([[[]]], Checking()) == []


def test_what_is_data_is_no_schema() -> None:
    anchored = {"$anchor": "a", "type": "null"}
    schema = {"$ref": "#a", "$defs": {"data": {"enum": [anchored], "const": anchored}, "text": {**STR, "$anchor": "a"}}}
    assert Compiler(schema, "use").root.faults("text", Checking()) == []
