"""Docstrings in four styles: the description word for word, each parameter on one line, and no section left behind."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools.schema.docstrings import parse
from tests.tools.schema.values import named

# A name, the docstring as it stands in the code, the description, the parameters.
# fmt: off
CASES: list[tuple[str, str, str, dict[str, str]]] = [
    ("nothing", "", "", {}),
    ("blanks", "    ", "", {}),
    ("summary", "Look up the weather.", "Look up the weather.", {}),
    ("summary and paragraphs", "Look up the weather.\n\nIt is that of today,\nmeasured at noon.\n\n    indented\n      more\n\nDone.", "Look up the weather.\n\nIt is that of today,\nmeasured at noon.\n\n    indented\n      more\n\nDone.", {}),
    ("google", """Look up the weather.

    Args:
        city: The city's name.
        unit (str): The unit
            of temperature.
        *more: Others.
        **options (int, optional): And options.

    Returns:
        dict: What it is like.

    Raises:
        ValueError: If there is none.

    Yields:
        Reports.
    """, "Look up the weather.", {"city": "The city's name.", "unit": "The unit of temperature.", "more": "Others.", "options": "And options."}),
    ("google without blank lines", "Add.\nArgs:\n    a: One.\n    b: Two.\nReturns:\n    Both.\nRaises:\n    ValueError: Never.", "Add.", {"a": "One.", "b": "Two."}),
    ("google with types", 'Add.\n\nArgs:\n    a (dict[str, tuple[int, ...]]): One: the first.\n    b (Literal["x: y", "z"]): Two.\n    c (Callable[[int], str], optional): Three (of them): yes.\n    d : Four.\n    e(int): Five.', "Add.", {"a": "One: the first.", "b": "Two.", "c": "Three (of them): yes.", "d": "Four.", "e": "Five."}),
    ("google with paragraphs and lists in a description", "Add.\n\nArgs:\n    a: One:\n\n        - this\n        - that: see https://example.com/a:b\n\n    b: Two.\n\n        Another paragraph.", "Add.", {"a": "One: - this - that: see https://example.com/a:b", "b": "Two. Another paragraph."}),
    ("google with an indentation of two", "Add.\n\nArgs:\n  a: One,\n    continued.\n  b: Two.", "Add.", {"a": "One, continued.", "b": "Two."}),
    ("google with every name of a section", "Add.\n\nArguments:\n    a: A.\nParams:\n    b: B.\nParameters:\n    c: C.\nKeyword Args:\n    d: D.\nKeyword Arguments:\n    e: E.\nOther Parameters:\n    f: F.\nReturn:\n    it\nYield:\n    it\nWarns:\n    UserWarning: sometimes\nExceptions:\n    ValueError: sometimes", "Add.", {"a": "A.", "b": "B.", "c": "C.", "d": "D.", "e": "E.", "f": "F."}),
    ("google with what is to be kept", "Add.\n\nMore of it.\n\nArgs:\n    a: One.\n\nNote:\n    Slow.\n\nReturns:\n    It.\n\nExample:\n    >>> add(1)\n    1\n\nA last paragraph: the end.", "Add.\n\nMore of it.\n\nNote:\n    Slow.\n\nExample:\n    >>> add(1)\n    1\n\nA last paragraph: the end.", {"a": "One."}),
    ("google with a result on one line", "Add.\n\nArgs:\n    a: One.\nReturns: int, the\n    sum.\nRaises: ValueError", "Add.", {"a": "One."}),
    ("google with a description below the name", "Add.\n\nArgs:\n    a:\n        One.\n    b (int):\n        Two.", "Add.", {"a": "One.", "b": "Two."}),
    ("google without descriptions", "Add.\n\nArgs:\n    a:\n    b (int):\n    c: Three.", "Add.", {"c": "Three."}),
    ("google that begins with a section", "Args:\na: One,\n    continued.\nb: Two.", "", {"a": "One, continued.", "b": "Two."}),
    ("google that begins with a section and goes on", "Args:\n    a: One.\n\nReturns:\n    It.\n\nA paragraph.", "A paragraph.", {"a": "One."}),
    ("google, malformed: no colon", "Add.\n\nArgs:\n    a: One.\n    b - Two.\n    c: Three.", "Add.", {"a": "One.", "c": "Three."}),
    ("google, malformed: nothing in it", "Add.\n\nArgs:\n\nReturns:", "Add.", {}),
    ("google, malformed: not indented", "Add.\n\nArgs:\na: One.", "Add.\n\na: One.", {}),
    ("google, malformed: no colon in another section", "Add.\n\nArgs:\n    a: One.\n\nRaises:\n    when it rains", "Add.", {"a": "One."}),
    ("numpy", """Look up the weather.

    It is that of today.

    Parameters
    ----------
    city : str
        The city's
        name.
    unit : {"c", "f"}, optional
        The unit.
    lat, lon : float
        Where.
    *more : int
        Others.
    bare
        No type.
    undescribed : int

    Returns
    -------
    dict
        What it is like.

    Raises
    ------
    ValueError
        If there is none.
    """, "Look up the weather.\n\nIt is that of today.", {"city": "The city's name.", "unit": "The unit.", "lat": "Where.", "lon": "Where.", "more": "Others.", "bare": "No type."}),
    ("numpy without blank lines", "Add.\nParameters\n----------\na : int\n    One.\nReturns\n-------\nint\nOther Parameters\n----------------\nb : dict[str, Callable[[int], str]]\n    Two: too.", "Add.", {"a": "One.", "b": "Two: too."}),
    ("numpy with what is to be kept", "Add.\n\nParameters\n----------\na : int\n    One.\n\n    Another paragraph.\n\nNotes\n-----\nSlow.\n\nYields\n------\nint\n\nExamples\n--------\n>>> add(1)", "Add.\n\nNotes\n-----\nSlow.\n\nExamples\n--------\n>>> add(1)", {"a": "One. Another paragraph."}),
    ("numpy with paragraphs after it", "Add.\n\nParameters\n----------\na : int\n    One.\n\nb : int\n    Two.\n\nA last paragraph\nof two lines.\n\nAnd one more.", "Add.\n\nA last paragraph\nof two lines.\n\nAnd one more.", {"a": "One.", "b": "Two."}),
    ("numpy that begins with a section", "Parameters\n----------\na : int\n    One.", "", {"a": "One."}),
    ("numpy, malformed", "Add.\n\nParameters\n----------\n\nRaises\n------", "Add.", {}),
    ("rest", "Look up the weather.\n\n    It is that of today.\n\n    :param city: The city's\n        name.\n    :type city: str\n    :param dict[str, int] unit: The unit: of temperature.\n    :param tuple[int, ...] *more: Others.\n    :param int? maybe: Perhaps.\n    :param undescribed:\n    :keyword late: Later.\n    :returns: What it is like.\n    :rtype: dict\n    :raises ValueError: If there is: none.\n    :yields: Reports.\n    ", "Look up the weather.\n\nIt is that of today.", {"city": "The city's name.", "unit": "The unit: of temperature.", "more": "Others.", "maybe": "Perhaps.", "late": "Later."}),
    ("rest without blank lines", "Add.\n:param a: One.\n:arg b: Two,\ncontinued at the margin.\n:return: Both.", "Add.", {"a": "One.", "b": "Two, continued at the margin."}),
    ("rest with a type that has a colon", "Add.\n\n:param Callable[[x: int], str] a: One: this b: that.", "Add.", {"a": "One: this b: that."}),
    ("rest with paragraphs after it", "Add.\n\n:param a: One.\n\n    Another paragraph.\n:returns: It.\n\nA last paragraph: the end.\n\n.. note:: Slow.", "Add.\n\nA last paragraph: the end.\n\n.. note:: Slow.", {"a": "One. Another paragraph."}),
    ("rest that begins with a section", ":param a: One.\n:param b: Two.", "", {"a": "One.", "b": "Two."}),
    ("rest, malformed", "Add.\n\n:param a: One.\n:param: Nameless.\n:param two words and more: Three.\n:param no colon", "Add.\n\n:param no colon", {"a": "One.", "more": "Three."}),
    ("epydoc", "Look up the weather.\n\n    @param city: The city's\n        name.\n    @type city: str\n    @arg unit: The unit.\n    @keyword late: Later.\n    @return: The type x: of it.\n    @rtype: dict\n    @raise ValueError: If there is none.\n    ", "Look up the weather.", {"city": "The city's name.", "unit": "The unit.", "late": "Later."}),
    ("epydoc with paragraphs after it", "Add.\n@param a: One.\n\nA last paragraph.", "Add.\n\nA last paragraph.", {"a": "One."}),
    ("prose with the words of a section", "Sum: add up.\n\nIt says Returns: or Args: in a sentence, and Raises nothing.\nReturns the sum. Parameters are numbers.\nNote: x must be positive. Send mail to a@param.example.\n\n    Args:\n        not: a section\n\nUse ``:param x:`` or @param in a docstring.", "Sum: add up.\n\nIt says Returns: or Args: in a sentence, and Raises nothing.\nReturns the sum. Parameters are numbers.\nNote: x must be positive. Send mail to a@param.example.\n\n    Args:\n        not: a section\n\nUse ``:param x:`` or @param in a docstring.", {}),
    ("code that looks like a section", 'Run it::\n\n    def f():\n        """F.\n\n        Returns:\n            it\n        """\n\nArgs:\n    a: One.', 'Run it::\n\n    def f():\n        """F.\n\n        Returns:\n            it\n        """', {"a": "One."}),
    ("a table that is not a section", "Prices.\n\nName\n----\ntea", "Prices.\n\nName\n----\ntea", {}),
]
# fmt: on


@pytest.mark.parametrize(("docstring", "description", "parameters"), named(CASES))
def test_docstrings(docstring: str, description: str, parameters: dict[str, str]) -> None:
    assert parse(inspect.cleandoc(docstring)) == (description, parameters)


LINES = st.sampled_from([line for case in CASES for line in case[1].splitlines()])


@given(st.lists(LINES | st.text(" \t:@*()[]-\\abA,", max_size=12), max_size=12).map("\n".join))
def test_nothing_is_ever_raised(docstring: str) -> None:
    described = parse(inspect.cleandoc(docstring))
    assert all("\n" not in text for text in described.parameters.values())


@given(st.lists(st.from_regex(r"[A-Z][a-z,. ]{0,20}[a-z.]", fullmatch=True), min_size=1, max_size=4))
def test_paragraphs_are_kept_word_for_word(paragraphs: list[str]) -> None:
    text = "\n\n".join(paragraphs)
    section = "Args:\n    a: One.\n    b: Two."
    assert parse(text) == (text, {})
    assert parse(f"{text}\n\n{section}") == (text, {"a": "One.", "b": "Two."})
    assert parse(f"{paragraphs[0]}\n\n{section}\n\n{text}").description == f"{paragraphs[0]}\n\n{text}"
