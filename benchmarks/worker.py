"""Measures one peer in this process, and prints a line of JSON: `worker.py PEER MEASURE ADDRESS [tiny]`.

`worker.py MODULE first ADDRESS` is the whole program that the measure `first` takes the time of.
"""

import asyncio
import importlib
import json
import sys


async def first(module: str, address: str) -> None:
    """Do what a small program does: make a tool and an agent, and run it once."""
    peer = importlib.import_module(module).P()

    async def add(a: int, b: int) -> int:
        """Add two integers.

        Args:
            a: The first.
            b: The second.
        """
        return a + b

    peer.open(address)
    answer = await peer.run(peer.agent("loop-1", peer.tools([add])), "Go.")
    if answer != "done 1":
        raise SystemExit(f"the answer was {answer!r}")
    await peer.close()


async def measured(name: str, measure: str, address: str, *, tiny: bool) -> dict[str, float]:
    """Measure a peer."""
    measures, peers = importlib.import_module("measures"), importlib.import_module("peers")
    peer = peers.load(name)
    peer.open(address)
    peer.base_url = address
    try:
        numbers: dict[str, float] = await measures.MEASURES[measure].measure(
            peer, measures.TINY if tiny else measures.Sizes()
        )
    finally:
        await peer.close()
    return numbers


if __name__ == "__main__":
    who, what, where, *size = sys.argv[1:]
    if who.startswith("peers."):
        asyncio.run(first(who, where))
    else:
        print(json.dumps(asyncio.run(measured(who, what, where, tiny=bool(size)))))
