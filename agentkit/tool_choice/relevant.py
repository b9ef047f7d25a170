"""Of hundreds of tools, those that fit the conversation: BM25 over names and descriptions, without a request."""

from collections.abc import Hashable
from dataclasses import field
from functools import lru_cache

from agentkit.core.checks import check_number
from agentkit.core.choice import ToolChoice
from agentkit.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from agentkit.core.parts import TextPart
from agentkit.core.ranking import Ranking
from agentkit.core.state import State
from agentkit.tool_choice.policy import Policy
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

FIND_TOOLS = "find_tools"
_RECENT, _LONGEST = 6, 4_000  # how many messages say what is wanted, and how much is read of each
_LINE = "\n"


class relevant(Policy):
    """Offer the tools whose name and description fit the conversation best: `relevant(k=8)`.

    Tools that were called before stay offered, and so do the tools that the rest of the policy names. The model can ask
    for others with the tool `find_tools`, which the agent gets with this policy: what it finds is offered from then on.

    Args:
        k: How many tools to offer, 1 or more.

    Raises:
        ConfigurationError: If `k` is below 1.
    """

    k: int
    _toolbox: Toolbox = field(default=Toolbox(), compare=False)
    _named: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        check_number("relevant(k)", self.k, least=1, whole=True)

    def __call__(self, state: State) -> ToolChoice:
        # What was refused is not offered for it, nor for the text of the refusal, which names tools.
        calls = [record for record in state.conversation.calls if record.outcome != "refused"]
        wanted = {FIND_TOOLS, *self._named}.union([record.call.name for record in calls])
        wanted.update(
            *[_found_in(record.result) for record in calls if record.call.name == FIND_TOOLS and record.outcome == "ok"]
        )
        fitting = ranked(self._toolbox, " ".join(map(_text, state.messages[-_RECENT:])))
        best = [name for name in fitting if name not in wanted][: self.k]
        return ToolChoice(tools=frozenset(wanted & self._toolbox.names).union(best))

    def bound(self, toolbox: Toolbox) -> "relevant":
        """Return the policy with the tools that it chooses from."""
        return relevant(self.k, toolbox, self._named)

    def provided(self, toolbox: Toolbox) -> tuple[Tool, ...]:
        """Return `find_tools`."""
        return () if FIND_TOOLS in toolbox else (find_tools(toolbox, self.k),)

    def knowing(self, named: frozenset[str]) -> "relevant":
        """Return the policy with the tools that are always offered."""
        return relevant(self.k, self._toolbox, named)

    def memory(self, state: State) -> Hashable:
        """Return what is offered; what the model can say next is not known to analysis."""
        return self(state)


def find_tools(toolbox: Toolbox, k: int) -> Tool:
    """Return the tool by which a model asks for tools that are not offered."""

    def find_tools(query: str) -> str:
        """Find tools that are not offered yet; those that are found are offered from the next step on.

        Args:
            query: What the tool should do, in a few words.
        """
        found = [tool for name in ranked(toolbox, query)[:k] if (tool := toolbox.get(name))]
        return "\n".join([f"{tool.name}: {tool.spec.description.partition(_LINE)[0]}" for tool in found])

    return Tool.of(find_tools)


def _found_in(result: str) -> list[str]:
    """Return the first word of each line: in a result of `find_tools`, the names of the tools that it found."""
    return [line.partition(":")[0] for line in result.splitlines()]


@lru_cache(maxsize=16)  # a toolbox never changes
def _ranking(toolbox: Toolbox) -> Ranking:
    return Ranking({tool.name: f"{tool.name} {tool.spec.description}" for tool in toolbox})


def ranked(toolbox: Toolbox, query: str) -> list[str]:
    """Return the names of the tools that share a word with a query, the best first; equal ones in their order."""
    return list(_ranking(toolbox).scores(query))


def _text(message: Message) -> str:
    if not isinstance(message, UserMessage | AssistantMessage | ToolMessage):
        return ""
    if isinstance(message, ToolMessage) and message.outcome == "refused":
        return ""
    content = message.content or ""
    text = (
        content if isinstance(content, str) else " ".join(part.text for part in content if isinstance(part, TextPart))
    )
    return text[:_LONGEST]
