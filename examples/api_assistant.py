"""An assistant over an HTTP API: it looks orders up, and refunds what is approved.

Run it: SHOP_URL=… SHOP_KEY=… python examples/api_assistant.py CUSTOMER
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
from agentkit import (
    Agent,
    Depends,
    Limits,
    Sqlite,
    ToolContext,
    ToolError,
    in_terminal,
    tool,
)
from agentkit.tool_choice import budget, prerequisite

SECONDS, NOT_FOUND, LARGE = 10.0, 404, 100


@dataclass(frozen=True)
class Login:
    """Who asks. The model sees neither the key nor the customer's name."""

    url: str
    key: str
    customer: str


async def connect(ctx: ToolContext[Login]) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client for a run; it is closed at the run's end."""
    login = ctx.deps
    async with httpx.AsyncClient(
        base_url=f"{login.url}/customers/{login.customer}",
        headers={"authorization": f"Bearer {login.key}"},
        timeout=SECONDS,
    ) as client:
        yield client


Client = Annotated[httpx.AsyncClient, Depends(connect)]


def data_of(response: httpx.Response) -> Any:
    """Return the data of a response; raise for the model if there is none."""
    if response.status_code == NOT_FOUND:
        raise ToolError("this customer has no such order")
    if response.is_error:
        raise ToolError(f"the shop answered {response.status_code}; apologise")
    return response.json()


@tool
async def list_orders(client: Client) -> Any:
    """List the customer's orders, the newest first."""
    return data_of(await client.get("/orders"))


@tool
async def find_order(number: int, client: Client) -> Any:
    """Find one order: its items, its price and where it is.

    Args:
        number: The order's number, such as 1042.
    """
    return data_of(await client.get(f"/orders/{number}"))


def is_large(arguments: dict[str, object]) -> bool:
    euros = arguments["euros"]
    return isinstance(euros, int) and euros > LARGE


@tool(effect="once", approval=is_large)
async def refund(
    number: int, euros: int, client: Client, ctx: ToolContext[Login]
) -> Any:
    """Refund an order, in part or whole.

    Args:
        number: The order's number.
        euros: How much.
    """
    data = {"euros": euros, "idempotency_key": ctx.key}
    return data_of(await client.post(f"/orders/{number}/refunds", json=data))


agent = Agent(
    os.environ.get("AGENTKIT_MODEL", "local"),
    tools=[list_orders, find_order, refund],
    instructions="You help the customers of a furniture shop. Be brief.",
    tool_choice=prerequisite(refund, find_order) & budget(8),
    limits=Limits(seconds=120, at_end="answer"),
    deps_type=Login,
)


def main() -> None:
    """Talk with one customer, whose conversation is stored."""
    customer = sys.argv[1]
    login = Login(os.environ["SHOP_URL"], os.environ["SHOP_KEY"], customer)
    chat = Sqlite("chats.db").conversation(customer)
    while question := input("> "):
        result = agent.run_sync(
            question, deps=login, session=chat, approver=in_terminal
        )
        print(result.output)


if __name__ == "__main__":
    main()
