import anyio
import pytest

from agentkit.server.response import Channel, Text

pytestmark = pytest.mark.anyio


async def test_pieces_come_in_order() -> None:
    channel = Channel()
    channel.put(Text(0, "a"))
    channel.put(Text(1, "b"))
    assert [await channel.get(1), await channel.get(1)] == [Text(0, "a"), Text(1, "b")]


async def test_a_piece_is_waited_for() -> None:
    channel = Channel()
    found: list[object] = []

    async def read() -> None:
        found.append(await channel.get(30))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        channel.put(Text(0, "a"))
    assert found == [Text(0, "a")]


async def test_nothing_for_a_while() -> None:
    assert await Channel().get(0.01) is None
