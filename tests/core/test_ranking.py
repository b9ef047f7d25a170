import pytest

from agentkit.core.ranking import Ranking

TEXTS = {
    "weather": "Look up the weather.",
    "forecast": "Look up the weather of the next days, hour by hour, with wind and rain.",
    "invoice": "Write an invoice.",
}


@pytest.mark.parametrize(("query", "names"), [
    ("What is the weather?", ["weather", "forecast"]),
    ("WIND and weather", ["forecast", "weather"]),
    ("two invoices", ["invoice"]),
    ("nothing of this", ["forecast"]),
    ("hello", []),
])  # fmt: skip
def test_the_texts_that_share_words_with_a_question(query: str, names: list[str]) -> None:
    scores = Ranking(TEXTS).scores(query)
    assert list(scores) == names
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert Ranking({}).scores(query) == {}
