"""The example, run as a user runs it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import httpx
import openai

from tests.endpoint import calls, serving, text
from tests.programs import PATIENCE, free_port, started

EXAMPLE = Path(__file__).parent.parent.parent / "examples/served.py"


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_weather_bot_is_served_until_it_is_told_to_stop() -> None:
    port = free_port()
    with serving(calls(("get_weather", {"city": "Paris"})), text("Light rain.")) as endpoint:
        environment = {**os.environ, "AGENTKIT_MODEL": "m", "AGENTKIT_BASE_URL": endpoint.url, "SERVER_KEY": "sk-mine"}
        command = [sys.executable, "-W", "error", str(EXAMPLE), str(port)]
        with started(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            end = monotonic() + PATIENCE
            while not answers(port):
                assert running.poll() is None, running.communicate()
                assert monotonic() < end
            with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-mine") as client:
                reply = client.chat.completions.create(
                    model="weather", messages=[{"role": "user", "content": "How is the weather in Paris?"}]
                )
            running.send_signal(signal.SIGTERM)
            printed, warned = running.communicate(timeout=PATIENCE)
    assert reply.choices[0].message.content == "Light rain."
    assert [request["tool_choice"] for request in endpoint.requests] == ["required", "none"]
    assert (printed, warned) == (f"http://127.0.0.1:{port}/\n", "")
    assert running.returncode in (0, -signal.SIGTERM)
