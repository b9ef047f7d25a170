"""Run a batch of 10,000 inputs, kill its process half-way, run it again, and count.

Run it: python benchmarks/many_inputs.py [how many]

The model is a function in the process that runs the batch, and writes down what it was asked; so what is measured is
what the batch itself costs. Shown are the seconds and the memory of each process, how many inputs were asked twice, and
whether one was lost.
"""

import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from agentkit import Agent, ChatRequest, Journal
from agentkit.testing import FunctionModel

MANY = 10_000
HEAD = 2  # lines with which a journal begins
AT_ONCE = 64


def inputs(many: int) -> Iterator[str]:
    """Make prompts, one after the other."""
    for number in range(many):
        yield f"Sort letter {number}: {'lorem ipsum ' * 20}"


async def work(folder: Path, many: int, *, sync: bool) -> None:
    """Run the batch, and print what it took."""
    asked = (folder / "asked").open("a", buffering=1)

    async def answer(request: ChatRequest) -> str:
        model.requests.clear()  # it would keep them all
        text = str(request.messages[-1].content)
        asked.write(text.partition(":")[0] + "\n")
        await anyio.sleep(0.001)
        return f"Answer to {text[:20]}"

    model = FunctionModel(answer)
    begun, base = time.monotonic(), memory()
    journal = Journal(folder / "batch.jsonl", sync=sync)
    async with Agent(model).map(inputs(many), concurrency=AT_ONCE, journal=journal) as batch:
        async for _ in batch:
            pass
    asked.close()
    took = time.monotonic() - begun
    print(f"  {took:.2f} s, {memory() - base:.1f} MB above {base:.1f} MB: {batch.summary}")


def memory() -> float:
    """Megabytes that the process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def lines(path: Path) -> list[str]:
    """Return the lines of a file."""
    return path.read_text().splitlines()


def wait_for(path: Path, many: int) -> None:
    """Wait until a file has so many lines."""
    while not path.exists():
        time.sleep(0.01)
    with path.open("rb") as file:
        while many > 0:
            many -= file.read().count(b"\n")
            time.sleep(0.01)


def measure(many: int, *, sync: bool) -> None:
    """Kill one process half-way, run another to the end, and a third that finds all done."""
    print(f"{many:,} inputs, {AT_ONCE} at once, {'each line on the disk' if sync else 'lines left to the system'}")
    with TemporaryDirectory() as name:
        folder = Path(name)
        journal = folder / "batch.jsonl"
        command = [sys.executable, __file__, str(many), name, "sync" if sync else ""]
        begun = time.monotonic()
        with subprocess.Popen(command) as first:  # noqa: S603 (this file)
            wait_for(journal, many // 2)
            first.kill()
        kept = len(lines(journal)) - HEAD
        print(f"  killed after {time.monotonic() - begun:.2f} s with {kept:,} in the journal")
        for _ in range(2):
            subprocess.run(command, check=True)  # noqa: S603 (this file)
        asked = Counter(lines(folder / "asked"))
        keys = Counter(json.loads(line)["key"] for line in lines(journal)[HEAD:])
        twice, again = asked.total() - len(asked), keys.total() - len(keys)
        print(f"  asked twice: {twice}; kept twice: {again}; lost: {many - len(keys)}")


def main() -> None:
    """Measure, or be the process that is measured."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else MANY
    if len(sys.argv) > 2:  # noqa: PLR2004 (it is the process that runs the batch)
        anyio.run(lambda: work(Path(sys.argv[2]), many, sync=sys.argv[3] == "sync"))
        return
    measure(many, sync=True)
    measure(many, sync=False)


if __name__ == "__main__":
    main()
