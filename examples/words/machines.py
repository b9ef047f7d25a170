"""Machines, in runs with a model that plays a script.

Run it: python examples/words/machines.py
"""

from typing import Literal

from agentkit import Agent, Toolbox, tool
from agentkit.testing import Scripted, calling
from agentkit.tool_choice import force, machine, none, phase


@tool
def classify(kind: Literal["refund", "question"]) -> str:
    """Say what the customer wants."""
    return kind


@tool
def find_order(number: int) -> str:
    """Find an order."""
    return f"order {number}: a lamp, 40 euros"


@tool
def refund(number: int) -> str:
    """Refund an order."""
    return f"refunded order {number}"


@tool
def search(query: str) -> str:
    """Search the help pages."""
    return "Lamps have a warranty of two years."


tools = Toolbox([classify, find_order, refund, search])

# --8<-- [start:machine]
policy = machine(
    start="triage",
    triage=phase(force(classify), {"refund": "find", "question": "help"}),
    find=phase(force(find_order), "pay_back"),
    pay_back=phase(force(refund), "answer"),
    help=phase(force(search), "answer"),
    answer=none,
)
# --8<-- [end:machine]

# --8<-- [start:refund]
model = Scripted(
    calling(("classify", {"kind": "refund"})),
    calling(("find_order", {"number": 7})),
    calling(("refund", {"number": 7})),
    "Your lamp is refunded.",
)
agent = Agent(model, tools=[tools], tool_choice=policy)
print(agent.run_sync("My lamp is broken, order 7. I want my money back.").explain())
# --8<-- [end:refund]

# --8<-- [start:question]
model = Scripted(
    calling(("classify", {"kind": "question"})),
    calling(("search", {"query": "warranty"})),
    "Two years.",
)
agent = Agent(model, tools=[tools], tool_choice=policy)
print(agent.run_sync("How long is the warranty?").explain())
# --8<-- [end:question]
