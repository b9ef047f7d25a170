"""Toolboxes: tools by name."""

from collections.abc import Iterable, Iterator

from agentkit.core.chat import ToolSpec
from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.signature import callable_name
from agentkit.tools.tool import AnyFunction, Tool


class Toolbox:
    """Tools by name. A frozen value.

    Args:
        tools: Functions, tools, and other toolboxes, whose tools are taken one by one.

    Raises:
        ToolDefinitionError: If one cannot be a tool, or two have one name.
    """

    __slots__ = ("_tools", "names", "specs")

    def __init__(self, tools: "Iterable[AnyFunction | Tool | Toolbox]" = ()) -> None:
        made: list[Tool] = []
        for each in tools:
            made += each if isinstance(each, Toolbox) else (Tool.of(each),)
        self._tools: dict[str, Tool] = {each.spec.name: each for each in made}
        if len(self._tools) < len(made):
            self._check(made)
        self.specs: tuple[ToolSpec, ...] = tuple([each.spec for each in self._tools.values()])
        self.names: frozenset[str] = frozenset(self._tools)

    def _check(self, made: Iterable[Tool]) -> None:
        """Allow one tool to be given twice, and no two of one name."""
        for each in made:
            if (other := self._tools[each.name]) is not each:
                raise ToolDefinitionError(
                    f"two tools have the name {each.name!r}: {callable_name(each.function)} and {callable_name(other.function)}; "
                    "rename one with tool(name=…) or Tool.of(it, name=…)"
                )

    def get(self, name: str) -> Tool | None:
        """Give the tool of that name, or `None`."""
        return self._tools.get(name)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __repr__(self) -> str:
        return f"Toolbox({', '.join(self._tools)})"
