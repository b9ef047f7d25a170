"""How long the analysis of policies takes: `python benchmarks/policies.py`. Times are CPU time, the least of three."""

import time
from collections.abc import Callable

from agentkit.tool_choice import (
    Policy,
    analyse,
    auto,
    before_answer,
    budget,
    cooldown,
    each,
    fallback,
    first,
    force,
    from_results,
    given,
    machine,
    must_follow,
    never_after,
    none,
    phase,
    prerequisite,
    sequence,
)

TOOLS = ("search", "backup", "verify", "approve", "pay", "read_web", "send_mail", "ticket")
RECIPES: dict[str, Policy] = {
    "search, then answer": first(force("search"), then=auto),
    "a scripted automation": sequence("search", "verify", "send_mail", then=none),
    "verify before the answer": before_answer("verify") & budget(8),
    "an approval per payment": prerequisite("pay", "approve", each=True),
    "taint": never_after("send_mail", "read_web"),
    "a backup after two failures": fallback("search", then="backup", after=2),
    "only values from results": from_results("pay", "order", of="search"),
    "triage with branches": machine(
        "triage",
        triage=phase(force("ticket"), {"refund": "refund", "question": "answer"}),
        refund=phase(sequence("approve", "pay"), "answer", on="pay"),
        answer=phase(none),
    ),
    "a nightly script": sequence(given("search", day="today"), then=each("pay", "order", over="search")),
    "closed before the answer": must_follow("ticket", "verify") & cooldown("search", 2),
}
SIX = (
    before_answer("verify")
    & prerequisite("pay", "approve")
    & budget(8)
    & never_after("send_mail", "read_web")
    & cooldown("ticket", 2)
    & fallback("search", "backup")
)


def least(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the least CPU time in seconds."""
    times: list[float] = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def main() -> None:
    """Print the time for each recipe, and for six words over eight tools."""
    for name, policy in {**RECIPES, "six words over eight tools": SIX}.items():
        report = analyse(policy, TOOLS)
        took = least(lambda policy=policy: analyse(policy, TOOLS))  # type: ignore[misc]
        explored = "all" if report.complete else f"up to {report.depth} calls"
        print(f"{took * 1000:8.1f} ms  {len(report.nodes):4} states, {explored:15}  {name}")


if __name__ == "__main__":
    main()
