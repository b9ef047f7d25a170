"""The tools of a server as tools of an agent.

Within the event loop that opened the server, any number of runs may call its tools concurrently.
"""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias, cast

from mcp import types

from agentkit.core.chat import FINAL_ANSWER, ToolSpec
from agentkit.core.errors import ConfigurationError, RunCancelled, ToolError
from agentkit.core.parts import ImagePart
from agentkit.mcp.connection import AnyServer, Connection
from agentkit.tool_choice.relevant import FIND_TOOLS
from agentkit.tools.context import InjectedParameter, ToolContext
from agentkit.tools.options import ToolOptions
from agentkit.tools.results import result_text
from agentkit.tools.schema.json_schema import lenient_arguments
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox
from agentkit.tools.truncation import READ_RESULT

McpApproval: TypeAlias = bool | Literal["destructive"]
"""Which tools of a server need approval: all, none, or those that may destroy something."""

ResultValue: TypeAlias = str | list[str | ImagePart]
"""What a call returns: text, or text and images."""

_CONTEXT = "the run's context"  # no parameter of a server's tool has this name
_INJECTED = (InjectedParameter(_CONTEXT, None),)
_MAX_NAME = 64
_BUILT_IN = frozenset({READ_RESULT, FIND_TOOLS, FINAL_ANSWER})  # a server's tool must not answer in their place


@asynccontextmanager
async def mcp_tools(  # noqa: PLR0913 (each is an option of its own)
    server: AnyServer,
    *,
    only: Collection[str] | None = None,
    rename: Mapping[str, str] | None = None,
    prefix: str = "",
    approval: McpApproval = False,
    once: bool = False,
    timeout: float | None = 60.0,  # noqa: ASYNC109 (of each call)
    max_tools: int = 1000,
) -> AsyncGenerator[Toolbox]:
    """Connect to a server and return its tools; the end of the block disconnects.

        async with mcp_tools(StdioServer("my-server")) as tools:
            await Agent("gpt-4o", tools=[tools]).run("…")

    Args:
        server: The server.
        only: The names of the server's tools to take; all by default.
        rename: New names for some tools, by the server's names.
        prefix: A prefix for the names of the other tools. In these, a character that endpoints refuse becomes `_`.
        approval: Which calls need approval: `True` for all, `"destructive"` for those of every tool that does not claim
            to be read-only or non-destructive. agentkit cannot verify what a server claims.
        once: Whether a tool has `effect="once"` unless it claims to be read-only or idempotent.
        timeout: Seconds per call, and for connecting; `None` for no limit.
        max_tools: How many tools the server may list.

    Raises:
        ServerFailed: If the server cannot be opened, lists too many tools or two with one name; the text hides its
            secrets.
        ConfigurationError: If `only` or `rename` names a tool that is not there, or two tools would have one name, or
            one that of a tool of agentkit's.
    """
    connection = Connection(server, timeout, max_tools)
    async with connection.opened() as listed:
        names = _choose_names(listed, only, dict(rename or {}), prefix)
        session = _Session(connection, timeout)
        yield Toolbox([session.tool(listed[own], name, approval, once=once) for own, name in names.items()])


def _choose_names(
    listed: Collection[str], only: Collection[str] | None, rename: Mapping[str, str], prefix: str
) -> dict[str, str]:
    """Return the names that the model sees, by the server's names."""
    for name in (*(only or ()), *rename):
        if name not in listed:
            raise ConfigurationError(f"the server has no tool {name!r}; it has {', '.join(sorted(listed)) or 'none'}")
    taken: dict[str, str] = {}
    for name in listed if only is None else [name for name in listed if name in only]:
        shown = rename.get(name) or _valid_name(prefix + name)
        if shown in _BUILT_IN or shown in taken:
            raise ConfigurationError(
                f"{name!r} of the server would be {shown!r}, the name of "
                f"{repr(taken[shown]) if shown in taken else 'a tool of agentkit'}; use rename or prefix"
            )
        taken[shown] = name
    return {name: shown for shown, name in taken.items()}


def _valid_name(name: str) -> str:
    valid = [char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in name]
    return "".join(valid)[:_MAX_NAME]


class _Session:
    """The tools of a connection."""

    def __init__(self, connection: Connection, seconds: float | None) -> None:
        self._connection = connection
        self._seconds = seconds

    def tool(self, listed: types.Tool, name: str, approval: McpApproval, *, once: bool) -> Tool:
        """Make a tool of a server's. If its schema cannot be enforced here, only the server checks the arguments."""
        hints = listed.annotations or types.ToolAnnotations()
        harmless = hints.read_only_hint is True or hints.destructive_hint is False
        repeatable = hints.read_only_hint is True or hints.idempotent_hint is True
        options = ToolOptions(
            name=listed.name,
            timeout=self._seconds,
            approval=not harmless if approval == "destructive" else approval,
            effect="once" if once and not repeatable else None,
        )
        arguments = lenient_arguments(name, listed.input_schema, _INJECTED)

        async def call(**given: object) -> ResultValue:
            context = cast("ToolContext[object]", given.pop(_CONTEXT))
            return await self._call(listed.name, given, context)

        spec = ToolSpec(listed.name, listed.description or listed.title or "", arguments.schema)
        return Tool.of(Tool(call, options, spec, arguments, "async"), name=name)

    async def _call(self, name: str, arguments: dict[str, object], context: ToolContext[object]) -> ResultValue:
        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            fields = {"progress": progress, "total": total, "message": message}
            try:
                context.progress({key: value for key, value in fields.items() if value is not None})
            except RunCancelled:  # it came after the result
                return

        result = await self._connection.call(name, arguments, on_progress)
        if not result.is_error:
            return _result_value(result)
        raise ToolError(result_text(_result_value(result)) or "the tool failed without an error message")


def _result_value(result: types.CallToolResult) -> ResultValue:
    """Return the content of a result; its structured content, which mostly repeats it, if that says nothing."""
    parts = [_content_part(content) for content in result.content]
    images = [part for part in parts if isinstance(part, ImagePart)]
    texts = [part for part in parts if isinstance(part, str)]
    if result.structured_content is not None and not images and not "".join(texts).strip():
        texts = [result_text(result.structured_content)]
    text = "\n".join(texts)
    return [*([text] if text else []), *images] if images else text


def _content_part(content: types.ContentBlock) -> str | ImagePart:
    match content:
        case types.TextContent(text=text):
            return text
        case types.ImageContent(data=data, mime_type=kind):
            return ImagePart(f"data:{kind};base64,{data}")
        case types.AudioContent(mime_type=kind):
            return f"[audio that cannot be shown: {kind}]"
        case types.ResourceLink(uri=uri, name=name, description=description):
            return f"[{name}: {uri}]" + (f" {description}" if description else "")
        case embedded:
            return _resource_part(embedded.resource)


def _resource_part(resource: types.TextResourceContents | types.BlobResourceContents) -> str | ImagePart:
    if isinstance(resource, types.TextResourceContents):
        return resource.text
    kind = resource.mime_type or "unknown type"
    if kind.startswith("image/"):
        return ImagePart(f"data:{kind};base64,{resource.blob}")
    return f"[a file that cannot be shown: {resource.uri}, {kind}]"
