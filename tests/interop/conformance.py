"""Runs the conformance suite of the Model Context Protocol against tools that agentkit serves, and its client.

The suite has a set of scenarios for each revision of the protocol, and says which are required. It asks for tools of
certain names, which are below.
"""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from agentkit import ToolError, tool
from agentkit.core.parts import AudioPart, FilePart, ImagePart
from agentkit.mcp import mcp_server
from agentkit.tools.tool import AnyFunction, Tool
from tests.interop.environments import FOLDER, install_npm, node, run
from tests.server.served import served

PACKAGE = "@modelcontextprotocol/conformance"
REVISIONS = ("2025-11-25", "2026-07-28")
NOT_OFFERED = {
    "server": r"resources-|prompts-|completion-|logging-|elicitation-|input-required-|tasks-|.*(resource-not-found"
    r"|-with-logging|-sampling|-elicitation)$",
    "client": r"auth/|elicitation-|sep-2322-",
}
"""Scenarios of what agentkit does not have. They are not run."""
CHECKS_NOT_OFFERED = re.compile(
    r"sep-2549-(prompts|resources)|sep-2575-(.*-capability|http-server-no-independent|server-no-log-without)"
)
"""Checks, in other scenarios, of what it does not have."""
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SOUND = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
NOTE = FilePart("data:text/plain;base64,QSBub3RlLg==", "note.txt")


class Outcome(NamedTuple):
    """What came of the scenarios of one role and revision: their names, and the checks that failed."""

    passed: list[str]
    failed: dict[str, list[str]]
    not_offered: list[str]


@tool(name="test_simple_text")
def simple_text() -> str:
    """Return a text."""
    return "This is a simple text response for testing."


@tool(name="test_image_content")
def image_content() -> ImagePart:
    """Return an image."""
    return ImagePart(PIXEL)


@tool(name="test_audio_content")
def audio_content() -> AudioPart:
    """Return a recording."""
    return AudioPart(SOUND, "wav")


@tool(name="test_embedded_resource")
def embedded_resource() -> FilePart:
    """Return a file."""
    return NOTE


@tool(name="test_multiple_content_types")
def multiple_content_types() -> list[str | ImagePart | FilePart]:
    """Return a text, an image and a file."""
    return ["Multiple content types test:", ImagePart(PIXEL), NOTE]


@tool(name="test_error_handling")
def error_handling() -> str:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


@tool(name="test_tool_with_progress")
def tool_with_progress() -> Iterator[object]:
    """Report progress."""
    yield from (0, 50, 100)


def echo(**given: object) -> str:
    return str(given)


SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
HEADERS = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}
TOOLS: list[AnyFunction | Tool] = [
    *(simple_text, image_content, audio_content, embedded_resource, multiple_content_types, error_handling),
    tool_with_progress,
    Tool.from_schema(echo, name="json_schema_2020_12_tool", description="Echo.", parameters=SCHEMA),
    Tool.from_schema(echo, name="test_x_mcp_header", description="Echo.", parameters=HEADERS),
]


def try_all(*, keep: bool) -> tuple[dict[str, str], list[str]]:
    """Return a row for each role and revision, and what failed."""
    rows: dict[str, str] = {}
    wrong: list[str] = []
    home = FOLDER / "mcp"
    try:
        install_npm(home, (f"{PACKAGE}@>=0.2.0-alpha.12",))
        package = home / "node_modules" / PACKAGE
        version = json.loads((package / "package.json").read_text())["version"]
        suite = [*node(), str(package / "dist" / "index.js")]
        # uvicorn's other parser leaves white space at the end of a header.
        with served(mcp_server(TOOLS).streamable_http_app(), http="h11") as address:
            asked = {
                "server": ["--url", f"{address}/mcp"],
                "client": ["--timeout", "120000", "--command", f"{sys.executable} -m tests.interop.mcp_client"],
            }
            for role, revision in product(asked, REVISIONS):
                title = f"{role}, {revision}"
                outcome = _try_scenarios([*suite, role, *asked[role]], [*suite, "list"], role, revision)
                rows[title] = row_of(title, version, outcome)
                wrong += [f"{title}: {name}: {', '.join(checks)}" for name, checks in outcome.failed.items()]
                print(rows[title], outcome.passed, flush=True)  # noqa: T201 (it takes minutes)
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)
    return rows, wrong


def _try_scenarios(command: list[str], listing: list[str], role: str, revision: str) -> Outcome:
    outcome = Outcome([], {}, [])
    for name in scenarios_in(run([*listing, "--requirements", revision]), role):
        if re.match(NOT_OFFERED[role], name):
            outcome.not_offered.append(name)
            continue
        with tempfile.TemporaryDirectory() as results:
            run([*command, "--scenario", name, "--spec-version", revision, "--output-dir", results], check=False)
            checks = [json.loads(path.read_text()) for path in Path(results).rglob("checks.json")]
        if failed := failed_in(checks):
            outcome.failed[name] = failed
        else:
            outcome.passed.append(name)
    return outcome


def scenarios_in(listing: str, role: str) -> list[str]:
    """Return the names of a role's scenarios in the suite's list: the required ones, and those that are only run."""
    required = listing.partition(f"{role.title()} scenarios")[2].partition("\n\n")[0]
    return re.findall(r"^ +- (\S+)$", required, re.MULTILINE) + re.findall(rf"- (\S+) \[{role}\]", listing)


def failed_in(files: list[list[dict[str, str]]]) -> list[str]:
    """Return the checks that failed, without those of what agentkit does not have."""
    if not any(files):
        return ["no result"]
    failed = [check["id"] for checks in files for check in checks if check["status"] == "FAILURE"]
    return [name for name in dict.fromkeys(failed) if not CHECKS_NOT_OFFERED.match(name)]


def row_of(title: str, version: str, outcome: Outcome) -> str:
    failed = ", ".join([f"`{name}`" for name in outcome.failed]) or "none"
    return f"| {title} | {version} | {len(outcome.passed)} | {failed} | {len(outcome.not_offered)} |"
