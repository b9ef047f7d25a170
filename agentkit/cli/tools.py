"""`agentkit tools`: an agent's tools, their parameters and tokens, and a check of them."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentkit.cli.exit_codes import ExitCode
from agentkit.cli.formatting import format_json
from agentkit.cli.live_view import console_for
from agentkit.cli.targets import Target
from agentkit.core.errors import ConfigurationError
from agentkit.core.json import list_of, object_of
from agentkit.core.printable import one_line
from agentkit.models.client import profiles
from agentkit.models.client.profile import Profile
from agentkit.testing.lint import Finding, lint, tokens_of
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

PROFILES: Mapping[str, Profile] = {
    name.lower().replace("_", "-"): value for name, value in vars(profiles).items() if isinstance(value, Profile)
}
_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


async def tools(target: Target, *, profile: str | None, schema: bool, as_json: bool, strict: bool) -> ExitCode:
    """List and check the tools of an agent."""
    if profile is not None and profile not in PROFILES:
        raise ConfigurationError(f"there is no profile {profile!r}; the profiles are {', '.join(PROFILES)}")
    async with target.opened(asked=False) as agent:
        toolbox, findings = agent.tools, lint(agent, PROFILES.get(profile or ""))
    if schema:
        sys.stdout.write(format_json([tool.spec.to_dict() for tool in toolbox], indent=2))
    elif as_json:
        sys.stdout.write(format_json(_to_dict(toolbox, findings), indent=2))
    else:
        _print(console_for(sys.stdout), toolbox, findings)
    failing = {"error", "warning"} if strict else {"error"}
    return ExitCode.FAILED if any(finding.severity in failing for finding in findings) else ExitCode.OK


def _to_dict(toolbox: Toolbox, findings: Sequence[Finding]) -> dict[str, object]:
    tools = [
        {"name": tool.name, "description": tool.spec.description}
        | {"takes": format_parameters(tool), "tokens": tokens_of(tool)}
        for tool in toolbox
    ]
    details = [asdict(finding) for finding in findings]
    return {"tools": tools, "tokens": tokens_of(toolbox), "findings": details, "counts": _counts(findings)}


def _print(console: Console, toolbox: Toolbox, findings: Sequence[Finding]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("tool", style="cyan", overflow="fold")
    table.add_column("takes", overflow="fold")
    table.add_column("tokens", justify="right")
    table.add_column("", style="yellow")
    for tool in toolbox:
        table.add_row(one_line(tool.name), Text(format_parameters(tool)), f"{tokens_of(tool):,}", _marks(tool))
    count = f"{len(toolbox)} tool{'' if len(toolbox) == 1 else 's'}"
    table.add_row(Text(count, "dim"), "", Text(f"{tokens_of(toolbox):,}", "dim"), "")
    console.print(table)
    for finding in sorted(findings, key=lambda finding: [*_STYLES].index(finding.severity)):
        where = ".".join([part for part in (finding.tool, finding.where) if part]) or "all tools"
        text = Text.assemble((f"{finding.severity} ", _STYLES[finding.severity]), (one_line(where), "cyan"))
        console.print(text.append(one_line(f": {finding.message}; {finding.fix} ({finding.rule})")), soft_wrap=True)
    counts = [f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in _counts(findings).items() if count]
    console.print(Text(", ".join(counts) or "no problems found", "dim"))


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    return {severity: sum(finding.severity == severity for finding in findings) for severity in _STYLES}


def _marks(tool: Tool) -> str:
    """Return the tool's options that a reader should notice."""
    options = tool.options
    marks = {
        "approval": options.approval is not False,
        "once": options.effect == "once",
        "ends": options.ends,
        "strict": options.strict,
    }
    return " ".join([name for name, has in marks.items() if has])


def format_parameters(tool: Tool) -> str:
    """Write the parameters in one line: `city: string, unit?: "celsius" | "fahrenheit"`."""
    schema = tool.spec.parameters
    required = list_of(schema.get("required"))
    properties = object_of(schema.get("properties"))
    parameters = [
        f"{name}{'' if name in required else '?'}: {_format_type(object_of(part))}" for name, part in properties.items()
    ]
    return one_line(", ".join(parameters))


def _format_type(schema: Mapping[str, object]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema or "const" in schema:
        values = list_of(schema.get("enum", [schema.get("const")]))
        return " | ".join([json.dumps(value, ensure_ascii=False) for value in values])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " | ".join([_format_type(object_of(branch)) for branch in list_of(schema[union])])
    kind = schema.get("type", "any")
    if kind == "array":
        item = _format_type(object_of(schema.get("items")))
        return f"({item})[]" if "|" in item else f"{item}[]"
    return " | ".join([str(name) for name in list_of(kind)]) or str(kind)
