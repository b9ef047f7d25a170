"""What an endpoint's headers say about waiting, and about what may still be sent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_tz
from math import isfinite
from typing import NamedTuple

# How endpoints name their headers, for limits per minute before those per day. In `{}` stands limit, remaining, reset.
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
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|ns|d|h|m|s)", re.ASCII)
_DURATION = re.compile(f"(?:{_PART.pattern})+", re.ASCII)
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12


@dataclass(frozen=True, slots=True)
class Quota:
    """What an endpoint says of one of its limits; what it does not say, or not readably, is `None`.

    Attributes:
        limit: How much is allowed at most.
        remaining: How much of that is left.
        reset: In how many seconds all of it is there again.
    """

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


class Quotas(NamedTuple):
    """The limits of requests and of tokens, where an endpoint names them."""

    requests: Quota | None
    tokens: Quota | None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Tell how long an endpoint asks to wait.

    The first that can be read holds: `retry-after-ms`; `retry-after`, as seconds or as a date (RFC 9110, sections
    10.2.3 and 5.6.7); the reset of the limits of which nothing remains, the latest of them.

    Args:
        headers: The response's headers, their names in lower case or found in any case.
        now: The time, in seconds since 1970. The response's own `date` is better, so it goes before.

    Returns:
        Seconds from now, 0 for a date in the past; `None` if it does not ask, or not readably.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after", "").strip()
    seconds = _number(said)
    if seconds is None and (date := _date(said)) is not None:
        seconds = max(0.0, date - _here(headers, now))
    if seconds is not None:
        return seconds
    found = [_quota(headers, names, now) for names in _REQUESTS + _TOKENS]
    return max((each.reset for each in found if each and each.remaining == 0 and each.reset is not None), default=None)


def quotas(headers: Mapping[str, str], now: float) -> Quotas:
    """Read what an endpoint says of its limits; of several for one kind, that of the shortest time.

    Args:
        headers: The response's headers, as for `retry_after`.
        now: The time, in seconds since 1970, for a reset that is a moment; the response's `date` goes before.
    """
    return Quotas(*(_first(headers, names, now) for names in (_REQUESTS, _TOKENS)))


def _first(headers: Mapping[str, str], families: tuple[str, ...], now: float) -> Quota | None:
    return next((found for names in families if (found := _quota(headers, names, now))), None)


def _quota(headers: Mapping[str, str], names: str, now: float) -> Quota | None:
    limit, remaining = (_number(headers.get(names.format(each))) for each in ("limit", "remaining"))
    reset = _reset(headers.get(names.format("reset"), "").strip(), _here(headers, now))
    found = Quota(limit, remaining, reset)
    return None if found == Quota() else found


def _reset(said: str, here: float) -> float | None:
    """Read a number, a duration such as `6m0s`, or a moment, as the seconds until then."""
    number = _number(said)
    if number is None and _DURATION.fullmatch(said):
        number = sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(said))
        return number if isfinite(number) else None
    if number is not None and number <= _EPOCH_SECONDS:
        return number
    moment = _date(said) if number is None else number / (1000 if number > _EPOCH_MILLISECONDS else 1)
    return None if moment is None else max(0.0, moment - here)


def _here(headers: Mapping[str, str], now: float) -> float:
    """Give the time on the endpoint's own clock, which its moments are told by."""
    date = _date(headers.get("date", "").strip())
    return now if date is None else date


def _number(said: str | None) -> float | None:
    if said is None or not _NUMBER.fullmatch(said := said.strip()):
        return None
    return number if isfinite(number := float(said)) else None


def _date(said: str) -> float | None:
    """Read a moment, ISO 8601 (as RFC 3339 has it) or one of the three forms of HTTP; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        return _http_date(said)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _http_date(said: str) -> float | None:
    try:
        parsed = parsedate_tz(said)
        return None if parsed is None else datetime(*parsed[:6], tzinfo=UTC).timestamp() - (parsed[9] or 0)
    except (ValueError, IndexError, OverflowError, TypeError):  # it stumbles over some of what is no date
        return None
