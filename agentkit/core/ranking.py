"""Which of several texts fit a question: BM25 over their words, without a request."""

import re
from collections import Counter
from collections.abc import Mapping
from math import log

_K1, _B = 1.2, 0.75  # the usual weights of BM25: Robertson and Zaragoza, 2009
_WORD = re.compile(r"[^\W_]+")
_SHORT = 3


class Ranking:
    """Ranks texts, each known by a name.

    Args:
        texts: The texts by name.
    """

    __slots__ = ("_average", "_documents", "_holding")

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._documents = {name: Counter(_words(text)) for name, text in texts.items()}
        self._holding = Counter(word for words in self._documents.values() for word in words)
        self._average = sum(words.total() for words in self._documents.values()) / max(len(self._documents), 1)

    def scores(self, query: str) -> dict[str, float]:
        """Return the score of each text that shares a word with a query, the best first; equal ones in their order."""
        asked = set(_words(query))
        scores = {name: self._score(words, asked) for name, words in self._documents.items()}
        return dict(sorted([item for item in scores.items() if item[1] > 0], key=lambda item: -item[1]))

    def _score(self, words: "Counter[str]", asked: set[str]) -> float:
        length = _K1 * (1 - _B + _B * words.total() / self._average)
        return sum(
            log(1 + (len(self._documents) - self._holding[word] + 0.5) / (self._holding[word] + 0.5))
            * words[word]
            * (_K1 + 1)
            / (words[word] + length)
            for word in asked & words.keys()
        )


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case, without a plural's s, so that `invoices` finds `invoice`."""
    return [word.removesuffix("s") if len(word) > _SHORT else word for word in _WORD.findall(text.lower())]
