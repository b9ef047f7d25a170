"""What several laws draw."""

from functools import partial

from hypothesis import strategies as st

any_text = partial(st.text, st.characters(exclude_categories=["Cs"]))
"""Draw text: what `st.text()` draws, without its table of a codec, which takes seconds in each process of a fresh clone."""
