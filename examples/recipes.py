"""Recipes for `tool_choice`: small agents, each with one policy.

Each recipe takes a model. To try one:
from recipes import search_first; search_first("gpt-5").run_sync("…")
"""

from collections.abc import Callable

from agentkit import Agent, Model, ToolError, tool
from agentkit.tool_choice import (
    auto,
    before_answer,
    budget,
    first,
    force,
    none,
    prerequisite,
    sequence,
)

FACTS = {
    "paris": "Paris has 2.1 million inhabitants.",
    "rome": "Rome has 2.8 million inhabitants.",
}
ORDERS = {"october": [120.0, 80.5], "november": [99.9, 250.0]}


@tool
def search(query: str) -> str:
    """Search the company's documents.

    Args:
        query: One or two words.
    """
    return next(
        (fact for city, fact in FACTS.items() if city in query.lower()),
        "nothing found",
    )


@tool
def verify(claim: str) -> str:
    """Check a claim against the documents.

    Args:
        claim: One sentence.
    """
    if claim not in FACTS.values():
        raise ToolError(
            "the documents do not say that; search again and use their words"
        )
    return "confirmed"


# --8<-- [start:search-first]
def search_first(model: str | Model) -> Agent:
    """The first step must call `search`; after it the model decides."""
    return Agent(model, tools=[search], tool_choice=first(force(search), then=auto))


# --8<-- [end:search-first]


# --8<-- [start:verify-before-answer]
def verify_before_answer(model: str | Model) -> Agent:
    """The model may answer only after a call of `verify` succeeded."""
    return Agent(model, tools=[search, verify], tool_choice=before_answer(verify))


# --8<-- [end:verify-before-answer]


# --8<-- [start:stop-after]
def stop_after(model: str | Model, calls: int = 3) -> Agent:
    """After this many calls, the model must answer with what it has."""
    return Agent(model, tools=[search], tool_choice=budget(calls))


# --8<-- [end:stop-after]


# --8<-- [start:approval]
def approval_before_payment(
    model: str | Model, ask: Callable[[str], bool]
) -> Agent:
    """`pay` is offered once a person approved, and pays only what was approved."""
    approved: set[tuple[str, int]] = set()

    @tool
    def request_approval(payee: str, cents: int) -> str:
        """Ask a person whether a payment may be made."""
        if not ask(f"Pay {cents} cents to {payee}?"):
            raise ToolError("the payment was not approved; do not ask again")
        approved.add((payee, cents))
        return "approved"

    @tool
    def pay(payee: str, cents: int) -> str:
        """Make a payment that was approved."""
        if (payee, cents) not in approved:
            raise ToolError(
                "this payment was not approved; request approval for it"
            )
        approved.remove((payee, cents))
        return f"paid {cents} cents to {payee}"

    return Agent(
        model,
        tools=[request_approval, pay],
        tool_choice=prerequisite(pay, request_approval),
    )


# --8<-- [end:approval]


# --8<-- [start:pipeline]
@tool
def fetch_orders(month: str) -> list[float]:
    """Fetch the amounts of a month's orders."""
    return ORDERS[month.lower()]


@tool
def compute_total(amounts: list[float]) -> float:
    """Add up amounts."""
    return sum(amounts)


@tool
def send_report(total: float, recipient: str) -> str:
    """Send the total to someone."""
    return f"sent {total} to {recipient}"


def pipeline(model: str | Model) -> Agent:
    """Fetch, compute and send, in this order; then answer without calls."""
    steps = (fetch_orders, compute_total, send_report)
    return Agent(model, tools=steps, tool_choice=sequence(*steps, then=none))


# --8<-- [end:pipeline]


# --8<-- [start:stop-a-loop]
@tool(repeatable=True)
def job_status(job: int) -> str:
    """Return whether a job is done. It may be called again and again."""
    return f"job {job} is still running"


def stop_a_loop(model: str | Model) -> Agent:
    """A search may come twice in a row; `job_status` may repeat without limit."""
    return Agent(model, tools=[search, job_status], max_repeats=2)


# --8<-- [end:stop-a-loop]


# --8<-- [start:end-with-a-tool]
@tool
def file_ticket(title: str) -> str:
    """File a ticket for the support team."""
    return f"ticket filed: {title}"


def end_with_a_tool(model: str | Model) -> Agent:
    """Every reply must be a call; the run ends when `file_ticket` succeeds."""
    return Agent(
        model,
        tools=[search, file_ticket],
        tool_choice="required",
        stop_at=file_ticket,
    )


# --8<-- [end:end-with-a-tool]
