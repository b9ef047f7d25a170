"""Connects and reads a socket under asyncio. It is imported at its first use: asyncio is slow to import.

The event loop watches the socket all the time, and what it calls reads at once. anyio begins and ends to watch for each
wait, which takes a tenth of a turn.
"""

import asyncio
import socket


async def connected_to(address: str, port: int) -> socket.socket:
    """Return a socket that is connected to an IP address. anyio, which tries all addresses of a name, takes longer."""
    opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        opened.settimeout(0)
        await asyncio.get_running_loop().sock_connect(opened, (address, port))
    except BaseException as error:
        opened.close()
        if isinstance(error, OSError):
            raise OSError("All connection attempts failed") from error  # as anyio says it
        raise
    return opened


class SocketReader:
    """Reads a socket that does not block, for one task at a time; `NotImplementedError` if the loop watches none."""

    __slots__ = ("_loop", "_most", "_socket", "_waiter", "_watches")

    def __init__(self, connected: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = connected
        self._most = 0
        self._waiter: asyncio.Future[bytes | OSError] | None = None
        self._watches = False
        self._watch()

    async def read(self, most: int) -> bytes:
        """Wait for the next bytes, so many at most; see `Wire.receive`."""
        if not self._watches:
            self._watch()
        self._most = most
        self._waiter = self._loop.create_future()
        try:
            outcome = await self._waiter
        finally:
            self._waiter = None
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Stop to watch, until the next `read`."""
        if self._watches and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
        self._watches = False

    def _watch(self) -> None:
        self._loop.add_reader(self._socket, self._on_readable)
        self._watches = True

    def _on_readable(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.stop()  # nobody takes it now, and the loop would call again and again
            return
        try:
            waiter.set_result(self._socket.recv(self._most))
        except BlockingIOError:
            return  # a false alarm
        except OSError as error:
            waiter.set_result(error)  # as an exception, it would be logged if a cancellation came first
