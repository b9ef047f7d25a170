"""`agentkit tools`: what an agent's tools take and cost, and what is wrong with them."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentkit.cli.exit_codes import Code
from agentkit.cli.formatting import line
from agentkit.cli.live_view import console_on
from agentkit.cli.targets import Target
from agentkit.core.errors import ConfigurationError
from agentkit.core.json import list_of, object_of
from agentkit.models.client import profiles
from agentkit.models.client.profiles import Profile
from agentkit.testing.lint import Finding, lint, tokens_of
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

PROFILES: Mapping[str, Profile] = {
    name.lower().replace("_", "-"): value for name, value in vars(profiles).items() if isinstance(value, Profile)
}
_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}
_SEVERE = tuple(_STYLES)


async def tools(target: Target, *, profile: str | None, schema: bool, as_json: bool, strict: bool) -> Code:
    """Show the tools of an agent.

    Args:
        target: Which agent.
        profile: The name of the dialect that they are held against.
        schema: Whether only their schemas are given, as JSON.
        as_json: Whether all is given as JSON.
        strict: Whether warnings fail too.

    Raises:
        ConfigurationError: If there is no such agent or profile.
    """
    dialect = _profile(profile)
    async with target.opened() as agent:
        toolbox, findings = agent.tools, lint(agent, dialect)
    if schema:
        sys.stdout.write(f"{json.dumps([each.spec.to_dict() for each in toolbox], indent=2)}\n")
    elif as_json:
        sys.stdout.write(f"{json.dumps(_data(toolbox, findings), indent=2)}\n")
    else:
        _show(console_on(sys.stdout), toolbox, findings)
    fails = {"error", "warning"} if strict else {"error"}
    return Code.FAILED if any(each.severity in fails for each in findings) else Code.OK


def _profile(name: str | None) -> Profile | None:
    if name is None:
        return None
    if name not in PROFILES:
        raise ConfigurationError(f"there is no profile {name!r}; those are: {', '.join(PROFILES)}")
    return PROFILES[name]


def _data(toolbox: Toolbox, findings: Sequence[Finding]) -> dict[str, object]:
    described = [
        {"name": each.name, "description": each.spec.description, "takes": takes(each), "tokens": tokens_of(each)}
        for each in toolbox
    ]
    counts = {severity: _count(findings, severity) for severity in _SEVERE}
    told = [asdict(each) for each in findings]
    return {"tools": described, "tokens": tokens_of(toolbox), "findings": told, "counts": counts}


def _show(console: Console, toolbox: Toolbox, findings: Sequence[Finding]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("tool", style="cyan", overflow="fold")
    table.add_column("takes", overflow="fold")
    table.add_column("tokens", justify="right")
    table.add_column("", style="yellow")
    for each in toolbox:
        table.add_row(each.name, Text(takes(each)), f"{tokens_of(each):,}", _marks(each))
    table.add_row(Text(f"{len(toolbox)} in all", "dim"), "", Text(f"{tokens_of(toolbox):,}", "dim"), "")
    console.print(table)
    for found in sorted(findings, key=lambda each: _SEVERE.index(each.severity)):
        where = ".".join([part for part in (found.tool, found.where) if part]) or "all tools"
        text = Text.assemble((f"{found.severity} ", _STYLES[found.severity]), (where, "cyan"))
        console.print(text.append(line(f": {found.message}; {found.fix} ({found.rule})")), soft_wrap=True)
    counts = [f"{n} {each}{'' if n == 1 else 's'}" for each in _SEVERE if (n := _count(findings, each))]
    console.print(Text(", ".join(counts) or "nothing is wrong with them", "dim"))


def _count(findings: Sequence[Finding], severity: str) -> int:
    return sum(each.severity == severity for each in findings)


def _marks(tool: Tool) -> str:
    """Say what is special about a tool."""
    options = tool.options
    marks = {
        "approval": options.approval is not False,
        "once": options.effect == "once",
        "ends": options.ends,
        "strict": options.strict,
    }
    return " ".join([name for name, has in marks.items() if has])


def takes(tool: Tool) -> str:
    """Write what a tool takes in one line: `city: string, unit?: "celsius" | "fahrenheit"`."""
    schema = tool.spec.parameters
    required = list_of(schema.get("required"))
    properties = object_of(schema.get("properties"))
    return line(
        ", ".join(
            [f"{name}{'' if name in required else '?'}: {_kind(object_of(each))}" for name, each in properties.items()]
        )
    )


def _kind(schema: Mapping[str, object]) -> str:
    """Write a type in few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema or "const" in schema:
        values = list_of(schema.get("enum", [schema.get("const")]))
        return " | ".join([json.dumps(each, ensure_ascii=False) for each in values])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " | ".join([_kind(object_of(each)) for each in list_of(schema[union])])
    kind = schema.get("type", "any")
    if kind == "array":
        inner = _kind(object_of(schema.get("items")))
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    return " | ".join([str(each) for each in list_of(kind)]) or str(kind)
