"""Toolboxes: tools by name."""

from collections.abc import Iterable, Iterator

from agentkit.core.chat import ToolSpec
from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.callables import callable_name
from agentkit.tools.tool import AnyFunction, Tool, marked_tool


class Toolbox:
    """Tools by name. A frozen value.

    Args:
        tools: Functions, tools, and other toolboxes, whose tools are added. The same tool may be given twice.

    Raises:
        ToolDefinitionError: If one cannot be a tool, or two have one name.
    """

    __slots__ = ("_tools", "names", "specs")

    def __init__(self, tools: "Iterable[AnyFunction | Tool | Toolbox]" = ()) -> None:
        added: list[Tool] = []
        for tool in tools:
            if (marked := marked_tool(tool)) is not None:  # asked first: it is nearly every tool
                added.append(marked)
            elif isinstance(tool, Toolbox):
                added += tool
            else:
                added.append(tool if isinstance(tool, Tool) else Tool.of(tool))
        self._tools: dict[str, Tool] = {tool.spec.name: tool for tool in added}
        if len(self._tools) < len(added):
            for tool in added:
                if (other := self._tools[tool.name]) is not tool:
                    raise ToolDefinitionError(
                        f"two tools have the name {tool.name!r}: {callable_name(tool.function)} and "
                        f"{callable_name(other.function)}; rename one with tool(name=…) or Tool.of(it, name=…)"
                    )
        self.specs: tuple[ToolSpec, ...] = tuple([tool.spec for tool in self._tools.values()])
        self.names: frozenset[str] = frozenset(self._tools)

    def get(self, name: str) -> Tool | None:
        """Return the tool of that name, or `None`."""
        return self._tools.get(name)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __repr__(self) -> str:
        return f"Toolbox({', '.join(self._tools)})"
