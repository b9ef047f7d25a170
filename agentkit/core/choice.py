"""What one request lets the model do."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["auto", "required", "tool", "none"]


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """What one request lets the model do.

    Attributes:
        mode: `auto`: answer or call; `required`: call some tool; `tool`: call the one that is named; `none`: answer.
        tool: The name of the one tool, with mode `tool`.
        tools: The names of the tools that are offered; `None` offers them all.
        withheld: The names of tools that are not offered all the same.
        firm: Whether an answer is ruled out, and not just another thing wished for.
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
        """Tell whether a tool is offered."""
        return (self.tools is None or tool in self.tools) and tool not in self.withheld

    def to_wire(self) -> object:
        """Give the choice as the wire has it."""
        if self.mode == "tool":
            return {"type": "function", "function": {"name": self.tool}}
        return self.mode


AUTO = ToolChoice()
