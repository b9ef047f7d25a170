"""Addresses and keys; what clients make of them is in the tests of the client."""

import pytest

from agentkit.core.errors import ConfigurationError
from agentkit.models.client.address import parse_address, find_endpoint, header_value


@pytest.mark.parametrize(
    ("address", "url", "shown"),
    [
        ("http://a.b/v1", "http://a.b/v1/chat/completions", "http://a.b/v1"),
        ("http://a.b/v1/", "http://a.b/v1/chat/completions", "http://a.b/v1"),
        ("https://a.b:8443", "https://a.b:8443/chat/completions", "https://a.b:8443"),
        ("http://[::1]/v1?key=secret", "http://[::1]/v1/chat/completions?key=secret", "http://[::1]/v1"),
    ],
)
def test_where_requests_go_and_what_is_shown_of_it(address: str, url: str, shown: str) -> None:
    assert tuple(map(str, parse_address(address)[:2])) == (url, shown)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("a.b/v1", "'a.b/v1' is not an address of the form https://host/v1"),
        ("ftp://a.b?key=hidden", "'ftp://a.b' is not an address of the form https://host/v1"),
        ("http://a.b:99999", "'http://a.b:99999' is not an address of the form https://host/v1"),
        ("http://a.b:x?key=hidden", "'http://a.b:x' is not an address: Invalid port: 'x'"),
        ("http://ann:hidden@a.b/v1", "the base URL has a name or a password in it; send them with headers={…}"),
        ("http://a.b:x/hidden@", "'…' is not an address"),
    ],
)
def test_what_is_none_says_why_and_hides_what_may_be_secret(address: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_address(address)
    assert str(caught.value) == said
    assert "hidden" not in str(caught.value)


def test_a_header_is_one_line_of_ascii() -> None:
    assert header_value("x", " a b\n") == "a b"
    assert repr(header_value("x", "secret")) == "'…'"
    for odd in ("a\nb", "a\x00", "ü"):
        with pytest.raises(ConfigurationError, match=r"^x-key has a character that a header cannot have") as caught:
            header_value("x-key", odd)
        assert odd not in str(caught.value)


def test_the_environment_holds_where_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"^no endpoint: set AGENTKIT_BASE_URL"):
        find_endpoint(None, None)
    assert find_endpoint("http://a.b", None) == ("http://a.b", "")
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    assert find_endpoint(None, None) == ("https://api.openai.com/v1", "theirs")
    assert find_endpoint("http://a.b", None) == ("http://a.b", "")
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://ours")
    monkeypatch.setenv("AGENTKIT_API_KEY", "ours")
    assert find_endpoint(None, None) == ("http://ours", "ours")
    assert find_endpoint("http://a.b", "") == ("http://a.b", "")
    assert [repr(each) for each in find_endpoint(None, None)] == ["'…'", "'…'"]
