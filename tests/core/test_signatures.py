import inspect
from typing import Annotated, Any, ForwardRef

import pytest

from agentkit import Agent, Depends, Tool, ToolMessage
from agentkit.core.signatures import annotations_of, signature_of
from agentkit.tools.schema.annotations import UnresolvedName
from tests.scripted import Scripted, called, said


class Later:
    name: str
    value: "int"


class Latest(Later):
    pass


def test_the_annotations_of_a_class_are_its_own() -> None:
    assert annotations_of(Later) == {"name": str, "value": "int"}
    assert annotations_of(Latest) == {}


def test_the_signature_is_that_of_inspect() -> None:
    assert signature_of(print) == inspect.signature(print)
    with pytest.raises(TypeError):
        signature_of(3)  # type: ignore[arg-type]


def _published(name: str, annotation: Any) -> inspect.Signature:
    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)])


def test_names_that_come_later_are_resolved_where_they_are_used() -> None:
    """What Python 3.14 publishes for a name that is not defined yet."""

    def count(**options: Any) -> str:
        return str(options)

    def user(**options: Any) -> str:
        return f"user {options}"

    def dependent(**options: Any) -> str:
        return str(options)

    number: Any = ForwardRef("Number")
    count.__signature__ = _published("numbers", list[number])  # type: ignore[attr-defined]
    user.__signature__ = _published("name", Annotated[ForwardRef("Name"), Depends(lambda: "me")])  # type: ignore[attr-defined]
    dependent.__signature__ = _published("user", Annotated[ForwardRef("Name"), Depends(user)])  # type: ignore[attr-defined]
    with pytest.raises(UnresolvedName, match="Number"):
        _ = Tool.of(count).spec
    globals().update(Number=int, Name=str)
    try:
        replies = called(("count", {"numbers": ["1"]}), ("dependent", {})), said("done")
        result = Agent(Scripted(*replies), tools=[count, dependent]).run_sync("go")
    finally:
        del globals()["Number"], globals()["Name"]
    assert [message.content for message in result.messages if isinstance(message, ToolMessage)] == [
        "{'numbers': [1]}",
        "{'user': \"user {'name': 'me'}\"}",
    ]
