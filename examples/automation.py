"""Three steps in a fixed order; the first fails once, and the model tries again.

Run it: python examples/automation.py
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import os
from dataclasses import dataclass, field

from agentkit import Agent, Result, tool
from agentkit.tool_choice import none, sequence


@dataclass
class Office:
    """The data of the automation; in real life, a database and a mail server."""

    orders: dict[str, list[float]] = field(
        default_factory=lambda: {
            "october": [120.0, 80.5],
            "november": [99.9, 250.0],
        }
    )
    fetched: list[float] = field(default_factory=list[float])
    total: float = 0.0
    sent: list[str] = field(default_factory=list[str])
    attempts: int = 0

    @tool
    def fetch_orders(self, month: str) -> list[float]:
        """Fetch the amounts of a month's orders.

        Args:
            month: Name of the month, such as "october".
        """
        self.attempts += 1
        if self.attempts == 1:
            raise TimeoutError("the database did not answer; try again")
        if month.lower() not in self.orders:
            raise ValueError(
                f"no orders for {month}; there are {', '.join(self.orders)}"
            )
        self.fetched = self.orders[month.lower()]
        return self.fetched

    @tool
    def compute_total(self) -> float:
        """Add up the amounts of the orders that were fetched."""
        self.total = sum(self.fetched)
        return self.total

    @tool
    def send_report(self, recipient: str) -> str:
        """Send the total to someone.

        Args:
            recipient: Name of the person.
        """
        self.sent.append(f"{recipient}: {self.total:.2f} euros")
        return f"sent {self.total:.2f} euros to {recipient}"


def automation(office: Office) -> Agent:
    """Return the agent: fetch, compute, send, each until it succeeds."""
    steps = (office.fetch_orders, office.compute_total, office.send_report)
    return Agent(
        os.environ.get("AGENTKIT_MODEL", "local"),
        tools=steps,
        tool_choice=sequence(*steps, then=none),
    )


def main() -> Result[str]:
    """Run the agent once, and print what happened."""
    office = Office()
    result = automation(office).run_sync(
        "Report the total of October's orders to Alice."
    )
    print(result.explain())
    print(*office.sent, sep="\n")
    return result


if __name__ == "__main__":
    main()
