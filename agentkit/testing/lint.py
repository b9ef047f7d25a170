"""What is amiss with tools, found before a model or an endpoint finds it, and what they cost.

Everything here reads what a model is told of the tools. Nothing is run, sent or changed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from math import ceil
from typing import Any, Literal, NamedTuple, TypeAlias

from agentkit.agent.agent import Agent
from agentkit.core.json import list_of, object_of
from agentkit.models.client.profile import Profile
from agentkit.models.client.profiles import BEDROCK, OPENAI
from agentkit.tools.schema.strict import NotStrict, strict_schema
from agentkit.tools.tool import AnyFunction, Tool
from agentkit.tools.toolbox import Toolbox

Severity: TypeAlias = Literal["error", "warning", "note"]
"""How bad it is: an endpoint refuses it, it misleads models or some endpoint refuses it, or it may be meant so."""

Linted: TypeAlias = Toolbox | Agent[Any, Any] | Iterable[AnyFunction | Tool | Toolbox]

_BYTES_PER_TOKEN = 3.8
_FEWEST_WORDS = 3
_LONGEST_DESCRIPTION = 1024
_MANY_TOOLS = 20
_MOST_TOOLS = 128
_DEEPEST = 5
_ALIKE = 0.85
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_START = re.compile(r"[a-zA-Z_]")
_PARAMETER = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_SAY_NOTHING = frozenset(
    _WORD.findall(
        "action call data do execute foo func function get handle handler helper item main manage misc my new object "
        "perform process run stuff task test thing things tool tools use util utils value"
    )
)
_EFFECTS = frozenset(
    _WORD.findall(
        "buy cancel charge delete deploy destroy drop erase pay publish purchase purge refund remove send transfer "
        "wipe withdraw"
    )
)
_NOT_AT_THE_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")
_TYPED = ("type", "$ref", "enum", "const", "anyOf", "oneOf", "allOf")
_UNIONS = ("anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is amiss with a tool.

    Attributes:
        tool: The tool's name; empty if it is about all of them.
        where: The path to the part of its schema, such as `order.items[]`; empty for the tool itself.
        rule: The name of the rule, as in `RULES`.
        severity: `"error"` if an endpoint of the profile refuses it, `"warning"` if it misleads models or some endpoint
            refuses it, `"note"` if it may well be meant so.
        message: What is amiss.
        fix: What to do.
    """

    tool: str
    where: str
    rule: str
    severity: Severity
    message: str
    fix: str


class Rule(NamedTuple):
    """What is looked for.

    Attributes:
        severity: How bad it is as a rule.
        fix: What to do.
        source: Where it is said that an endpoint refuses it.
    """

    severity: Severity
    fix: str
    source: str = ""


RULES: Mapping[str, Rule] = {
    "no-description": Rule("warning", "say in a docstring what it does and when to call it"),
    "short-description": Rule("note", "say when to call it, what it gives, and what it does not do"),
    "long-description": Rule(
        "warning",
        "shorten it; what belongs to a parameter can be said there",
        "https://github.com/nanbingxyz/5ire/issues/33",
    ),
    "parameter-description": Rule("warning", "describe it in the docstring, or as Annotated[…, 'what it is']"),
    "untyped-parameter": Rule("warning", "annotate it: a model may send anything"),
    "vague-name": Rule("warning", "name what it does to what, as in search_orders: tool(name=…)"),
    "name-case": Rule("warning", "rename one: models write names in any case"),
    "name-start": Rule(
        "warning",
        "begin the name with a letter or _",
        "https://github.com/google-gemini/gemini-cli/issues/7869",
    ),
    "parameter-name": Rule(
        "warning",
        "give it a name of 1 to 64 letters, digits, _, . and -",
        "https://github.com/aws-solutions-library-samples/accelerated-intelligent-document-processing-on-aws/issues/709",
    ),
    "near-duplicate": Rule("warning", "make one tool of the two, or say in each description when the other is meant"),
    "many-tools": Rule(
        "note",
        "offer fewer at a time, with the policy `only` or with an agent for each part of the task",
        "https://github.com/keinsaasforever/better-chatbot/issues/197",
    ),
    "deep-schema": Rule(
        "warning", "flatten it, or take the inner part by an id", "https://github.com/tidyverse/ellmer/issues/671"
    ),
    "top-level-union": Rule(
        "warning",
        "put it into a parameter, or make a tool of each branch",
        "https://github.com/nspady/google-calendar-mcp/issues/39",
    ),
    "list-of-anything": Rule("warning", "say what its items are", "https://github.com/mark3labs/mcphost/issues/35"),
    "widened": Rule(
        "note",
        "if the model sends the wrong kind, make a parameter of each branch",
        "https://github.com/googleapis/google-api-python-client/issues/2570",
    ),
    "not-strict": Rule(
        "note",
        "needed only for tool(strict=True)",
        "https://platform.openai.com/docs/guides/structured-outputs#supported-schemas",
    ),
    "lost-default": Rule("note", "say it in the description, or give a default that JSON can say"),
    "unguarded-effect": Rule(
        "note", 'tool(approval=True) has someone allow it, effect="once" keeps it from happening twice'
    ),
}
"""The rules, by their names."""


class _Hit(NamedTuple):
    """A rule that a tool breaks, where, and whether the endpoint refuses it."""

    rule: str
    message: str
    where: str = ""
    tool: str = ""
    refused: bool = False


def lint(tools: Linted, profile: Profile | None = None) -> tuple[Finding, ...]:
    """Find what is amiss with tools.

    Args:
        tools: A toolbox, an agent, or functions and tools.
        profile: That of the endpoint they are for, as in `agentkit.models.client.profiles`. What it refuses is an error. Without one,
            what any endpoint refuses is a warning.

    Returns:
        What was found: first tool by tool, in their order, then what is about several.

    Raises:
        ToolDefinitionError: If something given cannot be a tool.
    """
    toolbox = _toolbox(tools)
    hits = [hit._replace(tool=each.name) for each in toolbox for check in _OF_ONE for hit in check(each, profile)]
    hits += [hit for check in _OF_ALL for hit in check(toolbox, profile)]
    return tuple([_finding(hit) for hit in hits])


def tokens_of(tools: Tool | Linted) -> int:
    """Estimate the tokens that tools cost in each request that offers them.

    It is the bytes of what is sent, at 3.8 a token. Held against the tokenizer of SmolLM2 for 34 tools with up to four
    parameters, the sum is 1 % off; of single tools it is from 25 % too low (one in Chinese; nested objects 12 %) to
    15 % too high (one without parameters). An endpoint may put tools to its model in other words than these.

    Args:
        tools: A tool, a toolbox, an agent, or functions and tools.
    """
    each_of = [tools] if isinstance(tools, Tool) else _toolbox(tools)
    return ceil(sum([len(each.spec.encoded) for each in each_of]) / _BYTES_PER_TOKEN)


def _toolbox(tools: Linted) -> Toolbox:
    if isinstance(tools, Agent):
        return tools.tools
    return tools if isinstance(tools, Toolbox) else Toolbox(tools)


def _finding(hit: _Hit) -> Finding:
    rule = RULES[hit.rule]
    return Finding(hit.tool, hit.where, hit.rule, "error" if hit.refused else rule.severity, hit.message, rule.fix)


def _description(tool: Tool, profile: Profile | None) -> Iterator[_Hit]:
    text, known = tool.spec.description, profile.longest_description if profile else None
    if not text.strip():
        yield _Hit("no-description", "it has no description, so a model has only its name to go by")
    elif len(text.split()) < _FEWEST_WORDS:
        yield _Hit("short-description", f"its description is only {text!r}")
    elif len(text) > (limit := known or _LONGEST_DESCRIPTION):
        said = f"its description has {len(text)} characters; some endpoints take {limit} at most"
        yield _Hit("long-description", said, refused=known is not None)


def _name(tool: Tool, profile: Profile | None) -> Iterator[_Hit]:
    if set(_words(tool.name)) <= _SAY_NOTHING:
        yield _Hit("vague-name", f"{tool.name!r} does not say what it does")
    if not _START.match(tool.name):
        said = f"{tool.name!r} does not begin with a letter or _, which Gemini refuses"
        yield _Hit("name-start", said, refused=profile is not None and profile.schemas == "plain")


def _effect(tool: Tool, _: Profile | None) -> Iterator[_Hit]:
    found = [word for word in _words(tool.name) if word in _EFFECTS]
    if found and tool.options.approval is False and tool.options.effect is None:
        yield _Hit("unguarded-effect", f"by its name it may {found[0]} something, and nobody is asked")


def _parameters(tool: Tool, profile: Profile | None) -> Iterator[_Hit]:
    for name in object_of(tool.spec.parameters.get("properties")):
        if not _PARAMETER.fullmatch(name):
            yield _Hit(
                "parameter-name", f"{name!r} is a name that some endpoints refuse", name, refused=profile == BEDROCK
            )
    for where, schema, named in _places(tool.spec.parameters):
        if named and not schema.get("description"):
            yield _Hit("parameter-description", "it has no description", where)
        if named and not any(keyword in schema for keyword in _TYPED):
            yield _Hit("untyped-parameter", "it has no type", where)


def _shape(tool: Tool, profile: Profile | None) -> Iterator[_Hit]:
    schema = tool.spec.parameters
    for keyword in _NOT_AT_THE_TOP:
        if keyword in schema:
            said = f"its schema has {keyword!r} at the top, which some endpoints refuse"
            yield _Hit("top-level-union", said, refused=profile == OPENAI)
    if (depth := _depth(dict(schema), dict(schema), frozenset())) > _DEEPEST:
        yield _Hit("deep-schema", f"its schema is {depth} levels deep")
    for where, part, _ in _places(schema):
        if part.get("type") == "array" and "items" not in part and "prefixItems" not in part:
            said = "it is a list, and of what is not said, which some endpoints refuse"
            yield _Hit("list-of-anything", said, where, refused=profile == OPENAI)
        some = [each for keyword in _UNIONS for each in list_of(part.get(keyword)) if each != {"type": "null"}]
        if profile is not None and profile.schemas == "plain" and len(some) > 1:
            yield _Hit("widened", "the endpoint has no unions: it is told a wider type, and the rest in words", where)


def _strictness(tool: Tool, _: Profile | None) -> Iterator[_Hit]:
    try:
        strict_schema(tool.spec.parameters)
    except NotStrict as reason:
        yield _Hit("not-strict", f"it has no strict form: {reason}")


def _defaults(tool: Tool, _: Profile | None) -> Iterator[_Hit]:
    defaults = tool.arguments.complete({})
    properties = object_of(tool.arguments.schema.get("properties"))
    for told, name in tool.arguments.names.items():
        if name in defaults and told in properties and "default" not in object_of(properties[told]):
            yield _Hit("lost-default", f"its default, {defaults[name]!r}, cannot be said in JSON", told)


def _count(toolbox: Toolbox, profile: Profile | None) -> Iterator[_Hit]:
    count, known = len(toolbox), profile.most_tools if profile else None
    if count > _MANY_TOOLS:
        said = f"there are {count} tools, about {tokens_of(toolbox)} tokens in each request"
        said += f"; some endpoints take {known or _MOST_TOOLS} at most" if count > (known or _MOST_TOOLS) else ""
        yield _Hit("many-tools", said, refused=known is not None and count > known)


def _pairs(toolbox: Toolbox, _: Profile | None) -> Iterator[_Hit]:
    told = {each.name: _told(each) for each in toolbox}
    for one, other in combinations(told, 2):
        if one.lower() == other.lower():
            yield _Hit("name-case", f"{one} and {other} differ by case only", tool=other)
        elif _alike(told[one], told[other]) >= _ALIKE:
            yield _Hit("near-duplicate", f"it is hard to tell from {one}", tool=other)


_OF_ONE = (_description, _name, _effect, _parameters, _shape, _strictness, _defaults)
_OF_ALL = (_count, _pairs)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _told(tool: Tool) -> list[str]:
    """Give the words of a tool's name and description, one and many alike."""
    return [word.removesuffix("s") for word in (*_words(tool.name), *_words(tool.spec.description))]


def _alike(one: list[str], other: list[str]) -> float:
    """Measure how alike two texts are, by Ratcliff and Obershelp: twice the words that match in order, by all words."""
    matcher = SequenceMatcher(None, one, other)
    return matcher.ratio() if matcher.quick_ratio() >= _ALIKE else 0.0


def _places(schema: Mapping[str, object], where: str = "") -> Iterator[tuple[str, dict[str, object], bool]]:
    """Give each part of a schema with the path to it, and whether it is a parameter or a field."""
    for name, each in object_of(schema.get("properties")).items():
        path = f"{where}.{name}" if where else name
        yield path, object_of(each), True
        yield from _places(object_of(each), path)
    inside = [(f"{where}[]", schema.get("items")), (f"{where}{{}}", schema.get("additionalProperties"))]
    inside += [(where, each) for keyword in (*_UNIONS, "allOf") for each in list_of(schema.get(keyword))]
    inside += [(name, each) for name, each in object_of(schema.get("$defs")).items()]
    for path, each in inside:
        if part := object_of(each):
            yield path, part, False
            yield from _places(part, path)


def _depth(schema: dict[str, object], whole: dict[str, object], above: frozenset[str]) -> int:
    """Count how deep objects and lists stand in each other; what leads back into itself counts once."""
    reference = str(schema.get("$ref", ""))
    if reference:
        target = object_of(object_of(whole.get("$defs")).get(reference.rpartition("/")[2]))
        return 0 if reference in above else _depth(target, whole, above | {reference})
    inside = [*object_of(schema.get("properties")).values(), schema.get("items"), schema.get("additionalProperties")]
    beside = [each for keyword in (*_UNIONS, "allOf") for each in list_of(schema.get(keyword))]
    own = 1 if schema.get("type") in ("object", "array") else 0
    below = [own + _depth(part, whole, above) for each in inside if (part := object_of(each))]
    return max([own, *below, *[_depth(object_of(each), whole, above) for each in beside]])
