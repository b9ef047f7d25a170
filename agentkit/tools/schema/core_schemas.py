"""What agentkit changes in pydantic's core schemas before it builds a validator, at every depth.

- Whatever a validator raises is a validation error, so that the model sees it like any invalid argument.
- An `Iterable` is a list: pydantic would check its items one by one, inside the function, and only once.
- A typed dict takes no other keys, unless its config says so.
- A named tuple is an object, so that the model sees the names.
- A `Literal` of an enum's member takes the member's value, which is what the JSON schema says.
- A float is finite, unless its field or the config around it says `allow_inf_nan`: a rule such as `amount > 100` is
  false for NaN.
"""

from collections.abc import Callable, Collection
from enum import Enum
from functools import partial, wraps
from typing import Any, TypeAlias, cast

from pydantic_core import CoreSchema, PydanticOmit, PydanticUseDefault, SchemaValidator, core_schema

from agentkit.tools.results import error_text

_Node: TypeAlias = dict[str, Any]
# What stands in a schema and is none: values, classes, and how values are written.
UNTOUCHED = frozenset({"cls", "config", "default", "expected", "members", "metadata", "serialization"})


def build_validator(core: CoreSchema, shared: Collection[CoreSchema]) -> SchemaValidator:
    whole = core_schema.definitions_schema(core, [*shared]) if shared else core
    # pydantic would use the validators that it built for the classes inside, without these changes.
    return SchemaValidator(whole, _use_prebuilt=False)


def adapted(schema: Any, *, infinite: bool = False) -> Any:
    """Return a core schema with agentkit's changes; `infinite` is whether floats may be infinite or NaN."""
    if isinstance(schema, list):
        return [adapted(item, infinite=infinite) for item in cast("list[object]", schema)]
    if isinstance(schema, tuple):  # a branch of a union with its name
        return tuple([adapted(item, infinite=infinite) for item in cast("tuple[object, ...]", schema)])
    if not isinstance(schema, dict):
        return schema
    fields = cast("_Node", schema)
    if not isinstance(fields.get("type"), str):  # a mapping of names to schemas
        return {name: adapted(field, infinite=infinite) for name, field in fields.items()}
    if "config" in fields:  # of a class, which takes none from the class around it
        infinite = fields["config"].get("allow_inf_nan", False)
    node: _Node = {
        key: value if key in UNTOUCHED else adapted(value, infinite=infinite) for key, value in fields.items()
    }
    if node["type"] == "float":
        node.setdefault("allow_inf_nan", infinite)
    change = _CHANGES.get(node["type"])
    return node if change is None else change(node)


def as_value_error(error: BaseException) -> ValueError:
    """Return what a validator raised as the error that pydantic reports; the cause keeps the traceback."""
    reported = ValueError(error_text(error, "show"))
    reported.__cause__ = error
    return reported


def _contained(function: Callable[..., object]) -> Callable[..., object]:
    @wraps(function)
    def call(*args: Any) -> object:
        try:
            return function(*args)
        except (ValueError, AssertionError, PydanticOmit, PydanticUseDefault):
            raise
        except (Exception, SystemExit) as error:
            raise as_value_error(error) from error

    return call


@_contained
def _validate(value: Any, handler: Callable[[Any], object]) -> object:
    return handler(value)


def _function(node: _Node) -> _Node:
    called = node["function"]
    return {**node, "function": {**called, "function": _contained(called["function"])}}


def _class(node: _Node) -> _Node:
    """Contain what a class does when it is created, such as `__post_init__`."""
    if not (node.get("post_init") or node.get("custom_init")):
        return node
    ref = node.pop("ref", None)
    return cast("_Node", core_schema.no_info_wrap_validator_function(_validate, cast("CoreSchema", node), ref=ref))


def _union(node: _Node) -> _Node:
    """Keep the names of the classes in the locations of errors."""
    return {**node, "choices": [_labelled(choice) for choice in node["choices"]]}


def _labelled(choice: _Node | tuple[_Node, str]) -> object:
    contained = isinstance(choice, dict) and choice.get("function", {}).get("function") is _validate
    return (choice, cast("_Node", choice)["schema"]["cls"].__name__) if contained else choice


def _typed_dict(node: _Node) -> _Node:
    chosen = "extra_fields_behavior" in node.get("config", {})
    return node if chosen else {**node, "extra_behavior": "forbid"}


def _literal(node: _Node) -> _Node:
    members = [option for option in node["expected"] if isinstance(option, Enum)]
    if not members:
        return node
    ref = node.pop("ref", None)
    values = cast("CoreSchema", {**node, "expected": [plain_value(option) for option in node["expected"]]})
    return cast("_Node", core_schema.no_info_wrap_validator_function(partial(_member, members), values, ref=ref))


def _member(members: list[Enum], written: object, handler: Callable[[object], object]) -> object:
    """Return the member of a value, or the value if it is of none. A default may be a member itself."""
    value = handler(plain_value(written))
    matches = [member for member in members if type(member.value) is type(value) and member.value == value]
    return matches[0] if matches else value


def plain_value(option: object) -> object:
    return cast("object", option.value) if isinstance(option, Enum) else option


def _tagged_union(node: _Node) -> _Node:
    return {**node, "choices": {plain_value(tag): choice for tag, choice in node["choices"].items()}}


def _named_tuple(node: _Node) -> _Node:
    """Take an object with the names of the fields; a list in their order is accepted too."""
    made, names = node["cls"], [field["name"] for field in node["fields"]]
    fields = {
        field["name"]: core_schema.typed_dict_field(field["schema"], required=field["schema"]["type"] != "default")
        for field in node["fields"]
    }

    def from_list(value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        items = cast("Collection[object]", value)
        return dict(zip(names, items, strict=False)) if len(items) <= len(names) else items

    whole = core_schema.typed_dict_schema(fields, extra_behavior="forbid")

    def create(values: _Node) -> object:
        return made(**values)

    called = core_schema.no_info_after_validator_function(create, whole)
    return cast("_Node", core_schema.no_info_before_validator_function(from_list, called, ref=node.get("ref")))


_CHANGES: dict[str, Callable[[_Node], _Node]] = {
    "function-before": _function,
    "function-after": _function,
    "function-wrap": _function,
    "function-plain": _function,
    "dataclass": _class,
    "model": _class,
    "generator": lambda node: {**node, "type": "list"},
    "typed-dict": _typed_dict,
    "literal": _literal,
    "union": _union,
    "tagged-union": _tagged_union,
    "named-tuple": _named_tuple,
}
