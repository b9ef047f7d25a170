"""The checks of a JSON schema, made without recursion: a schema may come from a stranger, and refer to itself."""

import re
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from operator import ge, gt, le, lt
from sys import float_info, maxsize
from typing import Any, NoReturn, cast
from urllib.parse import unquote

from agentkit.core.errors import ToolDefinitionError
from agentkit.core.json import excerpt, object_of
from agentkit.tools.schema import json_checks
from agentkit.tools.schema.annotations import JsonSchema
from agentkit.tools.schema.json_checks import Check, Node
from agentkit.tools.schema.patterns import Pattern, compiled

_LARGEST = float_info.max
_LONGEST_WAY = 50  # of references and unions between a value and what is inside it
_ANYTHING, _NOTHING = Node(), Node(never=True)
_DIALECT = re.compile(r"https?://json-schema\.org/.*")
_OLD = re.compile(r"https?://json-schema\.org/draft-0[3-7]/.*")
_UNENFORCED = ("$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties")
_BOUNDS: Mapping[str, tuple[str, str, Callable[[Any, Any], bool]]] = {
    "minimum": ("greater_than_equal", "ge", ge),
    "maximum": ("less_than_equal", "le", le),
    "exclusiveMinimum": ("greater_than", "gt", gt),
    "exclusiveMaximum": ("less_than", "lt", lt),
    "multipleOf": ("multiple_of", "multiple_of", json_checks.is_multiple),
}
_LENGTHS: Mapping[str, tuple[type, str, str, str, Callable[[int, int], bool]]] = {
    "minLength": (str, "string_too_short", "min_length", "", ge),
    "maxLength": (str, "string_too_long", "max_length", "", le),
    "minItems": (list, "too_short", "min_length", "List", ge),
    "maxItems": (list, "too_long", "max_length", "List", le),
    "minProperties": (dict, "too_short", "min_length", "Dictionary", ge),
    "maxProperties": (dict, "too_long", "max_length", "Dictionary", le),
}
_EXCLUSIVE = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}


def inside(value: object) -> Sequence[object]:
    if isinstance(value, Mapping):
        return list(cast("Mapping[object, object]", value).values())
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()


def _is_data(part: object, inner: object) -> bool:
    """Whether something in a part is its `enum` or `const`, and so no schema."""
    return isinstance(part, dict) and any(inner is cast("JsonSchema", part).get(key) for key in ("enum", "const"))


class Compiler:
    """Makes the nodes of a schema, without recursion: parts that are not made yet wait in a list."""

    def __init__(self, schema: object, title: str) -> None:
        self._title = title
        self._whole = object_of(schema)
        self._nodes: dict[int, Node] = {}
        self._waiting: list[tuple[JsonSchema, Node, str]] = []
        self._edges: dict[Node, list[Node]] = {}  # to the nodes that a node applies to the same value
        self._holders: dict[Node, list[Node]] = {}  # the nodes that a node is a part of
        self._here, self._node = "", Node()
        self.unenforced: list[str] = []
        self._anchors: dict[str, object] | None = self._named_parts()
        self._is_old = bool(_OLD.fullmatch(str(self._whole.get("$schema", ""))))
        if not _DIALECT.fullmatch(str(self._whole.get("$schema", "https://json-schema.org/"))):
            self.unenforced.append("$schema")
            schema = {"type": self._whole["type"]} if "type" in self._whole else True
        self.root = self.part(schema, "")
        while self._waiting:
            part, self._node, self._here = self._waiting.pop()
            self._node.checks += self._checks(part)
        self._refuse_endless()
        self._spread_partial()

    def fail(self, text: str) -> NoReturn:
        where = f" at {excerpt(self._here)}" if self._here else ""
        raise ToolDefinitionError(f"{self._title}: the schema of its arguments{where}: {text}")

    def part(self, schema: object, keyword: str, *, same: bool = False) -> Node:
        """Return the node of a subschema; `same` is whether it applies to the same value as the schema around it."""
        if isinstance(schema, bool):
            return _ANYTHING if schema else _NOTHING
        if not isinstance(schema, dict):
            self.fail(f"{keyword} must be a schema")
        node = self._nodes.get(id(cast("object", schema)))
        if node is None:
            node = self._nodes[id(cast("object", schema))] = Node()
            self._edges[node], self._holders[node] = [], []
            self._waiting.append((cast("JsonSchema", schema), node, self._place(keyword)))
        else:
            node.shared = True
        self._holders[node].append(self._node)
        if same:
            self._edges[self._node].append(node)
        return node

    def _place(self, keyword: str) -> str:
        return f"{self._here}.{keyword}" if self._here and keyword else self._here or keyword

    def parts(self, schema: JsonSchema, keyword: str, *, same: bool = False) -> list[Node]:
        """Return the nodes of a list of subschemas."""
        listed = schema[keyword]
        if not isinstance(listed, list) or (not listed and keyword in ("anyOf", "oneOf")):
            self.fail(f"{keyword} must be a list of schemas")
        return [self.part(inner, f"{keyword}.{at}", same=same) for at, inner in enumerate(cast("list[object]", listed))]

    def mapping(self, schema: JsonSchema, keyword: str) -> dict[str, object]:
        value = schema.get(keyword, {})
        if not isinstance(value, dict):
            self.fail(f"{keyword} must be an object")
        return cast("dict[str, object]", value)

    def names(self, value: object, keyword: str) -> list[str]:
        """Return a list of names, each once."""
        if not isinstance(value, list) or not all(isinstance(name, str) for name in cast("list[object]", value)):
            self.fail(f"{keyword} must be a list of strings")
        return list(dict.fromkeys(cast("list[str]", value)))

    def size(self, schema: JsonSchema, keyword: str) -> int | None:
        """Return a length or a count."""
        value = schema.get(keyword)
        if value is None:
            return None
        if (
            not json_checks.is_number(value)
            or cast("float", value) != int(cast("float", value))
            or cast("int", value) < 0
        ):
            self.fail(f"{keyword} must be a whole number, not {value!r:.80}")
        return min(int(cast("int", value)), maxsize)

    def pattern(self, text: object, keyword: str) -> Pattern | None:
        """Return a pattern; `None` if it cannot be enforced."""
        if not isinstance(text, str):
            self.fail(f"{keyword} must be a string")
        try:
            pattern = compiled(text)
        except ValueError as error:
            self.fail(str(error))
        if pattern is None:
            self._leave(keyword)
        return pattern

    def _leave(self, keyword: str) -> None:
        self.unenforced.append(self._place(keyword))
        self._node.partial = True

    def _checks(self, schema: JsonSchema) -> list[Check]:
        """Return the checks of one part of the schema."""
        if "$ref" in schema:
            checks = [self._reference(schema["$ref"])]
            if self._is_old:  # there, what stands beside a reference is ignored
                return checks
        else:
            checks = []
        for keyword in _UNENFORCED:
            if schema.get(keyword, True) is not True:
                self._leave(keyword)
        checks += [check for make in _MAKERS for check in make(self, schema)]
        return [json_checks.nullable(checks)] if checks and schema.get("nullable") is True else checks

    def _reference(self, reference: object) -> Check:
        if not isinstance(reference, str):
            self.fail("$ref must be a string")
        own = str(self._whole.get("$id", self._whole.get("id", ""))).partition("#")[0]
        base, _, fragment = reference.partition("#")
        if self._anchors is None or base not in ("", own):
            self._leave("$ref")
            return _ANYTHING.faults
        if fragment and not fragment.startswith("/"):
            target = self._anchors.get(fragment)
        else:
            target = self._pointed(unquote(fragment))
        if not isinstance(target, dict | bool):
            self.fail(f"there is no schema {reference!r:.200} to refer to")
        return self.part(cast("object", target), "$ref", same=True).faults

    def _pointed(self, pointer: str) -> object:
        target: Any = self._whole
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and name.isdecimal() and int(name[:9]) < len(cast("list[object]", target)):
                target = cast("object", target[int(name[:9])])
            else:
                target = cast("dict[str, object]", target).get(name) if isinstance(target, dict) else None
        return cast("object", target)

    def _named_parts(self) -> dict[str, object] | None:
        """Return the parts with an `$anchor`; `None` if references relate to a part with an address of its own."""
        anchors: dict[str, object] = {}
        level: list[object] = [self._whole]
        while level:
            for value in level:
                if isinstance(value, dict):
                    part = cast("JsonSchema", value)
                    if isinstance(part.get("$id"), str) and part is not self._whole:
                        return None
                    anchors |= {str(part[key]): part for key in ("$anchor", "$dynamicAnchor") if key in part}
            level = [inner for value in level for inner in inside(value) if not _is_data(value, inner)]
        return anchors

    def _refuse_endless(self) -> None:
        """Refuse a schema in which the same value would be checked for ever, or through too many parts."""
        try:
            order = list(TopologicalSorter(self._edges).static_order())
        except CycleError:
            self._here = ""
            self.fail("a reference leads back to itself, through no property and no item")
        ways: dict[Node, int] = {}
        for node in order:
            ways[node] = 1 + max([ways[inner] for inner in self._edges.get(node, ())], default=0)
            if ways[node] > _LONGEST_WAY:
                self._here = ""
                self.fail(f"more than {_LONGEST_WAY} references and unions stand between two values")

    def _spread_partial(self) -> None:
        waiting = [node for node in self._edges if node.partial]
        while waiting:
            for holder in self._holders.get(waiting.pop(), ()):
                if not holder.partial:
                    holder.partial = True
                    waiting.append(holder)


def _values(compiler: Compiler, schema: JsonSchema) -> list[Check]:
    """Return the checks of `type`, `enum` and `const`."""
    checks: list[Check] = []
    if "type" in schema:
        names = compiler.names([schema["type"]] if isinstance(schema["type"], str) else schema["type"], "type")
        if unknown := [name for name in names if name not in json_checks.TYPES]:
            compiler.fail(f"there is no type {unknown[0]!r:.80}")
        checks += [json_checks.of_type(names)] if names else []
    if "enum" in schema:
        if not isinstance(schema["enum"], list):
            compiler.fail("enum must be a list")
        checks.append(json_checks.one_of_values(cast("list[object]", schema["enum"])))
    return [*checks, *([json_checks.one_of_values([schema["const"]])] if "const" in schema else [])]


def _scalars(compiler: Compiler, schema: JsonSchema) -> list[Check]:
    """Return the checks of numbers, texts, lengths and counts."""
    checks: list[Check] = []
    for keyword, (kind, name, fits) in _BOUNDS.items():
        limit = schema.get(keyword)
        if limit is None or (isinstance(limit, bool) and keyword in _EXCLUSIVE.values()):
            continue
        if not json_checks.is_number(limit) or abs(cast("float", limit)) > _LARGEST:
            compiler.fail(f"{keyword} must be a number, not {limit!r:.80}")
        if keyword == "multipleOf" and cast("float", limit) <= 0:
            compiler.fail("multipleOf must be more than 0")
        if schema.get(_EXCLUSIVE.get(keyword, "")) is True:  # before draft 6, a boolean beside the bound
            checks.append(json_checks.number(*_BOUNDS[_EXCLUSIVE[keyword]], cast("float", limit)))
        else:
            checks.append(json_checks.number(kind, name, fits, cast("float", limit)))
    for keyword, (of, kind, name, noun, fits) in _LENGTHS.items():
        size = compiler.size(schema, keyword)
        if size is not None:
            context = {"field_type": noun, name: size} if noun else {name: size}
            checks.append(json_checks.length(of, kind, size, context, fits))
    if "pattern" in schema and (pattern := compiler.pattern(schema["pattern"], "pattern")):
        checks.append(json_checks.matches(pattern, cast("str", schema["pattern"])))
    return checks


def _arrays(compiler: Compiler, schema: JsonSchema) -> list[Check]:
    checks: list[Check] = []
    listed = "items" if isinstance(schema.get("items"), list) else "prefixItems"  # before draft 2020-12, `items`
    rest = "additionalItems" if listed == "items" else "items"
    if listed in schema or rest in schema:
        first = compiler.parts(schema, listed) if listed in schema else []
        checks.append(json_checks.items(first, compiler.part(schema[rest], rest) if rest in schema else None))
    if "contains" in schema:
        least = compiler.size(schema, "minContains")
        node = compiler.part(schema["contains"], "contains")
        checks.append(json_checks.contains(node, 1 if least is None else least, compiler.size(schema, "maxContains")))
    return [*checks, *([json_checks.unique] if schema.get("uniqueItems") is True else [])]


def _objects(compiler: Compiler, schema: JsonSchema) -> list[Check]:
    checks: list[Check] = []
    if "required" in schema:
        checks.append(json_checks.required(compiler.names(schema["required"], "required")))
    patterns = [
        (compiler.pattern(text, f"patternProperties.{text}"), compiler.part(inner, f"patternProperties.{text}"))
        for text, inner in compiler.mapping(schema, "patternProperties").items()
    ]
    known = {
        name: compiler.part(inner, f"properties.{name}")
        for name, inner in compiler.mapping(schema, "properties").items()
    }
    has_others = "additionalProperties" in schema
    others = compiler.part(schema["additionalProperties"], "additionalProperties") if has_others else None
    if known or patterns or others:
        enforced = [(pattern, inner) for pattern, inner in patterns if pattern is not None]
        # A name that a pattern might match may be known, if the pattern cannot be read.
        checks.append(json_checks.properties(known, enforced, others if len(enforced) == len(patterns) else None))
    if "propertyNames" in schema:
        checks.append(json_checks.property_names(compiler.part(schema["propertyNames"], "propertyNames")))
    for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
        for name, needed in compiler.mapping(schema, keyword).items():
            if isinstance(needed, list):
                names = compiler.names(cast("object", needed), keyword)
                checks.append(json_checks.dependent_required(name, names))
            else:
                checks.append(json_checks.dependent(name, compiler.part(needed, f"{keyword}.{name}", same=True)))
    return checks


def _unions(compiler: Compiler, schema: JsonSchema) -> list[Check]:
    checks: list[Check] = []
    if "allOf" in schema:
        checks += [node.faults for node in compiler.parts(schema, "allOf", same=True)]
    if "anyOf" in schema:
        checks.append(json_checks.any_of(compiler.parts(schema, "anyOf", same=True)))
    if "oneOf" in schema:
        checks.append(json_checks.one_of(compiler.parts(schema, "oneOf", same=True)))
    if "not" in schema:
        checks.append(json_checks.not_(compiler.part(schema["not"], "not", same=True)))
    if "if" in schema:
        condition, then, otherwise = [
            compiler.part(schema.get(keyword, True), keyword, same=True) for keyword in ("if", "then", "else")
        ]
        checks.append(json_checks.conditional(condition, then, otherwise))
    return checks


_MAKERS: Sequence[Callable[[Compiler, JsonSchema], list[Check]]] = (_values, _scalars, _arrays, _objects, _unions)
