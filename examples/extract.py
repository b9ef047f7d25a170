"""Structured output: the model fills in a dataclass.

If a value is invalid, the model sees the error and tries again.

Run it: python examples/extract.py "I want to spend three days in Rome in May."
"""

import os
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from agentkit import Agent, ModelRetry
from pydantic import Field

Month = Literal["January", "May", "August"]


@dataclass
class Trip:
    """A trip that a traveller asks for."""

    city: str
    days: Annotated[int, Field(ge=1, le=30)]
    month: Month


def in_season(trip: Trip) -> None:
    if trip.city == "Oslo" and trip.month == "January":
        raise ModelRetry("Oslo is closed in January; take another month.")


agent = Agent(
    os.environ.get("AGENTKIT_MODEL", "local"),
    output=Trip,
    output_validators=[in_season],
)


def main() -> None:
    text = (
        " ".join(sys.argv[1:]) or "I would like to spend three days in Rome in May."
    )
    trip = agent.run_sync(text).output
    print(f"{trip.days} days in {trip.city}, in {trip.month}")


if __name__ == "__main__":
    main()
