"""What an endpoint's headers say about waiting, and about its rate limits."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_tz
from math import isfinite
from typing import NamedTuple

# The headers' names, limits per minute before those per hour or day. `{}` is `limit`, `remaining` or `reset`.
_REQUESTS = (
    "x-ratelimit-{}-requests",  # OpenAI, Azure, Groq, Fireworks: platform.openai.com/docs/guides/rate-limits
    "anthropic-ratelimit-requests-{}",  # docs.anthropic.com/en/api/rate-limits
    "x-ratelimit-{}-req-minute",  # Mistral: no reset
    "x-ratelimit-{}-requests-minute",  # Cerebras: inference-docs.cerebras.ai/support/rate-limits
    "x-ratelimit-{}-requests-hour",
    "x-ratelimit-{}-requests-day",
    "x-ratelimit-{}",  # OpenRouter, Together
)
_TOKENS = (
    "x-ratelimit-{}-tokens",
    "anthropic-ratelimit-tokens-{}",
    "x-ratelimit-{}-tokens-minute",  # Mistral, Cerebras
    "x-ratelimit-{}-tokens-hour",
    "x-ratelimit-{}-tokens-day",
    "x-tokenlimit-{}",  # Together: no reset
)
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
# Patterns as text: `re` compiles and keeps them when a header has something to read, and not at each import.
_NUMBER = r"(?a:\d+(?:\.\d*)?|\.\d+)"
_PART = rf"({_NUMBER})(ms|us|µs|ns|d|h|m|s)"
_DURATION = f"(?:{_PART})+"
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12  # larger numbers are moments, not durations


class Quota(NamedTuple):
    """One rate limit of an endpoint. What its headers leave out or garble is `None`."""

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None  # seconds until all of it is available again


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return how many seconds an endpoint asks to wait, or `None` if it does not ask readably.

    The first readable one of these: `retry-after-ms`; `retry-after`, as seconds or as a date (RFC 9110, sections 10.2.3
    and 5.6.7); the latest reset of the limits of which nothing remains. `now` is in seconds since 1970, but the
    response's own `date` is preferred.
    """
    if (milliseconds := _parse_number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "").strip()
    seconds = _parse_number(value)
    if seconds is None and (date := _parse_date(value)) is not None:
        seconds = max(0.0, date - _endpoint_time(headers, now))
    if seconds is not None:
        return seconds
    limits = [_quota(headers, names, now) for names in _REQUESTS + _TOKENS]
    resets = [quota.reset for quota in limits if quota and quota.remaining == 0 and quota.reset is not None]
    return max(resets, default=None)


def quotas(headers: Mapping[str, str], now: float) -> tuple[Quota | None, Quota | None]:
    """Read an endpoint's limits of requests and of tokens; of several for one kind, the one for the shortest time."""
    requests, tokens = (filter(None, [_quota(headers, names, now) for names in kind]) for kind in (_REQUESTS, _TOKENS))
    return next(requests, None), next(tokens, None)


def _quota(headers: Mapping[str, str], names: str, now: float) -> Quota | None:
    limit, remaining = (_parse_number(headers.get(names.format(part))) for part in ("limit", "remaining"))
    reset = _parse_reset(headers.get(names.format("reset"), "").strip(), _endpoint_time(headers, now))
    return None if limit is remaining is reset is None else Quota(limit, remaining, reset)


def _parse_reset(value: str, endpoint_time: float) -> float | None:
    """Return the seconds until a reset: a number, a duration such as `6m0s`, or a moment."""
    number = _parse_number(value)
    if number is None and re.fullmatch(_DURATION, value):
        number = sum(float(count) * _UNITS[unit] for count, unit in re.findall(_PART, value))
        return number if isfinite(number) else None
    if number is not None and number <= _EPOCH_SECONDS:
        return number
    moment = _parse_date(value) if number is None else number / (1000 if number > _EPOCH_MILLISECONDS else 1)
    return None if moment is None else max(0.0, moment - endpoint_time)


def _endpoint_time(headers: Mapping[str, str], now: float) -> float:
    """Return the time by the endpoint's own clock, which its moments refer to."""
    date = _parse_date(headers.get("date", "").strip())
    return now if date is None else date


def _parse_number(value: str | None) -> float | None:
    if value is None or not re.fullmatch(_NUMBER, value := value.strip()):
        return None
    return number if isfinite(number := float(value)) else None


def _parse_date(value: str) -> float | None:
    """Parse a moment, in ISO 8601 (RFC 3339) or one of the three forms of HTTP; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return _parse_http_date(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _parse_http_date(value: str) -> float | None:
    try:
        parsed = parsedate_tz(value)
        return None if parsed is None else datetime(*parsed[:6], tzinfo=UTC).timestamp() - (parsed[9] or 0)
    except (ValueError, IndexError, OverflowError, TypeError):  # the parser fails on some texts that are no dates
        return None
