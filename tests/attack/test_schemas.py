"""Schemas from strangers: each is refused as that or becomes a tool, in a bounded number of steps."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from mcp import types
from pydantic import ValidationError

from agentkit import Agent, Tool, ToolMessage, UserMessage, tool
from agentkit.core import value_limits
from agentkit.core.chat import ChatRequest, ToolSpec
from agentkit.core.choice import Values
from agentkit.core.errors import InvalidRequest, ToolDefinitionError
from agentkit.core.json import decode
from agentkit.mcp import mcp_tools
from agentkit.models.client import plain_schema, profiles
from agentkit.models.client.profile import Profile
from agentkit.server.client_tools import parse_tools
from agentkit.server.errors import HttpError
from agentkit.testing import Scripted, calling
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.schema import json_checks
from agentkit.tools.schema.json_schema import lenient_arguments
from agentkit.tools.schema.signature import Arguments
from tests.attack import ATTACKS
from tests.attack.hostile_schemas import ARGUMENTS, JUNK, Schema, hostile_schema
from tests.mcp.test_client import listed, odd_server

pytestmark = pytest.mark.filterwarnings("ignore:.*(enforce):UserWarning")
MOST_STEPS = 1_000_000
"""The most steps for all that is done with one schema; the checks of one value may take 100,000."""
MOST_BYTES = 3_000_000
DIALECTS = [profile for profile in vars(profiles).values() if isinstance(profile, Profile)]
REQUEST = (UserMessage("Hello"),)
BATCHES = 10


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the steps of each walk through a schema, not seconds: other programs use the machine too."""
    made = Counter[str]()

    def counted(owner: object, name: str) -> None:
        function: Callable[..., object] = getattr(owner, name)

        def count(*arguments: object) -> object:
            made[name] += 1
            return function(*arguments)

        monkeypatch.setattr(owner, name, count)

    counted(json_checks.Node, "faults")
    counted(plain_schema, "_plain")
    counted(value_limits, "_resolved")
    return made


async def nothing(**_: object) -> None: ...


def use(arguments: Arguments) -> None:
    for text in ARGUMENTS:
        with suppress(ValidationError):
            values, _ = parse_arguments(arguments, text)
            assert isinstance(values, dict)


def send(spec: ToolSpec) -> None:
    """Send a tool in every dialect, with limited values too."""
    limited = spec.limited([Values("use", "x", (1, "a", None))])
    for profile in DIALECTS:
        with suppress(InvalidRequest):
            for sent in (spec, limited):
                body = profile.encode(ChatRequest(REQUEST, (sent,)), "m", "here", stream=False)
                assert len(body) < MOST_BYTES


def attack(schema: Schema) -> str:
    """Return what became of a schema."""
    try:
        made = Tool.from_schema(nothing, name="use", description="Use it.", parameters=schema)
    except ToolDefinitionError as error:
        text = str(error)
        theirs = lenient_arguments("use", schema)
    else:
        text, theirs = "", made.arguments
    assert text.isprintable()
    use(theirs)
    send(ToolSpec("use", "", theirs.schema))
    if "levels" in text:
        return "refused"
    with suppress(HttpError, ValueError, TypeError):  # what is no JSON does not reach the server
        received: Any = decode(json.dumps(schema))
        (tool,) = parse_tools([{"type": "function", "function": {"name": "use", "parameters": received}}], 1)
        send(tool.spec)
    return "refused" if text else "partly enforced" if theirs.unenforced else "enforced"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_hostile_schema_is_refused_or_becomes_a_tool(batch: int, steps: Counter[str]) -> None:
    outcomes: set[str] = set()
    for seed in range(batch, ATTACKS, BATCHES):
        steps.clear()
        outcomes.add(attack(hostile_schema(seed)))
        assert steps.total() < MOST_STEPS, f"seed {seed}"
    assert outcomes <= {"refused", "partly enforced", "enforced"}


def shared() -> Schema:
    """A schema of 60 parts, which written out are 2 to the power of 60."""
    schema: Schema = {"type": "integer"}
    for _ in range(60):
        schema = {"anyOf": [schema, schema]}
    return schema


@pytest.mark.parametrize("value", [*JUNK, shared()], ids=range(len(JUNK) + 1))
def test_what_only_python_can_say(value: object, steps: Counter[str]) -> None:
    attack({"type": "object", "default": value, "properties": {"x": value}})
    assert steps.total() < MOST_STEPS


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_with_hostile_schemas() -> None:
    """Its tools are offered, called and sent like any others."""
    listing = [
        listed(f"t{seed}", schema=schema) for seed in range(29) if (schema := hostile_schema(seed)) and is_json(schema)
    ]
    called: list[str] = []

    def call(name: str, _: object) -> types.CallToolResult:
        called.append(name)
        return types.CallToolResult(content=[])

    async with mcp_tools(odd_server(*listing, call=call)) as tools:
        assert len(tools) == len(listing) > 10
        model = Scripted(*[calling((tool.name, {"x": 1})) for tool in tools], "done")
        result = await Agent(model, tools=[tools]).run("Go.")
    assert result.output == "done"
    assert called


def is_json(schema: Schema) -> bool:
    try:
        decode(json.dumps(schema))
    except (ValueError, TypeError):
        return False
    return True


def test_nan_passes_no_rule() -> None:
    """`amount > 100` is false for NaN, so a rule that asks a person from 100 on would let it pass."""
    paid: list[float] = []

    @tool(approval=lambda arguments: arguments["amount"] > 100)  # type: ignore[operator]
    def pay(amount: float) -> None:
        paid.append(amount)

    def give(amount: float) -> None:
        paid.append(amount)

    amount = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
    given = Tool.from_schema(give, name="give", description="", parameters=amount)
    for written in ("NaN", "-Infinity", "-1e999", '"nan"', '"-Infinity"', "-" + "9" * 400 + ".0"):
        calls = [(name, f'{{"amount": {written}}}') for name in ("pay", "give")]
        result = Agent(Scripted(calling(*calls), "done"), tools=[pay, given]).run_sync("Pay.")
        assert result.output == "done"
        assert [message.outcome for message in result.messages if isinstance(message, ToolMessage)] == ["error"] * 2
    assert paid == []
