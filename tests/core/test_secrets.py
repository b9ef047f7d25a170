import copy
import json
import pickle
from typing import cast
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.errors import EndpointError, IncompleteReply, MalformedReply, ModelError
from agentkit.core.messages import ToolCall
from agentkit.core.secrets import Secret, Secrets

KEY = "sk-canary-5f2b91c07d"


def test_a_secret_does_not_show_and_is_not_stored() -> None:
    secret = Secret(KEY)
    assert (repr(secret), str([secret]), secret == KEY) == ("'…'", "['…']", True)
    assert copy.deepcopy([secret])[0] is secret
    with pytest.raises(TypeError, match="a client holds a key and is not pickled"):
        pickle.dumps(secret)
    assert KEY not in repr(Secrets([KEY])._known)


@pytest.mark.parametrize(("text", "shown"), [
    ("", ""),
    ("nothing", "nothing"),
    (KEY, "…"),
    (f"{KEY}{KEY}", "……"),
    (f"a {KEY} b {KEY}.", "a … b …."),
    (f"a {KEY[:-1]}", "a …"),
    (f"a {KEY[:12]}", "a …"),
    (f"'a {KEY[:13]}'", "'a …'"),
    (f"a {KEY[:14]}; try again", "a …; try again"),
    (f"a {KEY[:11]}", f"a {KEY[:11]}"),
    (f"a {KEY[:15]} b", f"a {KEY[:15]} b"),
    (f"a {KEY[:12]} b {KEY} c", f"a {KEY[:12]} b … c"),
    ("short1!", "short1!"),
    ("pass12", "…"),
    ("pass1", "pass1"),
    ("abc", "abc"),
])  # fmt: skip
def test_what_is_shown_of_a_text(text: str, shown: str) -> None:
    assert Secrets([KEY, "pass12", "abc", ""]).shown(text) == shown


def test_the_longest_goes_first() -> None:
    assert Secrets([KEY, f"Bearer {KEY}"]).shown(f"a Bearer {KEY} b {KEY}") == "a … b …"


@given(st.text(st.characters(max_codepoint=127, categories=["L", "N", "P", "S"]), min_size=6))
def test_in_whatever_way_it_is_written_it_is_taken_out(secret: str) -> None:
    secrets = Secrets([secret])
    for way in (
        secret,
        quote(secret),
        quote(secret, safe=""),
        secret.replace("/", "\\/"),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
    ):
        assert way not in secrets.shown(f"({way})")


def raised(error: ModelError) -> ModelError:
    """Give an error as it is after it was raised, with a cause and a traceback."""
    try:
        Secrets(cast("list[str]", None))
    except TypeError as cause:
        error.__cause__ = error.__context__ = cause
        error.__traceback__ = cause.__traceback__
    return error


@pytest.mark.parametrize("error", [
    ModelError(KEY),
    MalformedReply(KEY, f"an excerpt with {KEY}"),
    IncompleteReply(KEY, KEY, (ToolCall(KEY, KEY, KEY, {KEY: [KEY, {"a": KEY}], "b": 1}),)),
    EndpointError(KEY, status=400, code=KEY, body=KEY, request_id=KEY),
])  # fmt: skip
def test_an_error_is_left_without_them(error: ModelError) -> None:
    found = Secrets([KEY]).taken_from(raised(error))
    assert found is error
    assert KEY not in f"{found!r} {found} {vars(found)}"
    assert KEY.encode() not in pickle.dumps(found)
    assert (found.__traceback__, found.__context__, found.__cause__) == (None, None, None)


def test_without_secrets_an_error_says_what_it_says() -> None:
    error = raised(IncompleteReply("cut", "text", (ToolCall("c", "f", "{}", {"a": 1}),)))
    found = Secrets([]).taken_from(error)
    assert (str(found), found.text, found.calls) == ("cut", "text", (ToolCall("c", "f", "{}", {"a": 1}),))
    assert (found.__traceback__, found.__context__, found.__cause__) == (None, None, None)
