"""What DBOS stores is plain JSON, and is read back as what it was."""

import pytest

from agentkit import AgentkitError, RateLimited
from agentkit.durable.serializer import Json


def test_what_dbos_stores_is_json() -> None:
    assert Json().name() == "agentkit_json"
    assert Json().deserialize(Json().serialize({"args": ({"a": "\x00é"},)})) == {"args": [{"a": "\x00é"}]}
    assert Json().serialize({"a": "\x00é"}) == '{"a":"\\u0000\\u00e9"}'
    assert Json().deserialize("null") is None


@pytest.mark.parametrize("error", [RateLimited("slow", status=429), AgentkitError("no")])
def test_errors_are_read_back(error: AgentkitError) -> None:
    read = Json().deserialize(Json().serialize(error))
    assert (type(read), str(read), vars(read)) == (type(error), str(error), vars(error))


def test_an_error_of_others_is_told() -> None:
    assert str(Json().deserialize(Json().serialize(KeyError("x")))) == "KeyError: 'x'"
