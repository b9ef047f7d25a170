"""Hostile JSON schemas of a tool's arguments, each from a seed, and arguments that try them."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

Schema = dict[str, Any]

LEAVES: list[Any] = [
    {"type": "integer"},
    {"type": "string"},
    {},
    True,
    False,
    {"const": 1},
    {"type": ["null", "string"]},
]
JUNK: list[Any] = [
    *(None, True, -1, 0.5, "", "a", "object", [], [1], {}, {"a": 1}, [[]], {"$ref": 5}, 10**30, -(10**400), 1e308),
    *(float("nan"), float("inf"), -float("inf"), b"a", {1, 2}, object(), ("a",), {1: 2}, "\ud83d", "\x00", "\u202e"),
]
PATTERNS = [
    *(
        "^(a+)+$",
        "^(a|a)*$",
        "(x+x+)+y",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "(a{0,100}){0,100}",
        "(.{0,100}){0,50}!",
        "a{99999999}",
    ),
    *(
        "(?=a)",
        r"(a)\1",
        "(",
        "[",
        "*",
        "\\",
        "[[:alpha:]]",
        "[a&&b]",
        "(?i)A",
        r"\p{L}",
        r"\p{Nothing}",
        "(" * 300 + ")" * 300,
    ),
    *("a" * 5_000, "|".join("a" * at for at in range(200)), r"\ud83d", "[^]", "[]", "(?<n>a)(?<n>b)", "\x00", "(?#"),
]
NAMES = ["x", "a", "", "$ref", "a/b", "a~b", "%", "__proto__", "\n", "\u202e", "é" * 30, "a.b", "\ud83d"]


def applied(random: Random, inner: Any, other: Any) -> Schema:
    """A schema around one or two others, by a keyword that applies them."""
    ways: list[Schema] = [
        *({key: [inner, other]} for key in ("anyOf", "allOf", "oneOf")),
        *(
            {key: inner}
            for key in ("not", "items", "additionalProperties", "propertyNames", "contains", "unevaluatedItems")
        ),
        {"if": inner, "then": other, "else": True},
        {"properties": {"x": inner, "a": other}},
        {"type": "object", "properties": {"x": inner}, "additionalProperties": other, "required": ["x"]},
        {"patternProperties": {random.choice(PATTERNS): inner, "^x": other}},
        {"dependentSchemas": {"x": inner}, "dependentRequired": {"x": ["a"]}},
        {"prefixItems": [inner, other], "items": False},
        {"type": "array", "items": [inner], "additionalItems": other},
        {"anyOf": [inner, {"type": "null"}], "description": "é" * random.randrange(50)},
    ]
    return random.choice(ways)


def reference(random: Random, to: int) -> Schema:
    name = f"#/$defs/D{to}"
    ways: list[Schema] = [
        {"$ref": name},
        {"$ref": name, "description": "a"},
        {"allOf": [{"$ref": name}]},
        {"$ref": f"{name}/properties/x"},
    ]
    return random.choice([*ways[:3] * 3, *ways])


def whole(x: Any, **more: Any) -> Schema:
    return {"type": "object", "properties": {"x": x}, **more}


def recursive(random: Random) -> Schema:
    count = random.randrange(1, 6)
    definitions = {
        f"D{at}": applied(random, reference(random, random.randrange(count)), random.choice(LEAVES))
        if random.random() < 0.7
        else reference(random, random.randrange(count))
        for at in range(count)
    }
    return whole(reference(random, 0), **{"$defs": definitions})


def doubling(random: Random) -> Schema:
    count = random.choice([5, 18, 40, 200])
    same = random.random() < 0.5
    seed = random.random()
    definitions: Schema = {
        f"D{at}": applied(
            Random(seed) if same else random, {"$ref": f"#/$defs/D{at + 1}"}, {"$ref": f"#/$defs/D{at + 1}"}
        )
        for at in range(count)
    }
    return whole({"$ref": "#/$defs/D0"}, **{"$defs": {**definitions, f"D{count}": random.choice(LEAVES)}})


def chained(random: Random) -> Schema:
    count = random.choice([30, 60, 3_000])
    around = random.random() < 0.5
    definitions: Schema = {}
    for at in range(count):
        link: Schema = {"$ref": f"#/$defs/D{at + 1}"}
        definitions[f"D{at}"] = applied(random, link, True) if around else link
    return whole({"$ref": "#/$defs/D0"}, **{"$defs": {**definitions, f"D{count}": {"type": "integer"}}})


def deep(random: Random) -> Schema:
    schema: Any = random.choice(LEAVES)
    for _ in range(random.choice([10, 25, 60, 150, 400])):
        schema = applied(random, schema, True)
    return whole(schema)


def wide(random: Random) -> Schema:
    count = random.choice([10, 30, 300, 1_000, 10_000])
    key = random.choice(["anyOf", "oneOf", "allOf"])
    branch: Callable[[int], Any] = random.choice([
        lambda at: {"type": "string", "minLength": at},
        lambda at: {"properties": {f"p{at}": {"const": at}}, "required": [f"p{at}"]},
        lambda at: {"const": at},
        lambda _: {"$ref": "#"},
        lambda _: {"$ref": "#/properties/y"},
    ])  # fmt: skip
    return whole({key: [branch(at) for at in range(count)]}, **{"$defs": {}})


def huge(random: Random) -> Schema:
    count = random.choice([100, 10_000, 60_000])
    parts: list[Any] = [
        {"enum": list(range(count))},
        {"enum": [[{"a": [at]}] for at in range(count // 4)]},
        {"description": "d" * count * 10},
        {"const": "c" * count * 10},
        {"properties": {f"p{at}": {"type": "integer"} for at in range(count // 3)}},
        {"required": [f"p{at}" for at in range(count)]},
        {"patternProperties": {f"^p{at}": {} for at in range(count // 200)}},
    ]
    return whole(random.choice(parts))


def patterned(random: Random) -> Schema:
    pattern = random.choice(PATTERNS)
    parts: list[Any] = [
        {"type": "string", "pattern": pattern},
        {"patternProperties": {pattern: {"type": "integer"}}, "additionalProperties": False},
        {"propertyNames": {"pattern": pattern}},
        {"items": {"anyOf": [{"pattern": pattern}, {"not": {"pattern": random.choice(PATTERNS)}}]}},
    ]
    return whole(random.choice(parts))


KEYWORDS = [
    *("type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "multipleOf", "minLength", "maxLength", "pattern", "items"),
    *("prefixItems", "contains", "minContains", "maxContains", "minItems", "uniqueItems", "properties", "required", "$ref", "$defs"),
    *("additionalProperties", "patternProperties", "propertyNames", "dependentSchemas", "dependentRequired", "dependencies", "allOf"),
    *("anyOf", "oneOf", "not", "if", "then", "else", "nullable", "default", "description", "$id", "$anchor", "$schema", "$dynamicRef"),
    *("unevaluatedProperties", "format", "discriminator", "definitions", "additionalItems", "minProperties", "examples", "id"),
]  # fmt: skip


def wrong(random: Random) -> Schema:
    """Keywords with values of any type, at some depth."""

    def part(depth: int) -> Any:
        if depth == 0 or random.random() < 0.4:
            return random.choice([*JUNK, *LEAVES])
        chosen = {random.choice(KEYWORDS): part(depth - 1) for _ in range(random.randrange(4))}
        return random.choice([chosen, [chosen], {random.choice(NAMES): chosen}])

    schema = whole(part(4))
    for _ in range(random.randrange(3)):
        schema[random.choice(KEYWORDS)] = part(3)
    return schema


KINDS: list[Callable[[Random], Schema]] = [
    recursive,
    doubling,
    chained,
    deep,
    wide,
    huge,
    patterned,
    wrong,
    wrong,
    recursive,
]


def hostile_schema(seed: int) -> Schema:
    random = Random(seed)
    return KINDS[seed % len(KINDS)](random)


ARGUMENTS = [
    *("{}", '{"x": 1}', '{"x": "a"}', '{"x": null}', '{"x": [1, "a", {}]}', '{"x": {"x": {"x": 1}, "a": 2}}', "[]", '"{}"', "{"),
    *('{"x": NaN}', '{"x": 1e999}', f'{{"x": "{"a" * 5_000}!"}}', f'{{"x": {["é"] * 300}}}'.replace("'", '"')),
    *('{"x":' * 150 + "1" + "}" * 150, json.dumps({"x": {f"p{at}": at for at in range(300)}})),
]  # fmt: skip
