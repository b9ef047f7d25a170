"""Random JSON schemas of every keyword that is enforced, and values that may fit them."""

from random import Random
from typing import Any

from tests.tools.schema.values import Schema

VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 3, 1.0, 2.5, -1, "", "a", "b", "ab", "aab", "é", "1", [], [1], [1, 1.0], ["a", 1], [True, 1]),
    *([[1], [1]], [1, "a", None], {}, {"a": 1}, {"b": "a"}, {"a": "a", "b": [1]}, {"ab": 1, "c": None}, {"a": {"a": 1}}),
    *({"a": {"a": {"a": "b"}}, "b": 2.5}, [{"a": 1}, {"a": 1.0}], [{"a": [1, {"b": 2}]}], {"a": 1, "b": 1, "c": 1}),
]  # fmt: skip
TYPES = ["string", "integer", "number", "boolean", "null", "array", "object"]
PATTERNS = ["a", "^a", "b$", "^[ab]*$", "^.$", "^(a|b){2,3}$", "[^a]"]


def random_schema(random: Random, depth: int = 3) -> Any:
    if depth == 0 or random.random() < 0.1:
        return random.choice([True, False, {}, {"type": random.choice(TYPES)}, {"const": random.choice(VALUES)}])
    schema: Schema = {}
    for _ in range(random.randrange(1, 4)):
        schema |= keyword(random, depth - 1)
    return schema


def whole_schema(random: Random) -> Schema:
    """A schema with definitions, which refer to one another only through a property or an item."""
    schema = random_schema(random)
    definitions = {name: random_schema(random, 2) for name in ("A", "B")}
    definitions["Tree"] = {
        "type": ["object", "integer"],
        "properties": {"a": {"$ref": "#/$defs/Tree"}, "b": {"$ref": "#"}},
    }
    return {**(schema if isinstance(schema, dict) else {"not": {}}), "$defs": definitions}


def keyword(random: Random, depth: int) -> Schema:  # noqa: C901, PLR0911, PLR0912 (one for each kind)
    def inner() -> Any:
        return random_schema(random, depth)

    def some() -> list[Any]:
        return [inner() for _ in range(random.randrange(1, 4))]

    def named() -> Schema:
        return {name: inner() for name in random.sample(["a", "b", "c", "ab"], 2)}

    size = random.randrange(4)
    match random.randrange(20):
        case 0:
            return {"type": random.choice([random.choice(TYPES), random.sample(TYPES, 2)])}
        case 1:
            return {"enum": random.sample(VALUES, 3)}
        case 2:
            return {
                random.choice(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]): random.choice(
                    [0, 1, 2, 1.5]
                )
            }
        case 3:
            return {"multipleOf": random.choice([1, 2, 0.5])}
        case 4:
            return {
                random.choice(
                    ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"]
                ): size
            }
        case 5:
            return {"pattern": random.choice(PATTERNS)}
        case 6:
            return {"properties": named()}
        case 7:
            return {"patternProperties": {random.choice(PATTERNS): inner(), random.choice(PATTERNS): inner()}}
        case 8:
            return {"properties": named(), "additionalProperties": inner()}
        case 9:
            return {"patternProperties": {random.choice(PATTERNS): inner()}, "additionalProperties": False}
        case 10:
            return {"required": random.sample(["a", "b", "c"], 1)}
        case 11:
            return {"items": inner()}
        case 12:
            return {"prefixItems": some(), "items": inner()}
        case 13:
            return {"contains": inner(), "minContains": size, "maxContains": size + random.randrange(2)}
        case 14:
            return {"uniqueItems": True, "contains": inner()}
        case 15:
            return {random.choice(["anyOf", "oneOf", "allOf"]): some()}
        case 16:
            return {"not": inner()}
        case 17:
            return {"if": inner(), random.choice(["then", "else"]): inner(), "then": inner()}
        case 18:
            return {"propertyNames": inner(), "dependentRequired": {"a": ["b"]}, "dependentSchemas": {"b": inner()}}
        case _:
            return {"$ref": f"#/$defs/{random.choice(['A', 'B', 'Tree'])}"}
