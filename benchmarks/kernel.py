"""How the costs of a run grow, without a network: each work in two sizes, and the exponent between them.

    python benchmarks/kernel.py                    # all; prints the table
    python benchmarks/kernel.py calls failed       # some
    PYTHONPATH=../old python benchmarks/kernel.py  # of another checkout

Times are CPU time of one part of the work: a call, a turn, a message. The least of some rounds counts. So an exponent
of 0 means that the whole is linear. `body` also makes the body of each request.
"""

import argparse
import asyncio
import gc
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from agentkit import (
    Agent,
    AgentkitError,
    AssistantMessage,
    ChatRequest,
    ChatResponse,
    Limits,
    Message,
    ToolCall,
    ToolMessage,
    Trimmed,
    Usage,
    UserMessage,
    tool,
)
from agentkit.core.chat import Choice
from agentkit.core.model import OnChunk
from agentkit.core.state import State
from agentkit.models.client.profile import Profile
from agentkit.models.client.profiles import MISTRAL, STANDARD
from agentkit.tool_choice import auto, before_answer, budget

MICRO = 1e6
NO_LIMITS = Limits(10**9, None, requests=None, calls=None, tokens=None)


@tool
async def add(a: int) -> int:
    """Add one to a number."""
    return a + 1


class Looping:
    """A model that makes so many replies of so many calls each, and answers then; `clock` has the time of each."""

    def __init__(self, replies: int, calls: int = 1, *, profile: Profile | None = None, failing: bool = False) -> None:
        self.name = "looping"
        self.replies, self.calls, self.profile, self.failing = replies, calls, profile, failing
        self.clock: list[float] = []

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:  # noqa: ARG002
        """Return the next reply."""
        self.clock.append(time.process_time())
        turn = len(self.clock)
        if self.profile is not None:
            self.profile.pieces(request, "m", "the endpoint", stream=False)
        if turn > self.replies:
            if self.failing:
                raise AgentkitError("it is over")
            return ChatResponse((Choice(AssistantMessage("done"), "stop"),), Usage(1, 10, 5))
        calls = [ToolCall(f"c{turn}_{at}", "add", f'{{"a":{turn * self.calls + at}}}') for at in range(self.calls)]
        return ChatResponse((Choice(AssistantMessage(tool_calls=tuple(calls)), "tool_calls"),), Usage(1, 10, 5))


def history(messages: int) -> list[Message]:
    """Return a conversation of so many messages, in exchanges of four."""
    made: list[Message] = []
    for at in range(messages // 4):
        call = ToolCall(f"h{at}", "add", f'{{"a":{at}}}')
        made += [UserMessage(f"Add {at}."), AssistantMessage(tool_calls=(call,)), ToolMessage(call.id, str(at + 1))]
        made.append(AssistantMessage(f"It is {at + 1}."))
    return [*made, UserMessage("Go.")]


def ran(agent: Agent, messages: int = 0) -> float:
    """Run, and return the CPU time."""
    given = history(messages)
    gc.collect()
    begun = time.process_time()
    with suppress(AgentkitError):
        asyncio.run(agent.run(given))
    return time.process_time() - begun


def last_turns(model: Looping) -> float:
    """Return the time of one of the last turns."""
    last = min(50, model.replies // 2)
    return (model.clock[-1] - model.clock[-1 - last]) / last


def calls(size: int) -> float:
    """A call, of so many in one reply."""
    model = Looping(1, size)
    return ran(Agent(model, tools=[add], limits=NO_LIMITS)) / size


def budgeted(size: int) -> float:
    """A call, of so many in one reply, under a policy that counts them."""
    model = Looping(1, size)
    return ran(Agent(model, tools=[add], limits=NO_LIMITS, tool_choice=budget(10**6))) / size


def turns(size: int) -> float:
    """A turn of a run, by how many messages the run had."""
    model = Looping(size // 2)
    ran(Agent(model, tools=[add], limits=NO_LIMITS))
    return last_turns(model)


def counted(size: int) -> float:
    """The same under a policy that counts the calls."""
    model = Looping(size // 2)
    ran(Agent(model, tools=[add], limits=NO_LIMITS, tool_choice=auto & budget(10**6)))
    return last_turns(model)


def body(size: int) -> float:
    """The same with the body of each request."""
    model = Looping(size // 2, profile=STANDARD)
    ran(Agent(model, tools=[add], limits=NO_LIMITS))
    return last_turns(model)


def rewritten(size: int) -> float:
    """The same for an endpoint that takes other ids and another order."""
    model = Looping(size // 2, profile=MISTRAL)
    ran(Agent(model, tools=[add], limits=NO_LIMITS))
    return last_turns(model)


def stored(size: int) -> float:
    """A turn of a run that begins with so many messages."""
    model = Looping(50)
    ran(Agent(model, tools=[add], limits=NO_LIMITS), size)
    return (model.clock[-1] - model.clock[0]) / 50


def trimmed(size: int) -> float:
    """A turn of a run that begins with so many messages, of which a window is sent."""
    model = Looping(50)
    ran(Agent(Trimmed(model, tokens=2_000), tools=[add], limits=NO_LIMITS), size)
    return last_turns(model)  # the first ones read the whole history


def summarised(size: int) -> float:
    """The same with a summary of what is not sent."""

    async def summarise(_: Sequence[Message]) -> str:
        return "They added numbers."

    model = Looping(50)
    ran(Agent(Trimmed(model, tokens=2_000, summarise=summarise), tools=[add], limits=NO_LIMITS), size)
    return last_turns(model)


def remembered(size: int) -> float:
    """The same under policies that remember the conversation, without a window."""
    model = Looping(50)
    policy = before_answer(add, scope="conversation") & budget(10**6, scope="conversation")
    ran(Agent(model, tools=[add], limits=NO_LIMITS, tool_choice=policy), size)
    return last_turns(model)


def replies(size: int) -> float:
    """A call, of 100 in each of so many replies."""
    model = Looping(size, 100)
    return ran(Agent(model, tools=[add], limits=NO_LIMITS)) / size / 100


def failed(size: int) -> float:
    """A step's share in the end of a run of so many steps that fails."""
    model = Looping(size, failing=True)
    agent = Agent(model, tools=[add], limits=NO_LIMITS)
    with suppress(AgentkitError):
        asyncio.run(agent.run(history(0)))
    return (time.process_time() - model.clock[-1]) / size


def state(size: int) -> float:
    """A message's share in the state of so many."""
    messages = tuple(history(size))
    gc.collect()
    begun = time.process_time()
    State.of(messages)
    return (time.process_time() - begun) / size


WORKS: dict[str, tuple[Callable[[int], float], tuple[int, ...]]] = {
    "calls": (calls, (10, 1_000, 4_000)),
    "budgeted": (budgeted, (10, 1_000, 4_000)),
    "replies": (replies, (25, 100)),
    "failed": (failed, (2_500, 10_000)),
    "state": (state, (5_000, 20_000)),
    "turn": (turns, (10, 10_000, 30_000)),
    "counted": (counted, (10, 2_500, 10_000)),
    "body": (body, (10, 10_000, 30_000)),
    "rewritten": (rewritten, (10, 10_000, 30_000)),
    "stored": (stored, (10, 10_000, 30_000)),
    "trimmed": (trimmed, (400, 10_000, 30_000)),
    "summarised": (summarised, (400, 10_000, 30_000)),
    "remembered": (remembered, (400, 10_000, 30_000)),
}


def main() -> None:
    """Measure what is named, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", default=[*WORKS], help=f"of {', '.join(WORKS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the sizes, to try it")
    given = parser.parse_args()
    print("| work | µs | exponent |\n|---|---|---|")
    for name in given.works:
        work, full = WORKS[name]
        sizes = [max(8 + at, int(size * given.share)) for at, size in enumerate(full)]
        print(f"| {name}: {grown(work, sizes, given.rounds)} |", flush=True)


def grown(work: Callable[[int], float], sizes: list[int], rounds: int) -> str:
    """Return the least time at each size, and the exponent from the last but one to the last."""
    times = [min(work(size) for _ in range(rounds)) * MICRO for size in sizes]
    exponent = math.log(times[-1] / times[-2]) / math.log(sizes[-1] / sizes[-2])
    told = ", ".join(f"{time:.1f} at {size:,}" for time, size in zip(times, sizes, strict=True))
    return f"{(work.__doc__ or '').rstrip('.').lower()} | {told} | {exponent:+.2f}"


if __name__ == "__main__":
    main()
