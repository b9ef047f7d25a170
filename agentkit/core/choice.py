"""The tool choice: what one request lets the model do, and whether a reply kept to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["auto", "required", "tool", "none"]


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """What one request lets the model do.

    Attributes:
        mode: `auto`: answer or call; `required`: call some tool; `tool`: call the named tool; `none`: answer.
        tool: The name of the one tool, with mode `tool`.
        tools: The names of the tools that are offered; `None` offers them all.
        withheld: The names of tools that are not offered, even if `tools` has them.
        firm: Whether a text answer is forbidden. A plain `required` only asks for a call.
    """

    mode: Mode = "auto"
    tool: str | None = None
    tools: frozenset[str] | None = None
    withheld: frozenset[str] = frozenset()
    firm: bool = False

    def __str__(self) -> str:
        offered = "" if self.tools is None else f" of {', '.join(sorted(self.tools))}"
        withheld = f" without {', '.join(sorted(self.withheld))}" if self.withheld else ""
        return f"{self.tool if self.mode == 'tool' else self.mode}{offered}{withheld}"

    def offers(self, tool: str) -> bool:
        """Whether a tool is offered."""
        return (self.tools is None or tool in self.tools) and tool not in self.withheld

    def violated_by(self, called: Sequence[str], known: frozenset[str]) -> str | None:
        """Return how a reply broke this choice, or `None` if it obeyed.

        Args:
            called: The names of the tools that the reply calls; empty for a text answer.
            known: The names of all tools. A call of an unknown tool gets its own tool result.
        """
        if self.mode == "none":
            return "it called a tool where none may be called" if called else None
        if self.mode == "tool" and list(called) != [self.tool]:
            if set(called) == {self.tool}:
                return f"it called {self.tool} {len(called)} times at once"
            did = f"called {', '.join(called)}" if called else "answered"
            return f"it {did} where {self.tool} must be called"
        if self.mode == "required" and not called:
            return "it answered where a tool must be called"
        hidden = [name for name in called if name in known and not self.offers(name)]
        return f"it called {', '.join(hidden)}, which is not offered now" if hidden else None

    def to_wire(self) -> object:
        """Return the value of the request's field `tool_choice`."""
        if self.mode == "tool":
            return {"type": "function", "function": {"name": self.tool}}
        return self.mode


AUTO = ToolChoice()
