"""What a turn costs over TLS, under asyncio and trio: `python benchmarks/tls.py [ROUNDS]`.

It is measured over agentkit's own connections and over a caller's `httpx.AsyncClient`, which agentkit used for every
request before it had connections of its own. Times are CPU time and medians of the rounds. A ratio is the median of the
ratios within rounds.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio
import httpx
import trustme

from agentkit import Agent, ChatClient, Limits, tool

TURNS, REPEATS = 50, 3
BACKENDS = ("asyncio", "trio")


@tool
async def add(a: int, b: int) -> int:
    """Add two integers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b


async def turn(url: str, *, callers: bool) -> float:
    """Return the microseconds of a turn, the least of some runs on a connection that is open."""
    async with httpx.AsyncClient() as http:
        client = ChatClient(f"loop-{TURNS}", base_url=url, api_key="x", http=http if callers else None)
        agent = Agent(client, tools=[add], limits=Limits(steps=TURNS + 1))
        times: list[float] = []
        for _ in range(REPEATS + 1):
            begun = time.process_time()
            answer = (await agent.run("Go.")).output
            times.append(time.process_time() - begun)
            if answer != f"done {TURNS}":
                raise SystemExit(f"the answer was {answer!r}")
    return min(times[1:]) / (TURNS + 1) * 1e6


def main(rounds: int = 5) -> None:
    """Measure, and print a row for each event loop."""
    authority = trustme.CA()
    with TemporaryDirectory() as folder:
        served, trusted = Path(folder, "served.pem"), Path(folder, "trusted.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(served)
        authority.cert_pem.write_to_path(trusted)
        os.environ["SSL_CERT_FILE"] = str(trusted)
        command = [sys.executable, str(Path(__file__).with_name("server.py")), str(served)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 (our own file)
            try:
                port = server.stdout.readline().strip() if server.stdout else ""
                _print_rows(f"https://127.0.0.1:{port}/v1", rounds)
            finally:
                server.terminate()


def _print_rows(url: str, rounds: int) -> None:
    print("| µs CPU a turn over TLS | own connections | httpx | ratio |\n| --- | ---: | ---: | ---: |")
    for backend in BACKENDS:
        pairs = [(_measured(url, backend, callers=False), _measured(url, backend, callers=True)) for _ in range(rounds)]
        own, theirs, ratio = (
            median([a for a, _ in pairs]),
            median([b for _, b in pairs]),
            median([a / b for a, b in pairs]),
        )
        print(f"| {backend} | {own:.0f} | {theirs:.0f} | {ratio:.2f} |")


def _measured(url: str, backend: str, *, callers: bool) -> float:
    async def measured() -> float:
        return await turn(url, callers=callers)

    return anyio.run(measured, backend=backend)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
