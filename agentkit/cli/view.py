"""`agentkit view`: a stored run as a page, two runs compared, or a run that goes on."""

import re
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from agentkit.cli.exit_codes import ExitCode, print_notice
from agentkit.cli.live_page import LivePage
from agentkit.cli.served_runs import ServedRuns, is_url
from agentkit.cli.session_argument import split_session_argument
from agentkit.cli.targets import Target
from agentkit.cli.viewable import Seen, load_shown
from agentkit.core.errors import ConfigurationError
from agentkit.tool_choice.analysis import Governed
from agentkit.viewer import Json, differences, graph_of, page_of

_GENERATOR = '<meta name="generator" content="agentkit view">'
_PRIVATE = 0o600  # as the files of sessions, for it has the same texts


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOptions:
    """The options of `agentkit view`."""

    runs: Sequence[str]
    agent: Target | None = None
    store: str | None = None
    out: Path | None = None
    opens: bool = False
    port: int = 0
    api_key: str | None = None


async def view(options: ViewOptions) -> ExitCode:
    """Write the page of a run, or of two."""
    for url in filter(is_url, options.runs):
        raise ConfigurationError(f"a server is followed: agentkit view --live {url}")
    file = options.out or Path(f"{'-'.join(map(_file_name, options.runs))}.html")
    if options.out is None and file.exists() and _GENERATOR not in file.read_text(encoding="utf-8", errors="replace"):
        raise ConfigurationError(f"{file} exists, and is no page of this command; name another one: --out FILE")
    runs, more = await load(options, await _agent_of(options))
    page = page_of(runs, more, title=_title(options))
    try:
        file.touch(_PRIVATE)
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error
    print_notice(f"wrote {file}")
    if options.opens:
        webbrowser.open(file.absolute().as_uri())
    return ExitCode.OK


def follow(options: ViewOptions) -> ExitCode:
    """Serve a page that follows the run, until the process is stopped."""
    if len(options.runs) > 1:
        raise ConfigurationError("--live follows one run")
    if is_url(options.runs[0]):
        if options.agent is not None:
            raise ConfigurationError("--agent is for a stored run; the page of the server shows its agents' policies")
        with ServedRuns(options.runs[0], options.api_key) as served:
            return _serve_page(LivePage(served.load, served.url), options)
    seen, agent = Seen(), anyio.run(_agent_of, options)
    files = [] if options.store else [split_session_argument(options.runs[0])[0]]
    return _serve_page(LivePage(partial(load, options, agent, seen), _title(options), files), options)


def _serve_page(live: LivePage, options: ViewOptions) -> ExitCode:
    with live.server(options.port) as server:
        print_notice(f"following {options.runs[0]} at {live.url}; Ctrl-C stops")
        if options.opens:
            webbrowser.open(live.url)
        server.serve_forever()
    return ExitCode.OK


async def _agent_of(options: ViewOptions) -> Governed | None:
    """Return the agent, of which only the policy and the tools are read."""
    if options.agent is None:
        return None
    async with options.agent.opened(asked=False) as agent:
        return agent


async def load(options: ViewOptions, agent: Governed | None, seen: Seen | None = None) -> tuple[list[Json], Json]:
    """Read the runs, and compute what the page shows beside them.

    Args:
        options: The options.
        agent: The agent that ran, for the policy's graph.
        seen: When each message was seen first, of a conversation that is followed.
    """
    loaded = [await load_shown(text, options.store, seen) for text in options.runs]
    runs = [shown.run for shown in loaded]
    if len(runs) > 1:
        return runs, {"differences": differences(*runs)}
    return runs, {} if agent is None else {"graph": graph_of(agent, loaded[0].messages, loaded[0].start)}


def _title(options: ViewOptions) -> str:
    return " and ".join(options.runs)


def _file_name(text: str) -> str:
    """Return the name of a run as a part of a file's name."""
    name = Path(text).name
    return (
        re.sub(r"[^\w.-]+", "-", name.rpartition(":")[2] or name).removesuffix(".json").removesuffix(".jsonl") or "run"
    )
