"""Strict schemas: closed, every property required, and null where the schema lets something be left out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, Union, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.schema.strict import NotStrict, strict_schema
from agentkit.tools.tool import Tool, tool
from tests.tools.schema.test_signature import Cat, Film, Pet, Point
from tests.tools.schema.values import INT, NULL, STR, Schema, define_in, ref, values

define = partial(define_in, globals())


def closed(**properties: Schema) -> Schema:
    """Write the strict schema of an object: the order of its keys is not compared."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def optional(*branches: Schema, told: str = "Null leaves it out.") -> Schema:
    return {"anyOf": [*branches, NULL], "description": told}


def default(told: str) -> str:
    return f"Null means the default: {told}."


POINT = closed(x=INT, y=optional(INT, told=default("0")))


class Shade(Enum):
    RED = "r"
    BLUE = "b"


class Node(BaseModel):
    """A node."""

    value: int
    children: "list[Node]" = []
    next: "Node | None" = None


NODE = closed(
    value=INT,
    children=optional({"type": "array", "items": ref("Node")}, told=default("[]")),
    next={"anyOf": [ref("Node"), NULL]},
) | {"description": "A node."}


CAT = closed(kind=STR | {"const": "cat"}, lives=optional(INT, told=default("9")))
DOG = closed(kind=STR | {"const": "dog"}, good={"type": "boolean"})


class Order(BaseModel):
    """An order."""

    points: list[Point]
    at: Annotated[Point, Field(description="Where.")]
    shade: Shade = Shade.RED
    note: Annotated[str, Field(min_length=2, max_length=9, description="A note")] = "none"


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    x: int


# fmt: off
ROWS: list[tuple[str, Schema]] = [
    ("def no_arguments(): ...", closed()),
    ("def scalars(a: int, b: str, c: float, d: bool): ...", closed(a=INT, b=STR, c={"type": "number"}, d={"type": "boolean"})),
    ('def defaults(a: int=5, b: str="é", c: list[int]=[1]): ...', closed(a=optional(INT, told=default("5")), b=optional(STR, told=default('"é"')), c=optional({"type": "array", "items": INT}, told=default("[1]")))),
    ("def nullable(a: int | None, b: int | None=None, c: int | None=3): ...", closed(a={"anyOf": [INT, NULL]}, b={"anyOf": [INT, NULL]}, c={"anyOf": [INT, NULL], "description": "Default: 3."})),
    ('def described(a: str=None, b: Annotated[int, "How many"]=2, *, c: Annotated[int, "Which."]): ...', closed(a=optional(STR), b=optional(INT, told="How many. Null means the default: 2."), c=INT | {"description": "Which."})),
    ('def constant(kind: Literal["dog"]="dog"): ...', closed(kind=STR | {"const": "dog"})),
    ("def unions(a: int | str=1, *, b: int | str): ...", closed(a=optional(INT, STR, told=default("1")), b={"anyOf": [INT, STR]})),
    ('def enums(a: Literal["x", "y"], b: Shade=Shade.BLUE, c: Literal["x", None]="x"): ...', closed(a={"enum": ["x", "y"], "type": "string"}, b=optional({"enum": ["r", "b"], "type": "string"}, told=default('"b"')), c={"enum": ["x", None], "description": 'Default: "x".'})),
    ("def nested(point: Point): ...", closed(point=ref("Point")) | {"$defs": {"Point": POINT}}),
    ('def described_references(point: Annotated[Point, "Where."], end: Annotated[Point, "The end"]=Point(1, 2)): ...', closed(point={"anyOf": [ref("Point")], "description": "Where."}, end=optional(ref("Point"), told='The end. Null means the default: {"x":1,"y":2}.')) | {"$defs": {"Point": POINT}}),
    ("def models(orders: Annotated[list[Order], Field(min_length=1)]): ...", closed(orders={"type": "array", "items": ref("Order"), "minItems": 1}) | {"$defs": {"Point": POINT, "Order": closed(
    points={"type": "array", "items": ref("Point")},
    at={"anyOf": [ref("Point")], "description": "Where."},
    shade=optional(ref("Shade"), told=default('"r"')),
    note=optional(STR, told='A note. maxLength: 9. minLength: 2. Null means the default: "none".'),
) | {"description": "An order."}, "Shade": {"enum": ["r", "b"], "type": "string"}}}),
    ("def recursive(node: Node): ...", closed(node=ref("Node")) | {"$defs": {"Node": NODE}}),
    ('def discriminated(pet: Pet, more: Pet=Cat(kind="cat")): ...', closed(pet={"anyOf": [ref("Cat"), ref("Dog")]}, more=optional(ref("Cat"), ref("Dog"), told=default('{"kind":"cat","lives":9}'))) | {"$defs": {"Cat": CAT, "Dog": DOG}}),
    ("def typed_dicts(films: list[Film]): ...", closed(films={"type": "array", "items": ref("Film")}) | {"$defs": {"Film": closed(title=STR, year=optional(INT))}}),
    ('def formats_and_bounds(where: Path, tags: set[str], price: Decimal, code: Annotated[str, Field(pattern="^[a-z]$")], age: Annotated[int, Field(ge=0, le=9)], on: date=date(2024, 1, 2)): ...', closed(where=STR, tags={"type": "array", "items": STR}, price={"anyOf": [{"type": "number"}, STR]}, code=STR | {"pattern": "^[a-z]$"}, age=INT | {"minimum": 0, "maximum": 9}, on=optional(STR | {"format": "date"}, told=default('"2024-01-02"')))),
    ("def star(*numbers: int): ...", closed(numbers=optional({"type": "array", "items": INT}))),
]

REFUSED: list[tuple[Any, str]] = [
    (Any, "x: a value of any type has no strict form; annotate it"),
    (list[Any], "x: a list of anything has no strict form"),
    (list[list[Any]], r"x\[\]: a list of anything has no strict form"),
    (list, r"x: a list of anything has no strict form; annotate its items, as list\[str\]"),
    (dict[str, int], r"x: an object with open keys \(a dict, or \*\*options\) has no strict form; use a dataclass, a model or a list"),
    (dict, "x: an object with open keys"),
    (int | dict[str, int], r"x\[1\]: an object with open keys"),
    (list[dict[str, int]], r"x\[\]: an object with open keys"),
    (Open, "Open: an object with open keys"),
    (tuple[int, str], "x: a tuple of several types has no strict form; use a dataclass or a model with named fields"),
]
# fmt: on
CANNOT: list[tuple[Schema, str]] = [
    ({"type": "object", "patternProperties": {"^a": INT}}, "the arguments: an object with open keys"),
    ({"type": "string", "not": {"const": "a"}}, "the arguments: `not`"),
    ({"type": "string", "if": {"const": "a"}}, "the arguments: `if`"),
    ({"type": "object", "properties": {}, "dependentSchemas": {}}, "the arguments: dependent schemas"),
    ({"type": "object", "properties": {"a": {"allOf": [INT]}}}, "a: `allOf`"),
    ({"type": "array"}, "a list of anything"),
    (
        {"type": "object", "properties": {"not": {"type": "object", "properties": {"if": {}}}}},
        r"not\.if: a value of any",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("source", "schema"), ROWS, ids=[row[0] for row in ROWS])
def test_strict_form(source: str, schema: Schema) -> None:
    function = define(source)
    before = Tool.of(function).arguments.schema
    made = Tool.of(tool(strict=True)(function))
    assert made.spec.to_dict()["function"] == {"name": made.name, "parameters": schema, "strict": True}
    assert made.arguments.schema == before, "the arguments are still validated against the first schema"


@pytest.mark.parametrize(("annotation", "reason"), REFUSED, ids=str)
def test_what_has_no_strict_form(annotation: object, reason: str) -> None:
    function = define("def use(city: str, x: a): ...", a=annotation)
    with pytest.raises(ToolDefinitionError, match=rf"use cannot be strict: {reason}"):
        tool(strict=True)(function)
    assert Tool.of(function).name == "use", "without strict it is a tool"
    with pytest.raises(ToolDefinitionError, match=r"use cannot be strict: the arguments: an object with open keys"):
        tool(strict=True)(define("def use(city: str, **options: int): ..."))


@pytest.mark.parametrize(("schema", "reason"), CANNOT, ids=str)
def test_other_schemas_that_have_no_strict_form(schema: Schema, reason: str) -> None:
    with pytest.raises(NotStrict, match=reason):
        strict_schema(schema)


LIST, UNION = cast("tuple[Any, ...]", (list, Union))
SIMPLE: list[Any] = [int, float, str, bool, Literal["a", "b"], Shade, date, Point, Node, Cat, Pet, Film, Annotated[int, Field(ge=1, le=3)]]  # fmt: skip
annotations: SearchStrategy[Any] = st.recursive(
    st.sampled_from(SIMPLE),
    lambda inner: inner.map(lambda item: LIST[item]) | inner.map(lambda item: UNION[item, None]),
    max_leaves=3,
)


def without_nulls_for_defaults(value: Any, schema: Schema, defs: Schema) -> Any:
    """Leave out what the strict form could only say as null, by the schema that is not strict."""
    if "$ref" in schema:
        return without_nulls_for_defaults(value, defs[schema["$ref"].removeprefix("#/$defs/")], defs)
    if "oneOf" in schema:
        return without_nulls_for_defaults(value, defs["Cat" if value["kind"] == "cat" else "Dog"], defs)
    if value is not None and "anyOf" in schema:
        return without_nulls_for_defaults(value, schema["anyOf"][0], defs)
    if isinstance(value, list):
        return [without_nulls_for_defaults(item, schema["items"], defs) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    fields = [(name, item, schema["properties"][name]) for name, item in cast("Schema", value).items()]
    return {
        name: without_nulls_for_defaults(item, inner, defs)
        for name, item, inner in fields
        if item is not None or NULL in inner.get("anyOf", [])
    }


@st.composite
def functions(draw: st.DrawFn) -> Callable[..., object]:
    """Make a function whose parameters have defaults that only it knows."""
    scope = {f"a{number}": drawn for number, drawn in enumerate(draw(st.lists(annotations, max_size=3)))}
    parameters = [f"p{name}: {name}{draw(st.sampled_from([' = object()', '']))}" for name in scope]
    return define(f"def function({', '.join(['*', *parameters][: len(parameters) * 2])}): return locals()", **scope)


@given(functions(), st.data())
def test_what_the_strict_schema_accepts_is_accepted_and_null_stands_for_the_default(
    function: Callable[..., object], data: st.DataObject
) -> None:
    made = Tool.of(tool(strict=True)(function))
    strict, loose = cast("Schema", made.spec.parameters), made.arguments.schema
    value = data.draw(values(strict, strict.get("$defs", {})))
    repaired, _ = parse_arguments(made.arguments, to_json(value).decode())
    less = without_nulls_for_defaults(value, loose, cast("Schema", loose.get("$defs", {})))
    assert repaired == made.arguments.validate(to_json(less))
    received = cast("Schema", function(*made.arguments.bind(repaired).args, **made.arguments.bind(repaired).kwargs))
    defaults = cast("dict[str, object]", getattr(function, "__kwdefaults__", None) or {})
    properties = cast("dict[str, Schema]", loose["properties"])
    for name, own in defaults.items():
        if value[name] is None and NULL not in properties[name].get("anyOf", []):
            assert received[name] is own


@given(annotations)
def test_a_strict_schema_is_strict_already(annotation: Any) -> None:
    strict = strict_schema(Tool.of(define("def use(x: a): ...", a=annotation)).arguments.schema)
    assert strict_schema(strict) == strict


@dataclass
class Settings:
    tags: list[str] = field(default_factory=list[str])
    limit: int | None = 4


def test_nulls_inside_stand_for_the_defaults_there() -> None:
    @tool(strict=True)
    def use(settings: list[Settings], tag: str = "t") -> object:
        return settings, tag

    made = Tool.of(use)
    values, repairs = parse_arguments(made.arguments, '{"settings": [{"tags": null, "limit": null}], "tag": null}')
    assert use(**values) == ([Settings([], None)], "t")
    assert [repair.where for repair in repairs] == ["settings.0.tags", "tag"]
