"""Attacks on a served agent, and what they cost it. Each has a server of its own, with 256 file descriptors.

python benchmarks/attacks.py            # all of them
python benchmarks/attacks.py values     # one of: values, header, unfinished, uploads
"""

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

SERVER = """
import sys, resource
from agentkit import Agent
from agentkit.server import ChatServer, serve
from agentkit.testing import Scripted
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
serve(ChatServer(Agent(Scripted("Hi", repeat=True)), keys=["sk-ann", "sk-bob"]), port=int(sys.argv[1]))
"""
ANN, BOB = "sk-ann", "sk-bob"
ASKED = b'{"model": "agent", "messages": [{"role": "user", "content": "Hello"}]}'
PATIENCE = 15.0
MOST_SENT = 100_000_000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def serving() -> Generator[tuple[int, int]]:
    """Start a server; yield its port and its process id."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stderr=subprocess.DEVNULL) as server:  # noqa: S603
        try:
            while seconds_to_answer(port) is None:
                time.sleep(0.05)
            yield port, server.pid
        finally:
            server.kill()


def memory(pid: int) -> int:
    """Return the most memory that a process had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seconds_to_answer(port: int) -> float | None:
    """Return how long the server takes to say that it is well; `None` if it does not."""
    begun = time.perf_counter()
    try:
        httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE).raise_for_status()
    except httpx.HTTPError:
        return None
    return time.perf_counter() - begun


def ask(port: int, body: bytes, key: str) -> int:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    return httpx.post(url, content=body, headers=headers, timeout=60).status_code


def head(key: str, length: int) -> bytes:
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


@contextmanager
def connections(port: int, count: int, data: bytes) -> Generator[list[socket.socket]]:
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            with suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port), timeout=1)
                opened.append(connection)
                connection.sendall(data)
        yield opened
    finally:
        for connection in opened:
            connection.close()


def still_open(opened: list[socket.socket]) -> int:
    count = 0
    for connection in opened:
        connection.setblocking(False)  # noqa: FBT003 (the name of the method)
        try:
            connection.recv(1000)  # an end, or a refusal and then an end
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


def values(port: int, pid: int) -> str:
    """Five bodies of 9.6 MB that are made of small values."""
    bomb = b'{"model": "agent", "messages": [' + b"[]," * 3_200_000 + b"[]]}"
    statuses: list[int] = []
    senders = [threading.Thread(target=lambda: statuses.append(ask(port, bomb, ANN))) for _ in range(5)]
    slowest = 0.0
    for sender in senders:
        sender.start()
    while any(sender.is_alive() for sender in senders):
        slowest = max(slowest, seconds_to_answer(port) or PATIENCE)
        time.sleep(0.02)
    return f"statuses {statuses}, memory {memory(pid)} MB, slowest /healthz {slowest:.1f} s"


def header(port: int, pid: int) -> str:
    """One header without an end, up to 100 MB."""
    sent, before = 0, processor_seconds(pid)
    with socket.create_connection(("127.0.0.1", port)) as client, suppress(OSError):
        client.settimeout(60)
        client.sendall(b"GET /healthz HTTP/1.1\r\nx-endless: ")
        while sent < MOST_SENT:
            client.sendall(b"x" * 100_000)
            sent += 100_000
    seconds = processor_seconds(pid) - before
    return f"sent {sent / 1e6:.1f} MB, memory {memory(pid)} MB, {seconds:.1f} s of processor time"


def unfinished(port: int, _: int) -> str:
    """300 connections whose headers never end."""
    with connections(port, 300, b"GET /healthz HTTP/1.1\r\nx-slow: 1") as opened:
        time.sleep(1)
        answered = seconds_to_answer(port)
        time.sleep(12)
        left = still_open(opened)
    told = "no answer" if answered is None else f"answered after {answered:.1f} s"
    return f"another client got {told}; {left} of {len(opened)} open after 13 s"


def uploads(port: int, _: int) -> str:
    """64 uploads of one key that never end, and a request with another key."""
    with connections(port, 64, head(ANN, 1000) + b"{"):
        time.sleep(1)
        return f"the other key got {ask(port, ASKED, BOB)}"


ATTACKS: dict[str, Callable[[int, int], str]] = {
    "values": values,
    "header": header,
    "unfinished": unfinished,
    "uploads": uploads,
}


def main() -> None:
    wanted, most = sys.argv[1:] or list(ATTACKS), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most), most))
    for name in wanted:
        with serving() as (port, pid):
            print(f"{name}: {ATTACKS[name](port, pid)}", flush=True)


if __name__ == "__main__":
    main()
