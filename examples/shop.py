"""The shop of the tutorial, on the small model in this process.

Run it: python examples/shop.py
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

# --8<-- [start:imports]
import json
import os

from agentkit import Agent, Limits, Sqlite, Toolbox, ToolMessage, tool
from agentkit.server import ChatServer
from agentkit.testing import Scripted, assert_that, calling
from agentkit.tool_choice import before_answer, budget

# --8<-- [end:imports]

# --8<-- [start:find_order]
ORDERS = {1042: ("office chair", "in production"), 1041: ("desk", "shipped")}


def find_order(number: int) -> dict[str, str]:
    """Find an order.

    Args:
        number: The number of the order, of four digits.
    """
    if number not in ORDERS:
        known = ", ".join(map(str, ORDERS))
        raise ValueError(f"there is no order {number}; known are {known}")
    item, status = ORDERS[number]
    return {"item": item, "status": status}


# --8<-- [end:find_order]

# --8<-- [start:schema]
print(json.dumps(Toolbox([find_order]).specs[0].to_dict()["function"], indent=2))
# --8<-- [end:schema]

# --8<-- [start:agent]
MODEL = os.environ.get("AGENTKIT_MODEL", "local")
INSTRUCTIONS = "You help the customers of a furniture shop."
agent = Agent(MODEL, tools=[find_order], instructions=INSTRUCTIONS)
# --8<-- [end:agent]

# --8<-- [start:ask]
result = agent.run_sync("Where is order 1042?")
print(result.explain())
# --8<-- [end:ask]

# --8<-- [start:wrong]
print(agent.run_sync("What is the status of order 7777?").explain())
# --8<-- [end:wrong]

# --8<-- [start:policy]
policy = before_answer(find_order) & budget(8)
careful = Agent(MODEL, tools=[find_order], tool_choice=policy)
# --8<-- [end:policy]

# --8<-- [start:careful]
print(careful.run_sync("Hello! Has order 1041 left?").explain())
# --8<-- [end:careful]


# --8<-- [start:refund]
def is_large(arguments: dict[str, object]) -> bool:
    amount = arguments["amount"]
    return isinstance(amount, int) and amount > 100


@tool(effect="once", key="order", approval=is_large)
def refund(order: int, amount: int) -> str:
    """Refund an order.

    Args:
        order: The number of the order.
        amount: Euros.
    """
    return f"{amount} euros are on their way"


# --8<-- [end:refund]

# --8<-- [start:clerk]
clerk = Agent(
    MODEL,
    tools=[find_order, refund],
    instructions=INSTRUCTIONS,
    tool_choice=budget(8),
    limits=Limits(tokens=50_000, at_end="answer"),
    name="clerk",
)
chats = Sqlite("chats.db")
# --8<-- [end:clerk]

# --8<-- [start:chat]
ann = chats.conversation("ann")
first = clerk.run_sync("Where is order 1041?", session=ann)
second = clerk.run_sync("And order 1042?", session=ann)
print(first.output)
print(second.output)
print(len(second.messages), second.stop)
# --8<-- [end:chat]


# --8<-- [start:tests]
def test_a_large_refund_waits() -> None:
    model = Scripted(calling(("refund", {"order": 1041, "amount": 500})))
    paused = clerk.with_model(model).run_sync("Refund my desk.")
    assert paused.stop == "paused"
    assert [call.name for call in paused.pending] == ["refund"]


def test_a_small_one_is_paid_once() -> None:
    call = ("refund", {"order": 1041, "amount": 50})
    model = Scripted(calling(call, call), "Done.")
    result = clerk.with_model(model).run_sync("Refund 50 euros.")
    assert_that(result).called(refund, times=2).obeyed()
    results = [part for part in result.messages if isinstance(part, ToolMessage)]
    assert [message.outcome for message in results] == ["ok", "ok"]


# --8<-- [end:tests]

# --8<-- [start:server]
app = ChatServer(clerk, keys=["sk-your-key"])
# --8<-- [end:server]
