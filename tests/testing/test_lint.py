"""What is amiss with tools: each rule has a tool that breaks it and one that does not."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import pytest
from pydantic import BaseModel, Field

from agentkit import Agent, Tool, Toolbox, tool
from agentkit.models.client.profile import Profile
from agentkit.models.client.profiles import BEDROCK, DEEPSEEK, GEMINI, OPENAI
from agentkit.models.local import _packaged_file, _server_for
from agentkit.testing.lint import RULES, Finding, lint, tokens_of
from tests.scripted import Scripted, said

PAGE = Path(__file__).parents[2] / "docs" / "lint.md"
FINE = "Give the orders of a customer, newest first."


def raw(parameters: Any = None, *, name: str = "list_orders", description: str = FINE, **schema: object) -> Tool:
    told: dict[str, Any] = {"type": "object", "properties": parameters or {}, "additionalProperties": False, **schema}
    return Tool.from_schema(dict, name=name, description=description, parameters=told)


def described(*names: str) -> list[Tool]:
    return [raw(name=name, description=f"Do it: {name.replace('_', ' the ')}, of a customer.") for name in names]


def field(**schema: Any) -> dict[str, Any]:
    return {"type": "string", "description": "What it is.", **schema}


def nested(levels: int) -> dict[str, Any]:
    return field(type="object", properties={"inside": nested(levels - 1)}) if levels else field()


def many(count: int) -> list[Tool]:
    words = [f"{one}{two}" for one in "abcdefghijkl" for two in "mnopqrstuvwx"]
    text = "{0} of {0}{0}{0}, {0}{0}{0}{0}{0} or {0}{0}{0}{0}{0}{0}{0}."
    return [raw(name=word * 4, description=text.format(word)) for word in words[:count]]


class Node(BaseModel):
    """A node of a tree."""

    name: str = Field(description="Its name.")
    children: "list[Node]" = Field(description="What is below it.")


def with_default(strict: bool, shown: Any) -> Tool:
    @tool(strict=strict)
    def list_orders(after: Annotated[str, "An id."] = shown) -> None:
        """Give the orders of a customer, newest first."""

    return Tool.of(list_orders)


def guarded(**options: Any) -> Tool:
    @tool(**options)
    def delete_order(order: Annotated[int, "Its number."]) -> None:
        """Delete an order of a customer."""

    return Tool.of(delete_order)


UNION = field(anyOf=[{"type": "integer"}, {"type": "string"}])
UNION.pop("type")

CASES: list[tuple[str, list[Tool], list[Tool], Profile | None]] = [
    ("no-description", [raw(description=" ")], [raw()], None),
    ("short-description", [raw(description="Orders.")], [raw(description="Give all orders.")], None),
    ("long-description", [raw(description="word " * 205)], [raw(description="word " * 204)], None),
    ("parameter-description", [raw({"a": {"type": "string"}})], [raw({"a": field()})], None),
    ("untyped-parameter", [raw({"a": {"description": "Any."}})], [raw({"a": field()})], None),
    ("vague-name", [raw(name="process_data")], [raw(name="process_order")], None),
    ("name-case", [raw(name="listOrders"), raw(name="listorders")], [raw(), raw(name="shipments")], None),
    ("name-start", [raw(name="3_orders")], [raw(name="_orders")], None),
    ("parameter-name", [raw({"filter[id]": field()})], [raw({"filter.id": field()})], None),
    ("near-duplicate", described("find_invoice", "findInvoices"), described("list_open", "cancel_closed"), None),
    ("many-tools", many(21), many(20), None),
    ("deep-schema", [raw({"a": nested(5)})], [raw({"a": nested(4)})], None),
    ("top-level-union", [raw(anyOf=[{"required": ["a"]}])], [raw({"a": UNION})], None),
    ("list-of-anything", [raw({"a": field(type="array")})], [raw({"a": field(type="array", items=field())})], None),
    ("widened", [raw({"a": UNION})], [raw({"a": field(anyOf=[{"type": "string"}, {"type": "null"}])})], GEMINI),
    ("not-strict", [raw({"a": field(type="object")})], [raw({"a": field()})], None),
    ("lost-default", [with_default(False, object())], [with_default(False, "x")], None),
    ("unguarded-effect", [guarded()], [guarded(approval=True), raw()], None),
]


def rules(tools: Any, profile: Profile | None = None) -> set[str]:
    return {finding.rule for finding in lint(tools, profile)}


@pytest.mark.parametrize(("rule", "wrong", "right", "profile"), CASES, ids=[case[0] for case in CASES])
def test_a_rule_finds_what_breaks_it_and_nothing_else(
    rule: str, wrong: Any, right: Any, profile: Profile | None
) -> None:
    assert rule in rules(wrong, profile)
    assert rule not in rules(right, profile)
    (finding, *_) = [finding for finding in lint(wrong, profile) if finding.rule == rule]
    assert (finding.severity, finding.fix) == (RULES[rule].severity, RULES[rule].fix)
    assert finding.message


def test_every_rule_has_a_case_and_a_row_in_the_table() -> None:
    assert [case[0] for case in CASES] == list(RULES)
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+)", PAGE.read_text(), re.MULTILINE)
    assert rows == [(name, rule.severity) for name, rule in RULES.items()]


def test_good_tools_have_nothing_amiss() -> None:
    @tool
    def find_order(number: int, kind: Literal["open", "closed"] = "open") -> str:
        """Find an order of a customer by its number.

        Args:
            number: The number, as on the bill.
            kind: Whether it is still open.
        """
        return f"{kind} {number}"

    assert lint([find_order]) == lint([find_order], GEMINI) == lint([find_order], OPENAI) == ()
    assert find_order(1) == "open 1"


def test_a_finding_says_where_and_what_to_do_wherever_the_part_is() -> None:
    inner = field(type="object", properties={"b": {"type": "string"}}, additionalProperties=False)
    fix = RULES["parameter-description"].fix
    wanted = Finding("list_orders", "a.b", "parameter-description", "warning", "it has no description", fix)
    assert lint([raw({"a": inner})]) == (wanted,)
    odd = {"type": "array"}
    parameters = {"a": field(type="object", additionalProperties=odd), "b": field(type="array", items=odd)}
    parameters |= {"c": field(allOf=[odd]), "d": field(anyOf=[odd, True])}
    shared: Any = {"$defs": {"E": odd}}
    found = lint([raw(parameters, **shared)])
    assert [one.where for one in found if one.rule == "list-of-anything"] == ["a{}", "b[]", "c", "d", "E"]
    assert "list-of-anything" not in rules([raw({"a": field(type="array", prefixItems=[field()])})])


def test_toolboxes_and_agents_are_read() -> None:
    toolbox = Toolbox([raw(name="process_data")])
    agent = Agent(Scripted(said("")), tools=toolbox)
    assert lint(toolbox) == lint(agent) == lint(list(toolbox))
    assert tokens_of(toolbox) == tokens_of(agent) == tokens_of(next(iter(toolbox)))


@pytest.mark.parametrize(("rule", "wrong", "refusing"), [
    ("long-description", [raw(description="word " * 205)], OPENAI),
    ("name-start", [raw(name="3_orders")], GEMINI),
    ("parameter-name", [raw({"filter[id]": field()})], BEDROCK),
    ("many-tools", many(129), OPENAI),
    ("top-level-union", [raw(anyOf=[{"required": ["a"]}])], OPENAI),
    ("list-of-anything", [raw({"a": field(type="array")})], OPENAI),
])  # fmt: skip
def test_what_an_endpoint_refuses_is_an_error_for_its_profile(rule: str, wrong: list[Tool], refusing: Profile) -> None:
    def severity(profile: Profile | None) -> str:
        (severity,) = [finding.severity for finding in lint(wrong, profile) if finding.rule == rule]
        return severity

    assert severity(refusing) == "error"
    assert severity(None) == severity(DEEPSEEK) == RULES[rule].severity


def test_what_an_endpoint_takes_is_no_trouble_there() -> None:
    (finding,) = [finding for finding in lint(many(21), OPENAI) if finding.rule == "many-tools"]
    assert (finding.tool, finding.severity) == ("", "note")
    assert f"{tokens_of(many(21))} tokens" in finding.message
    assert "widened" not in rules([raw({"a": UNION})], OPENAI)
    assert "widened" not in rules([raw({"a": UNION})])
    assert "lost-default" not in rules([with_default(True, "x")])  # which a strict tool says in words
    assert "lost-default" in rules([with_default(True, object())])

    @tool
    def store_tree(tree: Annotated[Node, "The tree."]) -> None:
        """Store a tree of nodes."""

    assert "deep-schema" not in rules([store_tree])


class Address(BaseModel):
    """Where something is."""

    street: str = Field(description="Street and number.")
    country: Literal["DE", "IT", "FR"] = "DE"


@tool
def place_order(items: list[str], ship_to: Address, bill_to: Address | None = None, note: str = "") -> None:
    """Place an order for a customer. Call it only after the customer has said yes to the price.

    Args:
        items: What to order: numbers of the catalogue.
        ship_to: Where it goes.
        bill_to: Who pays, if not who gets it.
        note: What to tell the packer.
    """


@tool
def forecast(
    city: str, days: Annotated[int, Field(ge=1, le=14)] = 3, unit: Literal["celsius", "kelvin"] = "celsius"
) -> None:
    """Tell the weather of the next days.

    Args:
        city: City name, such as "Paris".
        days: How many days from today on.
        unit: Unit of temperatures.
    """


@tool
def opening_hours() -> None:
    """Tell when the shop is open."""


@tool
def find(text: Annotated[str, "要搜索的内容"]) -> None:
    """搜索公司的文档并返回最相关的结果"""


REAL = Toolbox([place_order, forecast, opening_hours, find])


@pytest.mark.local
def test_tokens_are_those_of_a_tokenizer_within_what_is_said() -> None:
    server, client = _server_for(_packaged_file())
    address: str = getattr(server, "listening_address")  # noqa: B009 (the package has no types)

    def counted(tool: Tool) -> int:
        body = {"content": tool.spec.encoded.decode()}
        return len(httpx.post(f"{address}/tokenize", json=body, headers=client._headers, timeout=60).json()["tokens"])

    for real in REAL:
        assert 0.75 < tokens_of(real) / counted(real) < 1.2, real.name
    assert 0.9 < tokens_of(REAL) / sum(map(counted, REAL)) < 1.1
