"""A process that has little memory and asks a hostile endpoint; for each reply it prints what comes of it.

python -m tests.promises.confined URL MEGABYTES < lines, each "plain" or "streamed" and the name of a reply
"""

import gc
import re
import resource
import sys
from pathlib import Path

import anyio

from agentkit import Agent, ChatClient, Limits, Retries, Timeouts

MEGABYTE = 1_000_000
_QUICK, _LONG = Timeouts(total=0.2), Timeouts(total=300)


async def _ask(url: str, name: str, form: str) -> str:
    timeout = _QUICK if name == "endless comments" else _LONG
    client = ChatClient(name, base_url=url, api_key="", timeout=timeout, retries=Retries(attempts=1))
    agent = Agent(client, max_corrections=0, limits=Limits(steps=1))
    try:
        if form == "plain":
            await agent.run("Hello")
        else:
            async with agent.stream("Hello") as run:
                async for _ in run:
                    pass
            _ = run.result
    except Exception as error:  # noqa: BLE001 (what it is, is what is asked)
        return f"{type(error).__name__} {getattr(error, 'limit', '')}".strip()
    return "answer"


def main(url: str, megabytes: str) -> None:
    limit = int(megabytes) * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        form, _, name = line.strip().partition(" ")
        sys.stdout.write(f"{anyio.run(_ask, url, name, form)}\n")
        gc.collect()  # a run that was watched holds its own error
        sys.stdout.flush()
    (peak,) = re.findall(r"VmPeak:\s*(\d+)", Path("/proc/self/status").read_text())
    sys.stdout.write(f"{peak}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
