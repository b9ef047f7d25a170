"""Of hundreds of tools, those that fit the conversation: BM25 over names and descriptions, without a request."""

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import field
from functools import lru_cache
from math import log

from agentkit.core.checks import check_number
from agentkit.core.choice import ToolChoice
from agentkit.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from agentkit.core.parts import TextPart
from agentkit.core.state import State
from agentkit.tool_choice.policy import Policy
from agentkit.tools.tool import Tool
from agentkit.tools.toolbox import Toolbox

FIND_TOOLS = "find_tools"
_K1, _B = 1.2, 0.75  # the usual weights of BM25: Robertson and Zaragoza, 2009
_WORD = re.compile(r"[^\W_]+")
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
def _documents(toolbox: Toolbox) -> tuple[dict[str, Counter[str]], Counter[str]]:
    """Return the words of each tool, and how many tools have each word."""
    documents = {tool.name: Counter(_words(f"{tool.name} {tool.spec.description}")) for tool in toolbox}
    return documents, Counter(word for words in documents.values() for word in words)


def ranked(toolbox: Toolbox, query: str) -> list[str]:
    """Return the names of the tools that share a word with a query, the best first; equal ones in their order."""
    documents, holding = _documents(toolbox)
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
    if isinstance(message, ToolMessage) and message.outcome == "refused":
        return ""
    content = message.content or ""
    text = (
        content if isinstance(content, str) else " ".join(part.text for part in content if isinstance(part, TextPart))
    )
    return text[:_LONGEST]
