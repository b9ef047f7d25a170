"""What is measured. Each measure runs in a process of its own, checks what the runs came to, and gives numbers.

`main` is the number that tables and ratios use. Times of the processor are those of the whole process, its threads too.
"""

import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import functions
from functions import CALLS
from peers import PEERS, Peer
from server import word

Numbers = dict[str, float]
MICRO = 1e6
MILLI = 1e3


class WrongResult(Exception):
    """A run did not come to what it should have, so its time means nothing."""


@dataclass(frozen=True)
class Sizes:
    """How large the measures are."""

    turns: int = 50
    growth: tuple[int, ...] = (50, 100, 200, 400, 800, 1600, 3200, 10_000)
    chunks: tuple[int, ...] = (2_000, 20_000)
    deltas: tuple[int, ...] = (2_000, 8_000)
    runs: tuple[int, ...] = (300, 3_000)
    calls: int = 32
    tools: int = 200
    functions: int = 300
    agents: int = 1_000
    repeats: int = 5
    starts: int = 2


TINY = Sizes(3, (4, 8), (10, 20), (10, 20), (4, 6), 4, 5, 6, 5, 1, 1)


class Measured(NamedTuple):
    """A process that ended: its times, and what it printed."""

    cpu: float
    printed: str


def check(*, that: bool, said: str) -> None:
    """Hold a result against what it should be."""
    if not that:
        raise WrongResult(said)


def last_request(peer: Peer) -> dict[str, Any]:
    """Ask the endpoint what it was asked last."""
    with urllib.request.urlopen(f"{peer.base_url}/last") as response:  # noqa: S310 (our own endpoint)
        found: dict[str, Any] = json.load(response)
        return found


async def loop(peer: Peer, agent: Any, turns: int, marks: tuple[int, ...] = ()) -> None:
    """Run a loop of so many turns."""
    CALLS.begin(marks)
    answer = await peer.run(agent, "Go.", max_turns=turns + 2)
    check(that=answer == f"done {turns}", said=f"the answer was {answer!r}")
    check(that=(CALLS.count, CALLS.total) == (turns, turns * (turns + 1) // 2), said=f"{CALLS.count} calls")


async def least(repeats: int, work: Callable[[], Awaitable[object]]) -> float:
    """Return the least CPU time: what disturbs a measure only adds to it."""
    times: list[float] = []
    for _ in range(repeats):
        begun = time.process_time()
        await work()
        times.append(time.process_time() - begun)
    return min(times)


def looping(peer: Peer, turns: int, more: int = 0, *, sync: bool = False) -> Any:
    """Make an agent that goes on for so many turns, with so many tools beside the one that is called."""
    tools = peer.tools([functions.adding(sync=sync), *functions.generated(more)])
    return peer.agent(f"loop-{turns}", tools, max_turns=turns + 2)


def ended(*command: str) -> Measured:
    """Run a program to its end."""
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as program:  # noqa: S603
        printed = program.stdout.read() if program.stdout else ""
        _, status, used = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
    check(that=program.returncode == 0, said=f"{command} ended with {program.returncode}")
    return Measured(used.ru_utime + used.ru_stime, printed)


async def imported(peer: Peer, sizes: Sizes) -> Numbers:
    """Import: what a program begins with, beyond Python itself."""
    line = next(entry.imports for entry in PEERS.values() if type(peer).__module__ == f"peers.{entry.file}")
    counted = f"import sys; {line}; print(len(sys.modules))"
    ended("-P", "-c", counted)  # what is installed, and not the folder that this is called from
    python = min(ended("-P", "-c", "pass").cpu for _ in range(sizes.starts))
    programs = [ended("-P", "-c", counted) for _ in range(sizes.starts)]
    return {"main": (min(program.cpu for program in programs) - python) * MILLI, "modules": float(programs[0].printed)}


async def first_run(peer: Peer, sizes: Sizes) -> Numbers:
    """A whole program: from the start of the process to the end of a first run of one turn."""
    command = (str(Path(__file__).with_name("worker.py")), type(peer).__module__, "first", peer.base_url)
    ended(*command)
    return {"main": min(ended(*command).cpu for _ in range(sizes.starts)) * MILLI}


async def decorated(peer: Peer, sizes: Sizes) -> Numbers:
    """Functions into tools, and their first use."""
    await loop(peer, looping(peer, 1), 1)
    await loop(peer, looping(peer, 1, sizes.functions), 1)
    times: list[float] = []
    for _ in range(sizes.repeats):
        made = functions.generated(sizes.functions)
        gc.collect()
        begun = time.process_time()
        peer.agent("loop-1", peer.tools(made))
        times.append(time.process_time() - begun)
    sent = last_request(peer)["tools"]
    check(that=len(sent) == sizes.functions + 1, said=f"{len(sent)} tools were sent")
    return {"main": min(times) / sizes.functions * MICRO}


async def turn(peer: Peer, sizes: Sizes) -> Numbers:
    """A turn of a loop: one request, one call."""
    return await _turn(peer, sizes, sync=False)


async def sync_turn(peer: Peer, sizes: Sizes) -> Numbers:
    """A turn whose tool is not async, so that it runs in a thread."""
    return await _turn(peer, sizes, sync=True)


async def _turn(peer: Peer, sizes: Sizes, *, sync: bool) -> Numbers:
    agent = looping(peer, sizes.turns, sync=sync)
    await loop(peer, agent, sizes.turns)
    took = await least(sizes.repeats, lambda: loop(peer, agent, sizes.turns))
    sent = last_request(peer)["messages"]
    check(that=len(sent) >= 2 * sizes.turns, said=f"the last request had {len(sent)} messages")
    return {"main": took / (sizes.turns + 1) * MICRO}


async def grown(peer: Peer, sizes: Sizes) -> Numbers:
    """A turn by how long the conversation is, within one run."""
    lengths = [length for length in sizes.growth if length <= 2 * peer.longest]
    turns = lengths[-1] // 2
    windows = {length: (length // 2 - 1 - _window(length), length // 2 - 1) for length in lengths}
    marks = tuple({mark for window in windows.values() for mark in window})
    agent = looping(peer, turns)
    await loop(peer, looping(peer, 4), 4)
    found: dict[int, list[float]] = {length: [] for length in lengths}
    for _ in range(2):
        await loop(peer, agent, turns, marks)
        for length, (begin, end) in windows.items():
            found[length].append((CALLS.clock[end] - CALLS.clock[begin]) / (end - begin))
    numbers = {f"at {length}": min(times) * MICRO for length, times in found.items()}
    return {"main": numbers[f"at {min(400, lengths[-1])}"], **numbers}


def _window(length: int) -> int:
    """Return over how many turns to measure: at short lengths reading the clock would be most of it."""
    return min(max(10, length // 20), length // 2 - 1)


async def chunks(peer: Peer, sizes: Sizes) -> Numbers:
    """A chunk of a streamed text, of a short one and of a long one."""
    numbers: Numbers = {}
    for size in sizes.chunks:
        agent, text = peer.agent(f"text-{size}", peer.tools([])), "".join(map(word, range(size)))

        async def once(agent: Any = agent, text: str = text) -> None:
            answer, pieces = await peer.stream(agent, "Go.")
            check(that=answer == text, said=f"the answer was {answer[:80]!r}")
            check(that=pieces > 0, said="nothing was told while it came")

        await once()
        numbers[f"at {size}"] = await least(sizes.repeats, once) / size * MICRO
    return {"main": numbers[f"at {sizes.chunks[-1]}"], **numbers}


async def deltas(peer: Peer, sizes: Sizes) -> Numbers:
    """A piece of streamed arguments, of a short text and of a long one."""
    numbers: Numbers = {}
    for size in sizes.deltas:
        agent = peer.agent(f"arguments-{size}", peer.tools([functions.saving()]))

        async def once(agent: Any = agent, size: int = size) -> None:
            CALLS.begin()
            answer, _ = await peer.stream(agent, "Go.")
            right = (answer, CALLS.count, CALLS.total) == (f"done {size}", 1, size * len(word(0)))
            check(that=right, said=f"the answer was {answer!r} after {CALLS.count} calls of {CALLS.total}")

        await once()
        numbers[f"at {size}"] = await least(sizes.repeats, once) / size * MICRO
    return {"main": numbers[f"at {sizes.deltas[0]}"], **numbers}


async def at_once(peer: Peer, sizes: Sizes) -> Numbers:
    """Many runs at once, of 5 requests that wait 50 ms each; 0.25 s if nothing else took time."""
    await loop(peer, looping(peer, 4), 4)
    numbers: Numbers = {}
    for runs in sizes.runs:
        if runs <= peer.most_runs:
            wall, cpu, peak = await _at_once(peer, runs)
            first = {} if numbers else {"main": wall, "cpu": cpu, "MB": peak}
            numbers |= {**first, f"at {runs}": cpu / runs / 5 * MICRO}
    return numbers


async def _at_once(peer: Peer, runs: int) -> tuple[float, float, float]:
    """Return the seconds, those of the CPU, and the most megabytes until now."""
    tools = peer.tools([functions.adding()])
    agents = [peer.agent("loop-4-delay50", tools) for _ in range(runs)]
    CALLS.begin()
    begun, cpu = time.perf_counter(), time.process_time()
    answers = await asyncio.gather(*[peer.run(agent, "Go.") for agent in agents])
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    right = set(answers) == {"done 4"} and CALLS.count == 4 * runs
    check(that=right, said=f"{set(answers)} after {CALLS.count} calls")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return wall, cpu, peak


async def _parallel(peer: Peer, sizes: Sizes, *, sync: bool) -> Numbers:
    agent = peer.agent(f"work-{sizes.calls}", peer.tools([functions.working(sync=sync)]))
    walls: list[float] = []
    for _ in range(sizes.repeats + 1):
        CALLS.begin()
        begun = time.perf_counter()
        answer = await peer.run(agent, "Go.")
        walls.append(time.perf_counter() - begun)
        right = answer == f"done {sizes.calls}" and CALLS.count == sizes.calls
        check(that=right, said=f"the answer was {answer!r} after {CALLS.count} calls")
    return {"main": min(walls) * MILLI}


async def threads(peer: Peer, sizes: Sizes) -> Numbers:
    """One reply with 32 calls of a sync tool that takes 50 ms."""
    return await _parallel(peer, sizes, sync=True)


async def tasks(peer: Peer, sizes: Sizes) -> Numbers:
    """One reply with 32 calls of an async tool that takes 50 ms."""
    return await _parallel(peer, sizes, sync=False)


async def many_tools(peer: Peer, sizes: Sizes) -> Numbers:
    """A turn of a loop, with 200 more tools in each request."""
    agent, turns = looping(peer, sizes.turns, sizes.tools), sizes.turns
    await loop(peer, agent, turns)
    took = await least(sizes.repeats, lambda: loop(peer, agent, turns))
    sent = last_request(peer)["tools"]
    check(that=len(sent) == sizes.tools + 1, said=f"{len(sent)} tools were sent")
    return {"main": took / (turns + 1) * MICRO}


async def agents(peer: Peer, sizes: Sizes) -> Numbers:
    """Another agent with 10 tools that are there already, and a client of its own."""
    tools, size = peer.tools(functions.generated(10)), sizes.agents
    kept = [peer.agent("loop-0", tools) for _ in range(size)]
    times: list[float] = []
    sizes_now: list[int] = []
    for _ in range(sizes.repeats):
        kept.clear()
        gc.collect()
        before, begun = sys.getallocatedblocks(), time.process_time()
        kept = [peer.agent("loop-0", tools) for _ in range(size)]
        times.append(time.process_time() - begun)
        sizes_now.append(sys.getallocatedblocks() - before)
    answer = await peer.run(kept[-1], "Go.")
    check(that=answer == "done 0", said=f"the answer was {answer!r}")
    return {"main": min(times) / size * MICRO, "objects": min(sizes_now) / size, "bytes": _bytes_of(peer, tools, size)}


def _bytes_of(peer: Peer, tools: Any, size: int) -> float:
    import tracemalloc  # noqa: PLC0415 (it slows what is measured before)

    tracemalloc.start()
    kept = [peer.agent("loop-0", tools) for _ in range(size)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / len(kept)


class Measure(NamedTuple):
    """What is measured.

    Attributes:
        title: Its name in words.
        unit: The unit of its number.
        measure: Measures it.
        rounds: How many rounds one is. Programs that only start are too short to outlast what disturbs them, so that
            peers take turns more often.
    """

    title: str
    unit: str
    measure: Callable[[Peer, Sizes], Awaitable[Numbers]]
    rounds: int = 1


MEASURES = {
    "import": Measure("import", "ms CPU", imported, rounds=4),
    "first": Measure("from the start of the process to the end of a first run", "ms CPU", first_run, rounds=4),
    "decorate": Measure("a function into a tool", "µs CPU", decorated),
    "turn": Measure("a turn, of 50", "µs CPU", turn),
    "sync": Measure("a turn with a sync tool", "µs CPU", sync_turn),
    "growth": Measure("a turn at 400 messages", "µs CPU", grown),
    "chunks": Measure("a streamed chunk of text, of 20,000", "µs CPU", chunks),
    "deltas": Measure("a streamed piece of arguments, of 2,000", "µs CPU", deltas),
    "runs": Measure("300 runs at once, of 5 requests of 50 ms", "s", at_once),
    "threads": Measure("32 sync tools of 50 ms in one reply", "ms", threads),
    "tasks": Measure("32 async tools of 50 ms in one reply", "ms", tasks),
    "tools": Measure("a turn with 200 more tools", "µs CPU", many_tools),
    "agents": Measure("another agent with 10 tools", "µs CPU", agents),
}
