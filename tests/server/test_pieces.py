import anyio
import pytest

from agentkit.server.response import PartQueue, TextChunk

pytestmark = pytest.mark.anyio


async def test_pieces_come_in_order() -> None:
    channel = PartQueue()
    channel.put(TextChunk(0, "a"))
    channel.put(TextChunk(1, "b"))
    assert [await channel.get(1), await channel.get(1)] == [TextChunk(0, "a"), TextChunk(1, "b")]


async def test_a_piece_is_waited_for() -> None:
    channel = PartQueue()
    found: list[object] = []

    async def read() -> None:
        found.append(await channel.get(30))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        channel.put(TextChunk(0, "a"))
    assert found == [TextChunk(0, "a")]


async def test_nothing_for_a_while() -> None:
    assert await PartQueue().get(0.01) is None
