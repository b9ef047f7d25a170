"""What each word of tool_choice means, said a second time and without agentkit's policies.

`disobedience.py` holds every run to this. A meaning is a function from the calls that ran to what holds now. It is
called before each request, and for each call of a reply, with the calls before it in `beside`.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from agentkit import State, Tool
from agentkit.tool_choice import (
    Call,
    Policy,
    PolicyLike,
    all_of,
    any_of,
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
    no_repeat,
    none,
    one_at_a_time,
    only,
    permitted,
    phase,
    prerequisite,
    relevant,
    required,
    rule,
    sequence,
    until_called,
    when,
    where,
)

Arguments: TypeAlias = dict[str, int | str]


class Made(NamedTuple):
    """A call that ran: its tool, its arguments, the number of its step, and whether it succeeded."""

    tool: str
    arguments: Arguments
    step: int
    ok: bool = True
    earlier: bool = False  # before the user last spoke


class Now(NamedTuple):
    """What holds: what must be called, what may not, and what is called without asking the model."""

    forced: str | None = None
    demanded: bool = False  # some tool must be called
    withheld: frozenset[str] = frozenset()
    silent: bool = False  # nothing may be called
    known: Arguments | None = None  # the arguments of the forced call

    def permits(self, tool: str) -> bool:
        """Whether a call may run."""
        return not self.silent and self.forced in (None, tool) and tool not in self.withheld


class Done(NamedTuple):
    """The calls that ran in earlier replies, the calls beside in this one, and the number of the next step."""

    calls: list[Made]
    beside: list[Made]
    step: int

    def ok(self, tool: str) -> int:
        """Return how often a tool succeeded."""
        return sum(call.ok for call in self.calls if call.tool == tool)

    def times(self, tool: str | None = None) -> int:
        """Return how often a tool was called, or any."""
        return sum(tool in (None, call.tool) for call in [*self.calls, *self.beside])


Meaning: TypeAlias = Callable[[Done], Now]
Wish: TypeAlias = tuple[str, Arguments]
FREE, DEMAND, SILENT = Now(), Now(demanded=True), Now(silent=True)
ORDERS = ("o-1", "o-2")
PROMPT = "Please refund my order."
RIGHTS = frozenset({"search"})


class Word(NamedTuple):
    """A word of the table, the calls that a model would like to make, and what the word means for them."""

    policy: Policy
    tools: str
    wishes: str
    means: Meaning
    rejects: Callable[[Call, Done], bool] = lambda call, done: False  # noqa: ARG005 (by its arguments)
    asks: Callable[[Call], bool] = lambda call: False  # noqa: ARG005 (of the approver)
    fails: str = ""  # the tools that fail
    earlier: str = ""  # the calls of the turn before
    results: Mapping[str, object] = {"list_orders": [*ORDERS], "classify": "refund"}


def without(*tools: str) -> Now:
    """Return that these tools may not be called."""
    return Now(withheld=frozenset(tools))


def withheld(when: object, *tools: str) -> Now:
    """Return that tools may not be called, or that all is free."""
    return without(*tools) if when else FREE


def always(now: Now) -> Meaning:
    """Return the meaning of what holds whatever was called."""
    return lambda done: now  # noqa: ARG005 (whatever was called)


def once(done: Done) -> Now:
    """Return what `first(force(search, once=True))` means."""
    return FREE if done.step else Now("search", withheld=frozenset({"search"} if done.beside else ()))


def in_order(done: Done) -> Now:
    """Return what `sequence(search, fetch, send)` means."""
    left = ["search", "fetch", "send"]
    for call in done.calls:
        if left and call.ok and call.tool == left[0]:
            left.pop(0)
    return Now(left[0]) if left else FREE


def approved(done: Done) -> Now:
    """Return what `prerequisite(pay, approve, each=True)` means: an approval is used up by one payment."""
    left = 0
    for call in [*done.calls, *[call for call in done.beside if call.tool == "pay"]]:
        left = left + 1 if call.tool == "approve" else max(left - 1, 0) if call.tool == "pay" else left
    return withheld(not left, "pay")


def cooled(done: Done) -> Now:
    """Return what `cooldown(search, steps=2)` means."""
    steps = [call.step for call in [*done.calls, *done.beside] if call.tool == "search"]
    return withheld(steps and done.step - steps[-1] <= 2, "search")  # noqa: PLR2004 (two steps)


def backed_up(done: Done) -> Now:
    """Return what `fallback(search, then=backup, after=2)` means, where search always fails."""
    return without("search" if sum(call.tool == "search" for call in done.calls) > 1 else "backup")


def triaged(done: Done) -> Now:
    """Return what the machine means: classify, list the orders, refund each of them, answer."""
    if not done.ok("classify"):
        return Now("classify")
    if not done.ok("list_orders"):
        return Now("list_orders")
    refunded = [call.arguments["order"] for call in done.calls if call.tool == "refund"]
    left = [order for order in ORDERS if order not in refunded]
    return Now("refund", known={"order": left[0]}) if left else SILENT


def open_tickets(done: Done) -> Now:
    """Return what `must_follow(open_ticket, close_ticket)` means."""
    count = 0
    for call in done.calls:
        count = count + 1 if call.tool == "open_ticket" else max(count - (call.tool == "close_ticket"), 0)
    return DEMAND if count else FREE


def repeated(call: Call, done: Done) -> bool:
    """Whether `no_repeat(2)` denies a call: with it, a cycle of 1 to 5 calls would come a third time in a row."""
    made = [(one.tool, one.arguments) for one in [*done.calls, *done.beside]] + [(call.name, dict(call.arguments))]
    cycles = [made[-3 * length :] for length in range(1, 6) if len(made) >= 3 * length]
    return any(tail == tail[: len(tail) // 3] * 3 for tail in cycles)


def small(call: Call, state: State) -> bool:  # noqa: ARG001 (by its arguments alone)
    """Whether an amount is small."""
    return is_small(call)


def is_small(call: Call) -> bool:
    """Whether an amount is small."""
    return bool(call["amount"] <= 100)  # noqa: PLR2004 (the limit)


def may_use(deps: frozenset[str], tool: Tool) -> bool:
    """Whether someone with these rights may use a tool."""
    return tool.name in deps


def late(state: State) -> bool:
    """Whether two steps were made."""
    return state.step > 1


def cautious(state: State) -> PolicyLike:
    """Return `none` after two steps: a rule of one's own."""
    return none if late(state) else auto


def total(budget: int, of: str | None = None, cost: Mapping[str, int] | None = None) -> Meaning:
    """Return what a budget means."""

    def means(done: Done) -> Now:
        weights = cost or {}
        left = budget - sum(
            weights.get(call.tool, 1) for call in [*done.calls, *done.beside] if of in (None, call.tool)
        )
        if of is not None:
            return withheld(left < 1, of)
        return SILENT if left < 1 else without(*[tool for tool in weights if weights[tool] > left])

    return means


DESK = "search fetch send"
SHOP = "approve pay search"
MACHINE = machine(
    "triage",
    triage=phase(force("classify"), {"refund": "orders"}),
    orders=phase(force("list_orders"), "refund"),
    refund=phase(each("refund", "order", over="list_orders"), "answer"),
    answer=none,
)
WORDS: tuple[Word, ...] = (
    Word(auto, DESK, "search fetch", always(FREE)),
    Word(none, DESK, "search", always(SILENT)),
    Word(required & budget(2), DESK, "search fetch send", lambda done: SILENT if done.times() > 1 else DEMAND),
    Word(first(force("search")), DESK, "search fetch", lambda done: FREE if done.step else Now("search")),
    Word(
        first(force("search", once=True)),
        DESK,
        "search fetch",
        once,
    ),
    Word(one_at_a_time(), DESK, "search fetch send", lambda done: SILENT if done.beside else FREE),
    Word(sequence(*DESK.split()), DESK, "", in_order),
    Word(until_called("send", required), DESK, "search send", lambda done: FREE if done.ok("send") else DEMAND),
    Word(only("search", "fetch"), DESK, "send search fetch", always(without("send"))),
    Word(when(late, none), DESK, "search fetch send", lambda done: SILENT if done.step > 1 else FREE),
    Word(rule(cautious), DESK, "search fetch send", lambda done: SILENT if done.step > 1 else FREE),
    Word(no_repeat(2), DESK, "search= search= search= fetch", always(FREE), repeated),
    Word(budget(3), DESK, "search fetch send search", total(3)),
    Word(budget(2, of="search"), DESK, "search search search fetch", total(2, "search")),
    Word(
        budget(4, weights={"scrape": 3}),
        "scrape search",
        "scrape scrape search search",
        total(4, cost={"scrape": 3, "search": 1}),
    ),
    Word(before_answer("verify"), "search verify", "search verify", lambda done: FREE if done.ok("verify") else DEMAND),
    Word(
        all_of("weather", "news"),
        "weather news search",
        "news weather",
        lambda done: FREE if done.ok("weather") and done.ok("news") else DEMAND,
    ),
    Word(
        any_of("search", "browse"),
        "search browse send",
        "send browse",
        lambda done: FREE if done.ok("search") or done.ok("browse") else DEMAND,
    ),
    Word(
        prerequisite("pay", "approve"),
        SHOP,
        "pay approve pay pay",
        lambda done: withheld(not done.ok("approve"), "pay"),
    ),
    Word(prerequisite("pay", "approve", each=True), SHOP, "pay approve pay pay approve", approved),
    Word(
        never_after("send_mail", "read_web"),
        "send_mail read_web search",
        "send_mail read_web search send_mail",
        lambda done: withheld(done.times("read_web"), "send_mail"),
    ),
    Word(
        must_follow("open_ticket", "close_ticket"),
        "open_ticket close_ticket search",
        "search open_ticket close_ticket",
        open_tickets,
    ),
    Word(cooldown("search", steps=2), DESK, "search search fetch send search", cooled),
    Word(
        fallback("search", then="backup", after=2),
        "search backup send",
        "search search backup",
        backed_up,
        fails="search",
    ),
    Word(
        where("pay", small),
        SHOP,
        "pay:50 pay:500",
        always(FREE),
        lambda call, _: call.name == "pay" and not is_small(call),
    ),
    Word(
        where("pay", small, otherwise="ask"),
        SHOP,
        "pay:50 pay:500 pay:5000",
        always(FREE),
        lambda call, _: call.name == "pay" and call["amount"] > 1000,  # noqa: PLR2004 (the approver's limit)
        asks=lambda call: call.name == "pay" and not is_small(call),
    ),
    Word(
        from_results("cancel", "order", of="list_orders"),
        "list_orders cancel search",
        "cancel:o-1 list_orders cancel:o-1 cancel:o-2",
        lambda done: withheld(not done.ok("list_orders"), "cancel"),
        lambda call, _: call.name == "cancel" and call["order"] not in (*ORDERS, ""),  # "" is its default
    ),
    Word(permitted(may_use), SHOP, "pay search", always(without("pay", "approve"))),
    Word(
        first(given("fetch", order="o-1")),
        DESK,
        "search",
        lambda done: FREE if done.step else Now("fetch", known={"order": "o-1"}),
    ),
    Word(MACHINE, "classify list_orders refund", "", triaged),
    Word(relevant(1), "refund play", "play refund", always(without("play"))),
    Word(
        before_answer("verify", scope="conversation"),
        "verify search",
        "search",
        lambda done: FREE if done.ok("verify") else DEMAND,
        earlier="verify",
    ),
    Word(budget(3, scope="conversation"), DESK, "search fetch send", total(3), earlier="search fetch"),
    Word(
        prerequisite("pay", "approve", each=True) & budget(3) & one_at_a_time(),
        SHOP,
        "approve pay approve pay",
        lambda done: SILENT if done.beside or done.times() > 2 else approved(done),  # noqa: PLR2004 (the budget)
    ),
)
