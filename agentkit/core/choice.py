"""The tool choice: what one request lets the model do, and whether a reply kept to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

Mode: TypeAlias = Literal["auto", "required", "tool", "none"]


class Values(NamedTuple):
    """The only values that an argument of a tool may have."""

    tool: str
    parameter: str
    allowed: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call may run: `allow`, `ask("why")` or `deny("why")`.

    `&` takes the stricter of two and joins their reasons: `deny` over `ask` over `allow`.

    Attributes:
        kind: `allow`: it runs; `ask`: an approver decides; `deny`: the model is answered why it does not run.
        reason: Why, for the approver or the model: what is missing, and what would change it.
        by: The policy that decided so, as code; `&` fills it in.
    """

    kind: Literal["allow", "ask", "deny"]
    reason: str = ""
    by: str = ""

    def __and__(self, other: "Verdict") -> "Verdict":
        if self.kind != other.kind:
            return min(self, other, key=lambda verdict: _STRICT.index(verdict.kind))
        if self == other or self.kind == "allow":
            return self
        return Verdict(self.kind, _joined(self.reason, "; ", other.reason), _joined(self.by, " & ", other.by))

    def blamed(self, policy: object) -> "Verdict":
        """Return the verdict with the policy that gave it, unless it has one, or allows the call."""
        return self if self.by or self.kind == "allow" else Verdict(self.kind, self.reason, str(policy))


def _joined(one: str, by: str, other: str) -> str:
    """Join two texts, unless the first has the second already."""
    return one if f"{by}{other}{by}" in f"{by}{one}{by}" else f"{one}{by}{other}"


_STRICT = ("deny", "ask", "allow")
allow = Verdict("allow")


def ask(reason: str) -> Verdict:
    """Have an approver decide on a call, as `@tool(approval=True)` does."""
    return Verdict("ask", reason)


def deny(reason: str) -> Verdict:
    """Answer a call with a reason instead of running it."""
    return Verdict("deny", reason)


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """What one request lets the model do.

    Attributes:
        mode: `auto`: answer or call; `required`: call some tool; `tool`: call the named tool; `none`: answer.
        tool: The name of the one tool, with mode `tool`.
        tools: The names of the tools that are offered; `None` offers them all.
        withheld: The names of tools that are not offered, even if `tools` has them.
        firm: Whether a text answer is forbidden. A plain `required` only asks for a call.
        once: Whether the reply may have one call at most: `parallel_tool_calls: false` where the profile knows it.
        values: The only values that an argument may have: an `enum` in the schema that is offered.
        arguments: The arguments of `tool`, as JSON, if they are known: the call is made without asking the model.
        by: The parts of the policy that narrowed the choice, as code, if it has several parts.
    """

    mode: Mode = "auto"
    tool: str | None = None
    tools: frozenset[str] | None = None
    withheld: frozenset[str] = frozenset()
    firm: bool = False
    once: bool = False
    values: tuple["Values", ...] = field(default=(), hash=False)  # a value may be a list
    arguments: str | None = None
    by: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        offered = "" if self.tools is None else f" of {', '.join(sorted(self.tools))}"
        withheld = f" without {', '.join(sorted(self.withheld))}" if self.withheld else ""
        return f"{self.tool if self.mode == 'tool' else self.mode}{offered}{withheld}"

    def offers(self, tool: str) -> bool:
        """Whether a tool is offered."""
        return (self.tools is None or tool in self.tools) and tool not in self.withheld

    def permits(self, tool: str) -> bool:
        """Whether a call of a tool may run under this choice."""
        return self.mode != "none" and self.tool in (None, tool) and self.offers(tool)

    def violated_by(self, called: Sequence[str], known: frozenset[str]) -> str | None:
        """Return how a reply as a whole broke this choice: nothing came of what was demanded. `None` if it obeyed.

        Calls that are not permitted break the choice only if no other call is: they are answered one by one.

        Args:
            called: The names of the tools that the reply calls; empty for a text answer.
            known: The names of all tools. A call of an unknown tool gets its own tool result.
        """
        free = self.mode in ("auto", "required")
        if any(self.permits(name) if name in known else free for name in called):
            return None
        did = f"called {', '.join(dict.fromkeys(called))}" if called else "answered"
        if self.mode == "none":
            return "it called a tool where none may be called" if called else None
        if self.mode == "tool":
            return f"it {did} where {self.tool} must be called"
        if called:
            return f"it {did}, which is not offered now"
        return "it answered where a tool must be called" if self.mode == "required" else None

    def to_wire(self) -> object:
        """Return the value of the request's field `tool_choice`."""
        if self.mode == "tool":
            return {"type": "function", "function": {"name": self.tool}}
        return self.mode


AUTO = ToolChoice()
