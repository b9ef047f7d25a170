"""Random runs against an endpoint full of faults, plain and over TLS: `python -m benchmarks.soak [MINUTES] [SEED]`.

Under asyncio and under trio, in a process each, eight runs go on at once: plain and streamed, with and without a
session, cancelled anywhere, dropped in a stream, continued after they failed. What may never happen is counted: a run
that hangs, an error of another library, a history that an endpoint would refuse, a payment made twice, and memory,
files or threads that still grow after the first 40 % of the time. If there is any, the exit code is 1.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import anyio

from agentkit import (
    Agent,
    AgentkitError,
    ChatClient,
    Exclusive,
    JsonLines,
    Limits,
    Memory,
    ModelRetry,
    Result,
    Retries,
    Session,
    Sqlite,
    Timeouts,
    approve,
    deny,
    tool,
)
from agentkit.core.errors import Partial
from agentkit.tool_choice import auto, budget, first, force, one_at_a_time, required
from tests.endpoint import fault_in

BACKENDS = ("asyncio", "trio")
AT_ONCE = 8
LONGEST = 120.0
WARM = 0.4
SAMPLES = 20
UNLUCKY = 3
FAULTS = ("hangs", "foreign exceptions", "invalid histories", "paid twice", "growth")


@dataclass
class Soak:
    """The runs of one process, and what was counted."""

    urls: Sequence[str]
    folder: Path
    random: Random
    counts: Counter[str] = field(default_factory=Counter[str])
    notes: list[str] = field(default_factory=list[str])
    number: int = 0

    def note(self, fault: str, what: object) -> None:
        """Count a fault, and keep its text."""
        self.counts[fault] += 1
        self.notes.append(f"{fault}: {what!s:.300}")

    def check(self, ended: Result[str] | Partial) -> None:
        """Check a history against what strict endpoints refuse, unless calls in it wait."""
        fault = fault_in([message.to_dict() for message in ended.messages])
        if fault is not None and getattr(ended, "stop", "") != "paused":
            self.note("invalid histories", fault)

    async def one(self) -> None:
        """Run a conversation: some runs, one after the other, however each of them ends."""
        self.number += 1
        paid = Counter[int]()
        async with self._session(f"{self.number}") as session:
            agent = self._agent(paid)
            for _ in range(self.random.randrange(1, 4)):
                with anyio.move_on_after(LONGEST) as patience:
                    await self._run(agent, session)
                if patience.cancelled_caught:
                    self.note("hangs", agent)
        if session is not None and max(paid.values(), default=0) > 1:
            self.note("paid twice", paid)

    async def _run(self, agent: Agent, session: Session | None) -> None:
        self.counts["runs"] += 1
        given: dict[str, Any] = {} if session is None else {"session": session}
        cancel_after = self.random.choice((None, None, self.random.random() * 0.2))
        try:
            with anyio.move_on_after(cancel_after):
                result = await self._perform(agent, given)
                if result is not None:
                    self.check(result)
                    self.counts[f"ended by {result.stop}"] += 1
                    await self._resume(agent, result, session)
                return
            self.counts["cancelled or dropped"] += 1
        except AgentkitError as error:
            self.counts["errors of agentkit"] += 1
            if error.partial is not None:
                self.check(error.partial)
        except Exception as error:  # noqa: BLE001 (that is what is counted)
            self.note("foreign exceptions", repr(error))

    async def _perform(self, agent: Agent, given: dict[str, Any]) -> Result[str] | None:
        if self.random.choice((True, False)):
            return await agent.run("Go.", **given)
        drop_after = self.random.choice((10_000, 10_000, self.random.randrange(6)))
        async with agent.stream("Go.", **given) as run:
            async for _ in run:
                drop_after -= 1
                if drop_after < 0:
                    return None
        return run.result

    async def _resume(self, agent: Agent, result: Result[str], session: Session | None) -> None:
        if result.stop == "paused" and self.random.choice((True, True, False)):
            # A payment that may have been made already is not made again.
            decisions = [
                self.random.choice((approve, deny))(call) if call.name == "delete" else deny(call)
                for call in result.pending
            ]
            resumed = await agent.resume(session or result.messages, decisions)
            self.check(resumed)

    @asynccontextmanager
    async def _session(self, name: str) -> AsyncGenerator[Session | None]:
        path, store = self.folder / f"{name}.jsonl", Sqlite(self.folder / "chats.db", sync=False)
        kinds: list[Callable[[], Session | None]] = [
            lambda: None,
            Memory,
            lambda: JsonLines(path, sync=False),
            lambda: Exclusive(JsonLines(path, sync=False)),
            lambda: store.conversation(name),
        ]
        try:
            yield self.random.choice(kinds)()
        finally:
            with anyio.CancelScope(shield=True):
                path.unlink(missing_ok=True)
                await store.delete(name)

    def _agent(self, paid: Counter[int]) -> Agent:
        @tool
        async def add(a: int, b: int) -> int:
            await anyio.sleep(self.random.choice((0, 0, 0.01)))
            if a == UNLUCKY:
                raise ModelRetry("not three")
            return a + b

        @tool(effect="once", key="invoice")
        async def pay(invoice: int) -> str:
            paid[invoice] += 1
            await anyio.sleep(self.random.choice((0, 0.01)))
            return f"paid {invoice}"

        @tool(approval=True)
        def delete(row: int) -> str:
            return f"deleted {row}"

        client = self._client()
        inner = Agent(client, tools=[add, pay], name="researcher", limits=Limits(steps=4))
        research = inner.as_tool("research", description="Look something up.")
        draw = self.random.choice
        policy = draw((auto, auto, first(required), first(force(add)), one_at_a_time(), budget(3)))
        limits = Limits(steps=6, seconds=draw((None, None, 0.3)), at_end=draw(("error", "answer")))
        return Agent(client, tools=[add, pay, delete, research], tool_choice=policy, limits=limits)

    def _client(self) -> ChatClient:
        retries = Retries(attempts=self.random.choice((1, 2, 3)), base=0.001, max_delay=0.01)
        timeout = Timeouts(connect=2, idle=0.5, total=3)
        url = self.random.choice(self.urls)
        return ChatClient("m", base_url=url, api_key="sk-soak", retries=retries, timeout=timeout)


class Used(NamedTuple):
    """What a process uses."""

    megabytes: float
    objects: int
    files: int
    threads: int


GROWTH = Used(4.0, 5_000, 16, 12)
"""What may be more at the end than after the warm-up: runs are under way at both times."""


def used() -> Used:
    """Return what this process uses, once it has given back what it does not use."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    megabytes = pages * os.sysconf("SC_PAGESIZE") / 1e6
    files = len([*Path("/proc/self/fd").iterdir()])
    return Used(megabytes, len(gc.get_objects()), files, threading.active_count())


def growth(samples: Sequence[Used]) -> list[str]:
    """Return what grew after the warm-up: the medians of five samples, at its end and at the end."""
    warm = int(len(samples) * WARM)
    found: list[str] = []
    for at, (name, allowed) in enumerate(zip(Used._fields, GROWTH, strict=True)):
        first, last = (median(sample[at] for sample in some) for some in (samples[warm : warm + 5], samples[-5:]))
        if last > first + allowed:
            found.append(f"{first:,.0f} {name} grew to {last:,.0f}")
    return found


async def soak(state: Soak, seconds: float) -> list[Used]:
    """Run for some seconds; return samples of what the process used."""
    end = time.monotonic() + seconds
    samples: list[Used] = []

    async def work() -> None:
        while time.monotonic() < end:
            await state.one()

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(work)
        while time.monotonic() < end:
            await anyio.sleep(seconds / SAMPLES)
            samples.append(used())
            print(f"{state.counts['runs']:,} runs, {_text(samples[-1])}", file=sys.stderr)
    return samples


def _text(sample: Iterable[float]) -> str:
    return ", ".join([f"{number:,.0f} {name}" for name, number in zip(Used._fields, sample, strict=True)])


def work_in(backend: str, seconds: float, seed: int, urls: Sequence[str]) -> None:
    """Run in this process, and print what was counted."""
    with TemporaryDirectory() as folder:
        state = Soak(urls, Path(folder), Random(f"{seed} {backend}"))  # noqa: S311 (runs come from seeds)
        samples = anyio.run(soak, state, seconds, backend=backend)
    for grown in growth(samples):
        state.note("growth", grown)
    print(json.dumps([state.counts, state.notes, samples[int(len(samples) * WARM)], samples[-1]]))


def main(minutes: float, seed: int) -> int:
    """Soak, print a table, and return the exit code."""
    with TemporaryDirectory() as folder:
        serve = [sys.executable, "-m", "benchmarks.faulty", str(seed), folder]
        with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
            try:
                urls = server.stdout.readline() if server.stdout else ""
                environment = os.environ | {"SSL_CERT_FILE": str(Path(folder, "trusted.pem"))}
                arguments = [str(minutes * 60), str(seed), urls]
                workers = [_started(backend, *arguments, env=environment) for backend in BACKENDS]
                printed = [worker.communicate()[0] for worker in workers]
                return report(printed, server.communicate("")[0].splitlines())
            finally:
                server.kill()


def _started(*arguments: str, env: dict[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.soak", *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)  # noqa: S603 (this file)


def report(printed: Sequence[str], refused: Sequence[str]) -> int:
    """Print a table of what the processes and the endpoint counted; return 1 if there is a fault."""
    found = [json.loads(text or '[{"foreign exceptions": 1}, ["the process ended"], [], []]') for text in printed]
    rows = {name: [counts.get(name, 0) for counts, *_ in found] for name in ("runs", *FAULTS)}
    rows |= {name: [counts.get(name, 0) for counts, *_ in found] for counts, *_ in found for name in counts}
    print(f"| | {' | '.join(BACKENDS)} |\n| --- |{' ---: |' * len(BACKENDS)}")
    for name, numbers in rows.items():
        print(f"| {name} | {' | '.join(map(str, numbers))} |")
    for what, at in (("after the warm-up", 2), ("at the end", 3)):
        print(f"| {what} | {' | '.join(_text(some[at] or [0] * 4) for some in found)} |")
    print(f"requests that the endpoint would refuse: {len(refused)}")
    for note in [*[note for _, notes, *_ in found for note in notes[:20]], *refused[:20]]:
        print(note)
    return int(bool(refused) or any(sum(rows[fault]) for fault in FAULTS))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in BACKENDS:
        work_in(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("minutes", type=float, nargs="?", default=20.0)
        parser.add_argument("seed", type=int, nargs="?", default=1)
        options = parser.parse_args()
        sys.exit(main(options.minutes, options.seed))
