"""`agentkit serve`: agents behind `POST /v1/chat/completions`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from shlex import quote

import anyio

from agentkit.cli.exit_codes import Code, tell
from agentkit.cli.targets import AnyAgent, Target
from agentkit.core.errors import ConfigurationError
from agentkit.server import ChatServer
from agentkit.server import serve as listen

_UNNAMED = "agent"
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (what a person calls instead)


def serve(  # noqa: PLR0913 (what there is to say of it)
    targets: Sequence[Target], *, names: Sequence[str], host: str, port: int, key: str | None, page: bool
) -> Code:
    """Serve until the process is told to stop.

    Args:
        targets: Which agents.
        names: What clients call them; for the rest, their own names, or those of their targets.
        host: The address to listen at.
        port: The port.
        key: The key that clients need.
        page: Whether there is a page to try the agents with.

    Raises:
        ConfigurationError: If they cannot be served so.
    """
    agents = anyio.run(_opened, targets, names)
    app = ChatServer(agents, keys=[key] if key else (), page=page)
    for each in greeting(agents, host, port, guarded=bool(key), page=page):
        tell(each)
    listen(app, host=host, port=port)
    return Code.OK


async def _opened(targets: Sequence[Target], names: Sequence[str]) -> Mapping[str, AnyAgent]:
    """Give the agents by name. What one has open would be closed before it is served, so that is refused."""
    if len(names) > len(targets):
        raise ConfigurationError(f"there are {len(names)} names for {len(targets)} agents: --name once for each")
    async with AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(each.opened(keep=False)) for each in targets]
    own = [each.name for each in agents]
    given = [*names, *[_name(agents[at], targets[at], own) for at in range(len(names), len(agents))]]
    twice = [name for name, count in Counter(given).items() if count > 1]
    if twice:
        raise ConfigurationError(f"two agents would be called {twice[0]!r}: --name once for each, in order")
    return dict(zip(given, agents, strict=True))


def _name(agent: AnyAgent, target: Target, own: Sequence[str]) -> str:
    """Give its own name, or that of its target if it was given none, or others have the same."""
    return agent.name if own.count(agent.name) == 1 and agent.name != _UNNAMED else target.short


def greeting(agents: Mapping[str, AnyAgent], host: str, port: int, *, guarded: bool, page: bool) -> list[str]:
    """Say where it listens, and how it is called."""
    address = _ANYWHERE.get(host, f"[{host}]" if ":" in host else host)
    url = f"http://{address}:{port}"
    key = ' -H "authorization: Bearer $AGENTKIT_SERVE_KEY"' if guarded else ""
    body = quote(f'{{"model": "{next(iter(agents))}", "messages": [{{"role": "user", "content": "Hello"}}]}}')
    waits = [name for name, agent in agents.items() if any(each.options.approval for each in agent.tools)]
    return [
        f"{', '.join(agents)} at {url}/v1{f'; a page to try: {url}/' if page else ''}",
        f"curl {url}/v1/chat/completions{key} -H 'content-type: application/json' -d {body}",
        *[f"{name} has tools that need approval; nobody is asked here, so these are not run" for name in waits],
        "Ctrl-C stops it",
    ]
