"""What the client scripts share: they ask the agent at an address, and print what came of each cell as JSON.

This runs in the client's own environment, where agentkit is not installed.
"""

import asyncio
import inspect
import json
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

KEY = "sk-interop"
URL = os.environ.get("AGENTKIT_INTEROP_URL", "")
ASK = "How is the weather in Paris?"
TRIP = "Plan a weekend in Rome."
REFUSALS = {"wrong-key": 401, "unknown": 404, "refused": 400, "busy": 429, "down": 502}
"""Names of agents, and the statuses of their replies: the key is wrong for the first, the second is not there."""


def weather(city: str) -> str:
    """Look up the weather in a city.

    Args:
        city: Name of the city.
    """
    return f"Light rain in {city}."


def key_for(model: str) -> str:
    return "sk-wrong" if model == "wrong-key" else KEY


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    returned = function(*arguments)
    return asyncio.run(returned) if inspect.iscoroutine(returned) else returned


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that it came from."""
    chain: list[BaseException] = []
    rest: list[BaseException | None] = [error]
    while rest:
        each = rest.pop(0)
        if each is not None and each not in chain:
            chain.append(each)
            rest += [each.__cause__, each.__context__]
    return chain


def _refusal(error: BaseException) -> dict[str, Any]:
    """Return the type of an error, and the status that it or what it came from has."""
    statuses = [getattr(each, name, None) for each in _chain(error) for name in ("status_code", "status", "code")]
    status = next((status for status in statuses if isinstance(status, int)), None)
    return {"type": type(error).__name__, "status": status, "text": str(error)[:200]}


def run(distribution: str, ask: Callable[[str], Any], **cells: Callable[[], Any]) -> None:
    """Run the cells, and print their results.

    Args:
        distribution: The name of the client's package.
        ask: Asks the agent of a name, whose error is looked at.
        cells: The others: `text`, `stream`, `tools`, `structured`, and `typed` for an agent that has that type.
    """
    results: dict[str, Any] = {"version": version(distribution)}
    for name, cell in cells.items():
        try:
            results[name] = _call(cell)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the result)
            results[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
    results["errors"] = {}
    for model in REFUSALS:
        try:
            results["errors"][model] = {"answer": str(_call(ask, model))[:200]}
        except Exception as error:  # noqa: BLE001 (as above)
            results["errors"][model] = _refusal(error)
    print(json.dumps(results))  # noqa: T201 (this is how the runner gets it)
