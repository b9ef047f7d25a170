"""Strict schemas: closed, every property required, and null where the old schema lets something out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, cast

import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.schema.strict import NotStrict, strict_schema
from agentkit.tools.tool import Tool, tool

Schema = dict[str, Any]
INT: Schema = {"type": "integer"}
STR: Schema = {"type": "string"}
NULL: Schema = {"type": "null"}
F = TypeVar("F", bound=Callable[..., object])


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def closed(**properties: Schema) -> Schema:
    """Write the strict schema of an object: the order of its keys is not compared."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def optional(*branches: Schema, told: str = "Null leaves it out.") -> Schema:
    return {"anyOf": [*branches, NULL], "description": told}


def default(told: str) -> str:
    return f"Null means the default: {told}."


@dataclass
class Point:
    x: int
    y: int = 0


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


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    good: bool


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
CAT = closed(kind=STR | {"const": "cat"}, lives=optional(INT, told=default("9")))
DOG = closed(kind=STR | {"const": "dog"}, good={"type": "boolean"})


class Film(typing_extensions.TypedDict, total=False):
    title: typing_extensions.Required[str]
    year: int


class Order(BaseModel):
    """An order."""

    points: list[Point]
    at: Annotated[Point, Field(description="Where.")]
    shade: Shade = Shade.RED
    note: Annotated[str, Field(min_length=2, max_length=9, description="A note")] = "none"


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    x: int


class Pair(NamedTuple):
    left: int
    right: int


ROWS: list[tuple[Callable[..., object], Schema]] = []


def row(schema: Schema) -> Callable[[F], F]:
    def add(function: F) -> F:
        ROWS.append((function, schema))
        return function

    return add


# fmt: off
@row(closed())
def no_arguments() -> None: ...


@row(closed(a=INT, b=STR, c={"type": "number"}, d={"type": "boolean"}))
def scalars(a: int, b: str, c: float, d: bool) -> None: ...


@row(closed(a=optional(INT, told=default("5")), b=optional(STR, told=default('"é"')), c=optional({"type": "array", "items": INT}, told=default("[1]"))))
def defaults(a: int = 5, b: str = "é", c: list[int] = [1]) -> None: ...  # noqa: B006 (never changed)


@row(closed(a={"anyOf": [INT, NULL]}, b={"anyOf": [INT, NULL]}, c={"anyOf": [INT, NULL], "description": "Default: 3."}))
def nullable(a: int | None, b: int | None = None, c: int | None = 3) -> None: ...


@row(closed(a=optional(STR), b=optional(INT, told="How many. Null means the default: 2."), c=INT | {"description": "Which."}))
def described(a: str = None, b: Annotated[int, "How many"] = 2, *, c: Annotated[int, "Which."]) -> None: ...  # type: ignore[assignment] # noqa: RUF013 (as people write) # pyright: ignore[reportArgumentType]


@row(closed(a=optional(INT, STR, told=default("1")), b={"anyOf": [INT, STR]}))
def unions(a: int | str = 1, *, b: int | str) -> None: ...


@row(closed(a={"enum": ["x", "y"], "type": "string"}, b=optional({"enum": ["r", "b"], "type": "string"}, told=default('"b"')), c={"enum": ["x", None], "description": 'Default: "x".'}))
def enums(a: Literal["x", "y"], b: Shade = Shade.BLUE, c: Literal["x", None] = "x") -> None: ...  # noqa: PYI061 (as people write)


@row(closed(point=ref("Point")) | {"$defs": {"Point": POINT}})
def nested(point: Point) -> None: ...


@row(closed(point={"anyOf": [ref("Point")], "description": "Where."}, end=optional(ref("Point"), told='The end. Null means the default: {"x":1,"y":2}.')) | {"$defs": {"Point": POINT}})
def described_references(point: Annotated[Point, "Where."], end: Annotated[Point, "The end"] = Point(1, 2)) -> None: ...  # noqa: B008 (never changed)


@row(closed(orders={"type": "array", "items": ref("Order"), "minItems": 1}) | {"$defs": {"Point": POINT, "Order": closed(
    points={"type": "array", "items": ref("Point")},
    at={"anyOf": [ref("Point")], "description": "Where."},
    shade=optional(ref("Shade"), told=default('"r"')),
    note=optional(STR, told='A note. maxLength: 9. minLength: 2. Null means the default: "none".'),
) | {"description": "An order."}, "Shade": {"enum": ["r", "b"], "type": "string"}}})
def models(orders: Annotated[list[Order], Field(min_length=1)]) -> None: ...


@row(closed(node=ref("Node")) | {"$defs": {"Node": NODE}})
def recursive(node: Node) -> None: ...


@row(closed(pet={"anyOf": [ref("Cat"), ref("Dog")]}, more=optional(ref("Cat"), ref("Dog"), told=default('{"kind":"cat","lives":9}'))) | {"$defs": {"Cat": CAT, "Dog": DOG}})
def discriminated(pet: Pet, more: Pet = Cat(kind="cat")) -> None: ...  # noqa: B008 (never changed)


@row(closed(films={"type": "array", "items": ref("Film")}) | {"$defs": {"Film": closed(title=STR, year=optional(INT))}})
def typed_dicts(films: list[Film]) -> None: ...


@row(closed(where=STR, tags={"type": "array", "items": STR}, price={"anyOf": [{"type": "number"}, STR]}, code=STR | {"pattern": "^[a-z]$"}, age=INT | {"minimum": 0, "maximum": 9}, on=optional(STR | {"format": "date"}, told=default('"2024-01-02"'))))
def formats_and_bounds(where: Path, tags: set[str], price: Decimal, code: Annotated[str, Field(pattern="^[a-z]$")], age: Annotated[int, Field(ge=0, le=9)], on: date = date(2024, 1, 2)) -> None: ...  # noqa: PLR0917 (one for each kind)


@row(closed(numbers=optional({"type": "array", "items": INT})))
def star(*numbers: int) -> None: ...


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
    (Pair, "x: a tuple of several types"),
]
# fmt: on


@pytest.mark.parametrize(("function", "schema"), ROWS, ids=[each[0].__name__ for each in ROWS])
def test_strict_form(function: Callable[..., object], schema: Schema) -> None:
    before = Tool.of(function).arguments.schema
    made = Tool.of(tool(strict=True)(function))
    assert made.spec.parameters == schema
    assert made.spec.to_dict()["function"] == {"name": function.__name__, "parameters": schema, "strict": True}
    assert made.arguments.schema == before, "what the arguments are held to is what it was"


@pytest.mark.parametrize(("annotation", "reason"), REFUSED, ids=[str(each[0]) for each in REFUSED])
def test_what_has_no_strict_form(annotation: object, reason: str) -> None:
    def use(city: str, x: object) -> None: ...

    use.__annotations__["x"] = annotation
    with pytest.raises(ToolDefinitionError, match=rf"<locals>\.use cannot be strict: {reason}"):
        tool(strict=True)(use)
    assert Tool.of(use).name == "use", "without strict it is a tool"


def test_open_keys_have_no_strict_form() -> None:
    def use(city: str, **options: int) -> None: ...

    with pytest.raises(ToolDefinitionError, match=r"use cannot be strict: the arguments: an object with open keys"):
        tool(strict=True)(use)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (
            {"type": "object", "patternProperties": {"^a": INT}},
            "the arguments: an object with open keys has no strict form",
        ),
        ({"type": "string", "not": {"const": "a"}}, "the arguments: `not` has no strict form"),
        ({"type": "string", "if": {"const": "a"}}, "the arguments: `if` has no strict form"),
        (
            {"type": "object", "properties": {}, "dependentSchemas": {}},
            "the arguments: dependent schemas have no strict form",
        ),
        ({"type": "object", "properties": {"a": {"allOf": [INT]}}}, "a: `allOf` has no strict form"),
        ({"type": "array", "items": True}, "a list of anything"),
        (
            {"type": "object", "properties": {"not": {"type": "object", "properties": {"if": {}}}}},
            r"not\.if: a value of any type",
        ),
    ],
)
def test_other_schemas_that_have_no_strict_form(schema: Schema, reason: str) -> None:
    if schema.get("items") is True:
        schema = {"type": "array"}
    with pytest.raises(NotStrict, match=reason):
        strict_schema(schema)


# ---------------------------------------------------------------------------------------------------------------- laws

LIST, UNION = cast("tuple[Any, ...]", (list, Union))
annotations: SearchStrategy[Any] = st.recursive(
    st.sampled_from(
        [
            int,
            float,
            str,
            bool,
            Literal["a", "b"],
            Shade,
            date,
            Point,
            Node,
            Pet,
            Film,
            Annotated[int, Field(ge=1, le=3)],
        ]
    ),
    lambda inner: inner.map(lambda each: LIST[each]) | inner.map(lambda each: UNION[each, None]),
    max_leaves=3,
)


def values(schema: Schema, defs: Schema, depth: int = 0) -> SearchStrategy[Any]:
    """Make values that a strict schema accepts, in the few keywords that it has."""
    if "$ref" in schema:
        return st.deferred(lambda: values(defs[schema["$ref"].removeprefix("#/$defs/")], defs, depth + 1))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        branches: list[Schema] = [NULL] if depth > 3 and NULL in schema["anyOf"] else schema["anyOf"]
        return st.one_of([values(each, defs, depth) for each in branches])
    kinds: dict[str, Callable[[], SearchStrategy[Any]]] = {
        "integer": lambda: st.integers(schema.get("minimum", -99), schema.get("maximum", 99)),
        "number": lambda: st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans,
        "null": st.none,
        "string": lambda: st.dates().map(str) if "format" in schema else st.text("ab", max_size=2),
        "array": lambda: st.lists(values(schema["items"], defs, depth + 1), max_size=0 if depth > 3 else 2),
        "object": lambda: st.fixed_dictionaries(
            {name: values(each, defs, depth + 1) for name, each in schema["properties"].items()}
        ),
    }
    return kinds[schema["type"]]()


def without_nulls_for_defaults(value: Any, strict: Schema, loose: Schema, defs: tuple[Schema, Schema]) -> Any:
    """Leave out what the strict form could only say as null, by the two schemas alone."""
    if "$ref" in loose:
        name = loose["$ref"].removeprefix("#/$defs/")
        return without_nulls_for_defaults(value, defs[0][name], defs[1][name], defs)
    if value is None or "anyOf" in loose:
        return value if value is None else without_nulls_for_defaults(value, strict, loose["anyOf"][0], defs)
    if "oneOf" in loose:
        branch = "Cat" if value["kind"] == "cat" else "Dog"
        return without_nulls_for_defaults(value, defs[0][branch], defs[1][branch], defs)
    if isinstance(value, list):
        return [without_nulls_for_defaults(each, {}, loose["items"], defs) for each in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    kept: Schema = {}
    for name, each in cast("Schema", value).items():
        inner = loose["properties"][name]
        may_be_null = NULL in inner.get("anyOf", [])
        if each is not None or may_be_null:
            kept[name] = without_nulls_for_defaults(each, {}, inner, defs)
    return kept


@st.composite
def functions(draw: st.DrawFn) -> Callable[..., object]:
    """Make a function whose parameters have defaults that only it knows."""
    drawn = draw(st.lists(annotations, max_size=3))
    scope: dict[str, Any] = {f"a{number}": each for number, each in enumerate(drawn)}
    scope |= {f"d{number}": object() for number in range(len(drawn))}
    parameters = [f"p{number}: a{number}{draw(st.sampled_from([f' = d{number}', '']))}" for number in range(len(drawn))]
    exec(f"def function(*, {', '.join(parameters)}): return locals()" if drawn else "def function(): return {}", scope)  # noqa: S102 (made above)
    return cast("Callable[..., object]", scope["function"])


@given(functions(), st.data())
def test_what_the_strict_schema_accepts_is_accepted_and_null_stands_for_the_default(
    function: Callable[..., object], data: st.DataObject
) -> None:
    made = Tool.of(tool(strict=True)(function))
    strict, loose = cast("Schema", made.spec.parameters), made.arguments.schema
    value = data.draw(values(strict, strict.get("$defs", {})))
    mended, _ = parse_arguments(made.arguments, to_json(value).decode())
    defs = (strict.get("$defs", {}), cast("Schema", loose.get("$defs", {})))
    assert mended == made.arguments.validate(to_json(without_nulls_for_defaults(value, strict, loose, defs)))
    received = cast("Schema", function(*made.arguments.bind(mended).args, **made.arguments.bind(mended).kwargs))
    defaults = cast("dict[str, object]", getattr(function, "__kwdefaults__", None) or {})
    properties = cast("dict[str, Schema]", loose["properties"])
    for name, own in defaults.items():
        if value[name] is None and NULL not in properties[name].get("anyOf", []):
            assert received[name] is own


@given(annotations)
def test_a_strict_schema_is_strict_already(annotation: Any) -> None:
    def use(x: object) -> None: ...

    use.__annotations__["x"] = annotation
    strict = strict_schema(Tool.of(use).arguments.schema)
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
    assert [each.where for each in repairs] == ["settings.0.tags", "tag"]
