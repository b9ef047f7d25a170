"""A million runs on paper: how long they take over so many workers, against an endpoint with a rate limit.

Run it: python benchmarks/scaling.py            (a few minutes; --runs 100000 is quick)

Nothing is sent. It is a simulation, event by event: each run has so many turns; a turn is the worker's own CPU time, of
which it has one core, and a request, which waits for its place under the endpoint's rate limit and then for the answer.
A worker has so many runs under way at once. What is assumed is printed with the result; latencies are drawn from a
lognormal distribution.
"""

import argparse
import heapq
import json
import math
import random
import sys
from dataclasses import asdict, dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is assumed.

    Attributes:
        runs: How many runs there are.
        turns: Requests of each.
        latency: Seconds that an answer takes, the median.
        spread: The sigma of the logarithm of that.
        cpu: Seconds of a core that a turn costs a worker.
        at_once: Runs that a worker has under way.
        per_minute: Requests that the endpoint takes in a minute; 0 for any number.
        seed: Of the random numbers.
    """

    runs: int = 1_000_000
    turns: int = 4
    latency: float = 1.5
    spread: float = 0.5
    cpu: float = 0.001
    at_once: int = 300
    per_minute: int = 60_000
    seed: int = 1


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        workers: How many workers there were.
        seconds: When the last run had ended.
        requests: Requests in a second, over all that time.
        endpoint: How much of the rate limit was used.
        cpu: How busy the workers' cores were.
        waited: Seconds that a request waited for its place, on average.
    """

    workers: int
    seconds: float
    requests: float
    endpoint: float
    cpu: float
    waited: float

    @property
    def bound(self) -> str:
        """What the time is bound by: what is nearest to being used up."""
        if max(self.endpoint, self.cpu) < 0.9:  # noqa: PLR2004 (most of it)
            return "runs at once"
        return "the endpoint" if self.endpoint >= self.cpu else "CPU"


def simulated(assumed: Assumed, workers: int) -> Outcome:
    """Play all runs over so many workers.

    An event is a run that is about to begin its next turn: the time, the worker, and the turns that are left. The turns
    of a worker take their CPU time one after another; the endpoint takes requests one after another too, at its rate.
    """
    numbers = random.Random(assumed.seed)  # noqa: S311 (nothing secret)
    mu, gap = math.log(assumed.latency), 60 / assumed.per_minute if assumed.per_minute else 0.0
    core = [0.0] * workers  # when each worker's core is free
    endpoint = waited = last = 0.0
    started = min(assumed.runs, workers * assumed.at_once)
    events = [(0.0, slot % workers, assumed.turns) for slot in range(started)]
    left = assumed.runs - started
    while events:
        now, worker, turns = events[0]
        if not turns:  # the run has ended, and the next one takes its place
            last = now
            if left:
                left -= 1
                heapq.heapreplace(events, (now, worker, assumed.turns))
            else:
                heapq.heappop(events)
            continue
        ready = core[worker] = max(now, core[worker]) + assumed.cpu
        sent = max(ready, endpoint)
        endpoint = sent + gap
        waited += sent - ready
        answered = sent + numbers.lognormvariate(mu, assumed.spread)
        heapq.heapreplace(events, (answered, worker, turns - 1))
    requests = assumed.runs * assumed.turns
    return Outcome(
        workers,
        last,
        requests / last,
        requests * gap / last,
        requests * assumed.cpu / last / workers,
        waited / requests,
    )


def table(outcomes: list[Outcome]) -> str:
    """Write the outcomes as a table in Markdown."""
    lines = [
        "| workers | time | requests a second | of the rate limit | of the cores | wait for a place | bound by |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {end.workers} | {_clock(end.seconds)} | {end.requests:,.0f} | {end.endpoint:.0%} "
        f"| {end.cpu:.0%} | {end.waited:.1f} s | {end.bound} |"
        for end in outcomes
    ]
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02} min" if hours else f"{rest // 60} min {rest % 60:02} s"


def main() -> None:
    """Read what is assumed, play it, and print the table."""
    usual = Assumed()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=usual.runs)
    parser.add_argument("--turns", type=int, default=usual.turns)
    parser.add_argument("--latency", type=float, default=usual.latency, help="seconds, the median")
    parser.add_argument("--spread", type=float, default=usual.spread, help="the sigma of the logarithm of the latency")
    parser.add_argument("--cpu", type=float, default=usual.cpu, help="seconds of a core for a turn")
    parser.add_argument("--at-once", type=int, default=usual.at_once, help="runs that a worker has under way")
    parser.add_argument("--per-minute", type=int, default=usual.per_minute, help="requests that the endpoint takes")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    given = vars(parser.parse_args())
    workers: list[int] = given.pop("workers")
    as_json: bool = given.pop("json")
    assumed = Assumed(**given)
    outcomes: list[Outcome] = []
    for count in workers:
        outcomes.append(simulated(assumed, count))
        print(f"{count} workers: {_clock(outcomes[-1].seconds)}", file=sys.stderr)
    if as_json:
        print(json.dumps({"assumed": asdict(assumed), "outcomes": [end._asdict() for end in outcomes]}))
    else:
        print(assumed)
        print(table(outcomes))


if __name__ == "__main__":
    main()
