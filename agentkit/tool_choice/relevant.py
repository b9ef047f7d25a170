"""Of hundreds of tools, those that fit the conversation: BM25 over names and descriptions, without a request."""

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import field
from math import log

from agentkit.core.choice import ToolChoice
from agentkit.core.errors import ConfigurationError
from agentkit.core.messages import AssistantMessage, Message, TextPart, ToolMessage, UserMessage
from agentkit.core.state import State
from agentkit.tool_choice.policy import Policy
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

FIND_TOOLS = "find_tools"
_K1, _B = 1.2, 0.75  # the usual weights of BM25: Robertson and Zaragoza, 2009
_WORD = re.compile(r"[^\W_]+")
_RECENT = 6
_LINE = "\n"


class relevant(Policy):
    """Offer the tools whose name and description fit the conversation best: `relevant(k=8)`.

    Tools that were called before stay offered, and so do the tools that the rest of the policy names. The model can
    ask for others with the tool `find_tools`, which the agent gets with this policy; what it finds stays offered too.

    Args:
        k: How many tools to offer, 1 or more.

    Raises:
        ConfigurationError: If `k` is below 1.
    """

    k: int
    _toolbox: Toolbox = field(default=Toolbox(), compare=False)
    _named: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigurationError(f"relevant(k) offers at least 1 tool, not {self.k!r}")

    def __call__(self, state: State) -> ToolChoice:
        kept = {FIND_TOOLS, *self._named}
        for record in (*state.earlier, *state.calls):
            kept.add(record.call.name)
            if record.call.name == FIND_TOOLS and record.outcome == "ok":
                kept.update([line.partition(":")[0] for line in record.result.splitlines()])
        best = ranked(self._toolbox, " ".join(map(_text, state.messages[-_RECENT:])))[: self.k]
        return ToolChoice(tools=frozenset(kept & self._toolbox.names).union(best))

    def bound(self, toolbox: Toolbox) -> "relevant":
        return relevant(self.k, toolbox, self._named)

    def provided(self, toolbox: Toolbox) -> tuple[Tool, ...]:
        return () if FIND_TOOLS in toolbox else (find_tools(toolbox, self.k),)

    def knowing(self, named: frozenset[str]) -> "relevant":
        return relevant(self.k, self._toolbox, named)

    def memory(self, state: State) -> Hashable:
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


def ranked(toolbox: Toolbox, query: str) -> list[str]:
    """Return the names of the tools that share a word with a query, the best first; equal ones in their order."""
    documents = {tool.name: Counter(_words(f"{tool.name} {tool.spec.description}")) for tool in toolbox}
    holding = Counter(word for words in documents.values() for word in words)
    average = sum(words.total() for words in documents.values()) / max(len(documents), 1)
    asked = set(_words(query))

    def score(words: Counter[str]) -> float:
        length = _K1 * (1 - _B + _B * words.total() / average)
        return sum(
            log(1 + (len(documents) - holding[word] + 0.5) / (holding[word] + 0.5))
            * words[word]
            * (_K1 + 1)
            / (words[word] + length)
            for word in asked & words.keys()
        )

    scores = {name: score(words) for name, words in documents.items()}
    return sorted([name for name, value in scores.items() if value > 0], key=lambda name: -scores[name])


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case, without a plural's s, so that `invoices` finds `invoice`."""
    return [word.removesuffix("s") if len(word) > 3 else word for word in _WORD.findall(text.lower())]  # noqa: PLR2004


def _text(message: Message) -> str:
    if not isinstance(message, UserMessage | AssistantMessage | ToolMessage):
        return ""
    content = message.content or ""
    return (
        content if isinstance(content, str) else " ".join(part.text for part in content if isinstance(part, TextPart))
    )
