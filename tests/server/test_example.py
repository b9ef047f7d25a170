"""The example, run as a user runs it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import httpx
import openai

from tests.endpoint import calls, serving, text

EXAMPLE = Path(__file__).parent.parent.parent / "examples/served.py"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


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
        with subprocess.Popen(  # noqa: S603 (a file of this repository)
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running:
            end = monotonic() + 20
            while not answers(port):
                assert running.poll() is None, running.communicate()
                assert monotonic() < end
            with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-mine") as client:
                reply = client.chat.completions.create(
                    model="weather", messages=[{"role": "user", "content": "How is the weather in Paris?"}]
                )
            running.send_signal(signal.SIGTERM)
            said, complained = running.communicate(timeout=20)
    assert reply.choices[0].message.content == "Light rain."
    assert [each["tool_choice"] for each in endpoint.requests] == ["required", "none"]
    assert said == f"http://127.0.0.1:{port}/\n"
    assert complained == ""
    assert running.returncode in (0, -signal.SIGTERM)
