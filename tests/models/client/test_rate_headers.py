import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.models.client.rate_headers import Quota, quotas, retry_after
from tests.strategies import any_text

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT
DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
DATES = [
    *("Fri, 15 Jan 2027 08:00:09 GMT", "Friday, 15-Jan-27 08:00:09 GMT", "Fri Jan 15 08:00:09 2027"),
    *("2027-01-15T08:00:09Z", "2027-01-15T10:00:09+02:00", "2027-01-15T08:00:09"),
]
GARBAGE = [
    *("2814, 2", "", " ", "nan", "inf", "-5", "1e400", "9" * 400, "9" * 5000, "soon", "1_0", "٣", "1 2", "0x5"),
    *("Fri, 99 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 99999999999999 08:00:00 GMT", "2027-13-45", "Fri, 15 Jan", "Fri, , :"),
]  # fmt: skip


def reset(kind: str, remaining: str, reset: str) -> dict[str, str]:
    return {f"x-ratelimit-remaining-{kind}": remaining, f"x-ratelimit-reset-{kind}": reset}


def test_how_long_to_wait() -> None:
    for headers, seconds in [
        ({}, None),
        *[({"retry-after": value}, float(value)) for value in ("3", "0", " 1.5 ", ".5")],
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250.5", "retry-after": "9"}, 0.2505),
        ({"retry-after-ms": "0", "retry-after": "9"}, 0.0),
        *[({"retry-after-ms": odd, "retry-after": "9"}, 9.0) for odd in GARBAGE],
        *[({"retry-after": date}, 9.0) for date in DATES],
        *[({"retry-after": date, "date": "Fri, 15 Jan 2027 07:59:59 GMT"}, 10.0) for date in DATES],
        ({"retry-after": DATES[0], "date": "now"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        *[({"retry-after": odd}, None) for odd in GARBAGE],
        (reset("requests", "0", "12s"), 12.0),
        (reset("tokens", "1", "1m2s"), None),
        (reset("tokens", "0", "soon"), None),
        ({"retry-after": "2", **reset("requests", "0", "12s")}, 2.0),
        ({"retry-after": "x", **reset("requests", "0", "12s")}, 12.0),
        (reset("requests", "0", "12s") | reset("tokens", "0", "40s"), 40.0),
        (reset("tokens-minute", "500", "11.38") | reset("tokens-day", "0", "33011.38"), 33011.38),
    ]:
        assert retry_after(headers, NOW) == pytest.approx(seconds)


def test_names_are_found_in_any_case_as_httpx_has_them() -> None:
    assert retry_after(httpx.Headers({"Retry-After": "3"}), NOW) == 3.0
    assert quotas(httpx.Headers({"X-RateLimit-Remaining": "3"}), NOW) == (Quota(remaining=3), None)


def test_each_form_of_a_reset() -> None:
    for value, seconds in [
        *[("1s", 1.0), ("6m0s", 360.0), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("7.66s", 7.66), ("1d", 86400.0)],
        *[("523us", 0.000523), ("523µs", 0.000523), ("100ns", 1e-7), ("0s", 0.0), ("30", 30.0), ("0.5", 0.5)],
        ("1000000000", 1e9),
        *[(str(int(NOW) + 9), 9.0), (str(int(NOW) * 1000 + 9500), 9.5), (str(int(NOW) - 9), 0.0)],
        *[(date, 9.0) for date in DATES],
        *[(odd, None) for odd in (*GARBAGE, "9" * 400 + "s", "5 s", "s", "1x")],
    ]:
        _, tokens = quotas(reset("tokens", "1", value), NOW)
        assert tokens is not None
        assert tokens.reset == pytest.approx(seconds)


ENDPOINTS: dict[str, tuple[Quota | None, Quota | None, str]] = {
    "OpenAI": (Quota(5000, 4999, 0.012), Quota(160000, 159976, 0.009), """x-ratelimit-limit-requests: 5000; x-ratelimit-remaining-requests: 4999; x-ratelimit-reset-requests: 12ms;
        x-ratelimit-limit-tokens: 160000; x-ratelimit-remaining-tokens: 159976; x-ratelimit-reset-tokens: 9ms"""),
    "Groq, requests of a day": (Quota(14400, 14370, 179.56), Quota(18000, 17997, 7.66), """retry-after: 2; x-ratelimit-limit-requests: 14400; x-ratelimit-limit-tokens: 18000;
        x-ratelimit-remaining-requests: 14370; x-ratelimit-remaining-tokens: 17997;
        x-ratelimit-reset-requests: 2m59.56s; x-ratelimit-reset-tokens: 7.66s"""),
    "Azure": (Quota(None, 19), Quota(None, 7), "x-ratelimit-remaining-requests: 19; x-ratelimit-remaining-tokens: 7"),
    "Azure, which does not know": (None, None, "x-ratelimit-limit-requests: -1; x-ratelimit-remaining-requests: -1"),
    "Mistral": (Quota(60, 59), Quota(50000, 47196), """x-ratelimit-limit-req-minute: 60; x-ratelimit-remaining-req-minute: 59; x-ratelimit-tokens-query-cost: 2804;
        x-ratelimit-limit-tokens-minute: 50000; x-ratelimit-remaining-tokens-minute: 47196;
        x-ratelimit-limit-tokens-month: 4000000; x-ratelimit-remaining-tokens-month: 3950246"""),
    "Anthropic": (Quota(50, 49, 1.0), Quota(40000, 39000, 2.0), f"""anthropic-ratelimit-requests-limit: 50; anthropic-ratelimit-requests-remaining: 49;
        anthropic-ratelimit-requests-reset: 2027-01-15T08:00:01Z; anthropic-ratelimit-tokens-limit: 40000;
        anthropic-ratelimit-tokens-remaining: 39000; anthropic-ratelimit-tokens-reset: 2027-01-15T08:00:02Z;
        date: {DATE}"""),
    "OpenRouter": (Quota(20, None, 30.0), None, "x-ratelimit-limit: 20; x-ratelimit-reset: 1800000030000"),
    "Together": (Quota(10, 9, 1.0), Quota(3000, 2900), """x-ratelimit-limit: 10; x-ratelimit-remaining: 9; x-ratelimit-reset: 1;
        x-tokenlimit-limit: 3000; x-tokenlimit-remaining: 2900"""),
    "Cerebras": (Quota(14400, 14399, 33011.382867), Quota(60000, 59000, 11.38), """x-ratelimit-limit-requests-day: 14400; x-ratelimit-limit-tokens-minute: 60000;
        x-ratelimit-remaining-requests-day: 14399; x-ratelimit-remaining-tokens-minute: 59000;
        x-ratelimit-reset-requests-day: 33011.382867; x-ratelimit-reset-tokens-minute: 11.38"""),
    "llama.cpp": (None, None, "server: llama.cpp"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_an_endpoint_says_of_its_limits(name: str) -> None:
    *expected, text = ENDPOINTS[name]
    headers = {line.partition(": ")[0].strip(): line.partition(": ")[2] for line in text.split(";")}
    for quota, known in zip(quotas(headers, NOW), expected, strict=True):
        assert (quota is None) == (known is None)
        assert tuple(quota or Quota()) == pytest.approx(tuple(known or Quota()))


NAMES = [
    *("retry-after", "retry-after-ms", "date", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    *("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "anthropic-ratelimit-tokens-reset"),
    *("anthropic-ratelimit-tokens-remaining", "x-ratelimit-limit-tokens"),
]
PARTS = st.sampled_from(["0", "7", "1e9", "GMT", "Fri,", "15", "Jan", "2027", ":", "-", "08:00:00", "s", "ms", "h"])


@given(
    st.dictionaries(st.sampled_from(NAMES), any_text() | st.lists(PARTS, max_size=8).map("".join)), st.floats(0, 4e9)
)
def test_whatever_the_headers_hold_it_is_a_time_or_none(headers: dict[str, str], now: float) -> None:
    seconds = retry_after(headers, now)
    assert seconds is None or 0 <= seconds < float("inf")
    for quota in quotas(headers, now):
        for value in tuple(quota) if quota else ():
            assert value is None or 0 <= value < float("inf")
