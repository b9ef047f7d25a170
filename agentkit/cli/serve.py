"""`agentkit serve`: agents behind `POST /v1/chat/completions`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote

import anyio

from agentkit.agent.opened import OpensAgent, is_agent
from agentkit.cli.exit_codes import ExitCode, print_notice
from agentkit.cli.targets import UNNAMED, AnyAgent, Target, load_agents
from agentkit.core.errors import ConfigurationError
from agentkit.server import ChatServer
from agentkit.server import serve as listen
from agentkit.sessions import Sqlite

_CALLABLE_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (a client calls the other one)


def serve(  # noqa: PLR0913 (the options of the command)
    targets: Sequence[Target],
    *,
    names: Sequence[str],
    host: str,
    port: int,
    key: str | None,
    page: bool,
    session: str | None = None,
    show_runs: bool = False,
) -> ExitCode:
    """Serve agents until the process is stopped."""
    if key == "":
        raise ConfigurationError("the key is empty: --api-key KEY, or leave the option out for a server without keys")
    agents = _by_name(targets, names, anyio.run(load_agents, targets, names))
    app = ChatServer(
        agents,
        keys=[key] if key else (),
        page=page,
        events=page,
        approver="client" if page else None,
        sessions=None if session is None else _store(session),
        show_runs=show_runs,
    )

    def notice(port: int) -> None:
        if show_runs:
            who = "everyone with the key" if key else "everyone who reaches this server"
            print_notice(f"{who} sees all runs: agentkit view --live {_url(host, port)}")
        for line in startup_notice(agents, host, port, needs_key=bool(key), page=page):
            print_notice(line)

    listen(app, host=host, port=port, ready=notice)
    return ExitCode.OK


def _store(text: str) -> Sqlite:
    file = Path(text)
    if file.suffix == ".jsonl":
        raise ConfigurationError(f"a .jsonl file holds one conversation; name an SQLite file: --session {file.stem}.db")
    if not file.parent.is_dir():
        raise ConfigurationError(f"the folder of the session does not exist: mkdir -p {str(file.parent)!r}")
    return Sqlite(file)


def _by_name(
    targets: Sequence[Target], names: Sequence[str], agents: Sequence[AnyAgent | OpensAgent]
) -> Mapping[str, AnyAgent | OpensAgent]:
    """Name each agent: by `--name`, its own name if no other has it, or its target."""
    own = [agent.name if is_agent(agent) else UNNAMED for agent in agents]
    chosen = [
        name if own.count(name) == 1 and name != UNNAMED else target.short
        for name, target in zip(own, targets, strict=True)
    ]
    chosen[: len(names)] = names
    for name, count in Counter(chosen).items():
        if count > 1:
            raise ConfigurationError(f"two agents are named {name!r}; give --name once for each target, in order")
    return dict(zip(chosen, agents, strict=True))


def startup_notice(
    agents: Mapping[str, AnyAgent | OpensAgent], host: str, port: int, *, needs_key: bool, page: bool
) -> list[str]:
    """Return the lines that say where the server listens, and how to call it."""
    url = _url(host, port)
    key = ' -H "authorization: Bearer $AGENTKIT_SERVE_KEY"' if needs_key else ""
    body = quote(f'{{"model": "{next(iter(agents))}", "messages": [{{"role": "user", "content": "Hello"}}]}}')
    own = {name: agent.plan.toolbox for name, agent in agents.items() if is_agent(agent)}
    guarded = [name for name, tools in own.items() if any(tool.options.approval for tool in tools)]
    asked = "the page asks for it, and calls of other clients are denied"
    denied = asked if page else "a server has nobody to ask, so they are denied"
    return [
        f"serving {', '.join(agents)} at {url}/v1{f'; try it in a browser: {url}/' if page else ''}",
        f"curl {url}/v1/chat/completions{key} -H 'content-type: application/json' -d {body}",
        *[f"{name} has tools that need approval; {denied}" for name in guarded],
        "Ctrl-C stops the server",
    ]


def _url(host: str, port: int) -> str:
    return f"http://{_CALLABLE_ADDRESS.get(host, f'[{host}]' if ':' in host else host)}:{port}"
