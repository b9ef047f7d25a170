from typing import Any, NoReturn

import pytest

from agentkit import ConfigurationError
from agentkit.server.access import LOOPBACK, Access
from agentkit.server.asgi import HttpExchange
from agentkit.server.errors import HttpError
from tests.server.served import KEY


async def unused(*_: Any) -> NoReturn:
    raise AssertionError


def request(**headers: str) -> HttpExchange:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return HttpExchange({"method": "GET", "path": "/", "headers": encoded}, unused, unused)


@pytest.mark.parametrize("value", ["Bearer other", f"Basic {KEY}", KEY, "", "Bearer", f"Bearer {KEY}x", "Bearer \xff"])
def test_no_key_or_another_is_refused(value: str) -> None:
    with pytest.raises(HttpError) as caught:
        Access([KEY, "sk-2"], LOOPBACK).check(request(authorization=value))
    error = caught.value
    assert (error.status, error.headers, error.code) == (401, {"www-authenticate": "Bearer"}, "invalid_api_key")
    assert KEY not in str(error)


def test_each_key_is_good_and_has_a_digest_of_its_own() -> None:
    access = Access([KEY, "sk-2", "schlüssel"], ())
    digests = {access.check(request(authorization=f"{scheme} {KEY}")) for scheme in ("Bearer", "bearer")}
    digests.add(access.check(request(authorization="Bearer sk-2")))
    assert len(digests) == 2
    assert Access(KEY, ()).check(request(authorization=f"Bearer {KEY}")) in digests
    assert KEY not in repr(vars(access))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "[::1]", "LOCALHOST:1"])
def test_without_keys_this_machine_may_ask(host: str) -> None:
    access = Access((), LOOPBACK)
    assert access.check(request(host=host)) == ""
    assert not access.guarded


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil"])
def test_another_host_name_is_refused(host: str) -> None:
    with pytest.raises(HttpError) as caught:
        Access((), LOOPBACK).check(request(host=host))
    assert (caught.value.status, Access((), ["*"]).check(request(host=host))) == (403, "")


def test_an_empty_key_is_a_mistake() -> None:
    assert Access("x", ()).guarded
    for keys in (["x", ""], [""]):
        with pytest.raises(ConfigurationError):
            Access(keys, ())
