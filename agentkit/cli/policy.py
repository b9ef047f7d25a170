"""`agentkit policy`: what an agent's policy can do, and its drawing."""

import sys
from collections.abc import Callable, Mapping

from agentkit.cli.exit_codes import ExitCode
from agentkit.cli.formatting import format_json
from agentkit.cli.targets import Target
from agentkit.core.errors import ConfigurationError
from agentkit.core.printable import LINES, printable
from agentkit.tool_choice import Policy, Report, analyse
from agentkit.tool_choice.graph import Graph

_FORMS: Mapping[str, Callable[[Graph], str]] = {
    "text": Graph.text,
    "mermaid": Graph.mermaid,
    "dot": Graph.dot,
    "svg": Graph.svg,
}


async def policy(target: Target, *, graph: str | None, as_json: bool) -> ExitCode:
    """Print what the policy of an agent can do."""
    if graph is not None and graph not in _FORMS:
        raise ConfigurationError(f"there is no form {graph!r} of a graph; the forms are {', '.join(_FORMS)}")
    async with target.opened(asked=False) as agent:
        report, held = analyse(agent), agent.tool_choice
    if graph is not None:
        text = _FORMS[graph](report.graph)
    elif as_json:
        text = format_json(_to_dict(report, held), indent=2)
    else:
        text = f"{held}\n{report}\n" + ("no problems found\n" if report.sound else "")
    sys.stdout.write(printable(text, LINES) if graph != "svg" else text)
    return ExitCode.OK if report.sound else ExitCode.FAILED


def _to_dict(report: Report, policy: Policy) -> dict[str, object]:
    return {
        "policy": repr(policy),
        "states": [
            {
                "after": node.path,
                "choice": None if node.choice is None else str(node.choice),
                "answers": node.answers,
                "moves": [{"calls": label, "to": number} for label, number in node.moves],
            }
            for node in report.nodes
        ],
        "dead": sorted(report.dead),
        "contradictions": [{"after": found.path, "reason": found.reason} for found in report.contradictions],
        "stuck": report.stuck,
        "explored": "all" if report.depth is None else report.depth,
        "not_analysed": report.assumed,
    }
