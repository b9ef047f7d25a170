"""A nightly script: list, count, report. The model only writes the report.

Run it: python examples/nightly.py
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import os

from agentkit import Agent, Result, tool
from agentkit.tool_choice import each, force, given, machine, phase

STOCK = {"lamp": 3, "chair": 0, "table": 12}


@tool
def list_products(warehouse: str) -> list[str]:
    """List the products of a warehouse."""
    return sorted(STOCK) if warehouse == "north" else []


@tool
def count_stock(product: str) -> str:
    """Count what is left of a product."""
    return f"{product}: {STOCK[product]}"


@tool
def send_report(text: str) -> str:
    """Send the report to the buyers.

    Args:
        text: What to order, in one sentence.
    """
    return f"sent: {text}"


# --8<-- [start:policy]
script = machine(
    start="list",
    # The arguments of these calls are known: no request is made for them.
    list=phase(given(list_products, warehouse="north"), "count"),
    # The model reads the counts, and writes the text of the report.
    count=each(count_stock, "product", over=list_products, then=force(send_report)),
)
# --8<-- [end:policy]


def nightly() -> Agent:
    """Return the agent; it ends with the result of `send_report`."""
    return Agent(
        os.environ.get("AGENTKIT_MODEL", "local"),
        tools=[list_products, count_stock, send_report],
        tool_choice=script,
        stop_at=send_report,
    )


def main() -> Result[str]:
    """Run the script once."""
    result = nightly().run_sync("Which products run out? Report to the buyers.")
    print(result.output)
    print(f"{len(result.steps)} steps, {result.usage.requests} requests")
    return result


if __name__ == "__main__":
    main()
