"""What requests cost by the tables of the package `genai-prices`, for agents without prices of their own."""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from urllib.parse import urlsplit

from anyio import to_thread

from agentkit.core.messages import Usage
from agentkit.core.usage import without_date

_NO_PROVIDER = re.compile(r"localhost|[\d.]+|.*:.*")  # hosts of this machine, and addresses


@lru_cache(maxsize=256)
def has_prices(origin: str | None) -> bool:
    """Whether the tables are installed and may know an endpoint, by its base URL."""
    host = urlsplit(origin or "").hostname or "localhost"
    return not _NO_PROVIDER.fullmatch(host) and find_spec("genai_prices") is not None


async def load_prices() -> None:
    """Load the tables, in a thread: that takes half a second, once."""
    if not _tables.cache_info().currsize:
        await to_thread.run_sync(_tables)


def known_cost(usage: Usage, origin: str | None, *models: str | None) -> float | None:
    """Return what a request cost in US dollars; `None` if the tables do not have its model, or are not installed.

    Args:
        usage: Its tokens.
        origin: The base URL of the endpoint, which tells the provider.
        models: The names of the model. One matches as it is or without its date: others may begin with it.
    """
    if not has_prices(origin):
        return None
    import genai_prices  # noqa: PLC0415

    read, cached = usage.prompt_tokens or 0, usage.cached_tokens or 0
    tokens = genai_prices.Usage(
        input_tokens=read, output_tokens=usage.completion_tokens or 0, cache_read_tokens=min(read, cached)
    )
    for model in models:
        try:
            found = genai_prices.calc_price(tokens, model or "", provider_api_url=origin)
        except LookupError:
            continue
        names = {without_date(name.lower()) for name in (found.model.id, *_names_in(found.model.match))}
        if without_date((model or "").lower()) in names:
            return float(found.total_price)
    return None


@cache
def _tables() -> object:
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    return get_snapshot()


def _names_in(clause: object) -> Iterator[str]:
    """Yield the names of models in a rule of the tables."""
    for kind in ("equals", "starts_with", "contains"):
        if isinstance(name := getattr(clause, kind, None), str):
            yield name
    for kind in ("or_", "and_"):
        for part in getattr(clause, kind, ()):
            yield from _names_in(part)
