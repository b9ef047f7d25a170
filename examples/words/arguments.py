"""Policies over arguments, each in a run with a model that plays a script.

Run it: python examples/words/arguments.py
"""

from agentkit import Agent, State, tool
from agentkit.testing import Scripted, calling
from agentkit.tool_choice import Call, from_results, where


@tool
def pay(payee: str, amount: int) -> str:
    """Make a payment."""
    return f"paid {amount} to {payee}"


@tool
def list_orders() -> list[dict[str, object]]:
    """List the customer's orders."""
    return [{"id": "A17", "item": "lamp"}, {"id": "A22", "item": "chair"}]


@tool
def cancel(order: str) -> str:
    """Cancel an order."""
    return f"{order} is cancelled"


# --8<-- [start:where]
def is_small(call: Call, state: State) -> bool:
    amount: int = call["amount"]
    return amount <= 100


ann = ("pay", {"payee": "Ann", "amount": 80})
bob = ("pay", {"payee": "Bob", "amount": 500})
model = Scripted(calling(ann, bob), "Ann is paid; Bob needs a form.")
agent = Agent(
    model,
    tools=[pay],
    tool_choice=where(pay, is_small, otherwise="payments above 100 need a form"),
)
print(agent.run_sync("Pay Ann 80 and Bob 500.").explain())
# --8<-- [end:where]

# --8<-- [start:ask]
model = Scripted(calling(ann, bob), "Both are paid.")
agent = Agent(model, tools=[pay], tool_choice=where(pay, is_small, otherwise="ask"))
result = agent.run_sync("Pay Ann 80 and Bob 500.", approver=lambda call: True)
print(result.explain())
# --8<-- [end:ask]


# --8<-- [start:from_results]
def ids(orders: list[dict[str, str]]) -> list[str]:
    return [order["id"] for order in orders]


model = Scripted(
    calling(("list_orders", {})),
    calling(("cancel", {"order": "A99"}), ("cancel", {"order": "A17"})),
    "The lamp is cancelled.",
)
agent = Agent(
    model,
    tools=[list_orders, cancel],
    tool_choice=from_results(cancel, "order", of=list_orders, pick=ids),
)
print(agent.run_sync("Cancel my lamp.").explain())
# --8<-- [end:from_results]
