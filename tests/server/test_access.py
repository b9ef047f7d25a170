from typing import Any, NoReturn

import pytest

from agentkit import ConfigurationError
from agentkit.server.access import LOOPBACK, Access
from agentkit.server.asgi import HttpExchange
from agentkit.server.errors import HttpError

KEY = "sk-server-canary-81c2"


async def nothing(*_: Any) -> NoReturn:
    raise AssertionError


def asking(**headers: str) -> HttpExchange:
    given = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return HttpExchange({"method": "GET", "path": "/", "headers": given}, nothing, nothing)


@pytest.mark.parametrize("value", ["Bearer other", f"Basic {KEY}", KEY, "", "Bearer", f"Bearer {KEY}x", "Bearer \xff"])
def test_no_key_or_another_is_refused(value: str) -> None:
    with pytest.raises(HttpError) as caught:
        Access([KEY, "sk-2"], LOOPBACK).check(asking(authorization=value))
    refusal = caught.value
    assert (refusal.status, refusal.headers, refusal.code) == (401, {"www-authenticate": "Bearer"}, "invalid_api_key")
    assert KEY not in str(refusal)


def test_each_of_several_keys_is_good_and_stands_for_itself() -> None:
    access = Access([KEY, "sk-2", "schlüssel"], ())
    found = {access.check(asking(authorization=f"{scheme} {KEY}")) for scheme in ("Bearer", "bearer")}
    found.add(access.check(asking(authorization="Bearer sk-2")))
    assert len(found) == 2
    assert Access(KEY, ()).check(asking(authorization=f"Bearer {KEY}")) in found


def test_a_key_does_not_show() -> None:
    assert KEY not in repr(vars(Access(KEY, ())))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "[::1]", "LOCALHOST:1"])
def test_without_keys_this_machine_may_ask(host: str) -> None:
    access = Access((), LOOPBACK)
    assert access.check(asking(host=host)) == ""
    assert not access.guarded


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil"])
def test_a_page_whose_name_leads_here_may_not(host: str) -> None:
    with pytest.raises(HttpError) as caught:
        Access((), LOOPBACK).check(asking(host=host))
    assert caught.value.status == 403
    assert Access((), ["*"]).check(asking(host=host)) == ""


@pytest.mark.parametrize("keys", ["x", ["x", ""], [""]])
def test_an_empty_key_is_none(keys: Any) -> None:
    if keys == "x":
        assert Access(keys, ()).guarded
        return
    with pytest.raises(ConfigurationError):
        Access(keys, ())
