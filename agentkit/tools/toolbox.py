"""Toolboxes: tools by name."""

from collections.abc import Iterable, Iterator, Mapping

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

    def only(self, *names: str) -> "Toolbox":
        """Return a toolbox with the tools of these names.

        >>> Toolbox([read, write, delete]).only("read", "write")
        Toolbox(read, write)

        Raises:
            ToolDefinitionError: If there is no tool of a name.
        """
        self._check_names(names)
        return Toolbox([tool for tool in self if tool.name in names])

    def without(self, *names: str) -> "Toolbox":
        """Return a toolbox without the tools of these names.

        Raises:
            ToolDefinitionError: If there is no tool of a name.
        """
        self._check_names(names)
        return Toolbox([tool for tool in self if tool.name not in names])

    def prefixed(self, prefix: str) -> "Toolbox":
        """Return a toolbox whose tools have a prefix before their names, so that two of a kind fit side by side.

        >>> Toolbox([*files(home).prefixed("home_"), *files(work).prefixed("work_")])
        Toolbox(home_read, home_write, work_read, work_write)
        """
        return self.renamed({tool.name: prefix + tool.name for tool in self})

    def renamed(self, names: Mapping[str, str]) -> "Toolbox":
        """Return a toolbox in which some tools have other names.

        Args:
            names: The new names, by the old ones.

        Raises:
            ToolDefinitionError: If there is no tool of a name, a new one cannot be a name, or two tools have one.
        """
        self._check_names(names)
        return Toolbox([Tool.of(tool, name=names.get(tool.name)) for tool in self])

    def __add__(self, other: "Toolbox | Iterable[AnyFunction | Tool | Toolbox]") -> "Toolbox":
        """Return a toolbox with the tools of both."""
        return Toolbox([self, *other])

    def _check_names(self, names: Iterable[str]) -> None:
        if unknown := [name for name in names if name not in self]:
            raise ToolDefinitionError(f"{self!r} has no tool {unknown[0]!r}")

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
