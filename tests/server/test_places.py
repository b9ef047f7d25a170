import anyio
import pytest

from agentkit.server import Bounds
from agentkit.server.errors import HttpError
from agentkit.server.places import Place, Places

pytestmark = pytest.mark.anyio


async def hold(places: Places, owner: str, ended: list[str], *, uploading: bool = True) -> None:
    try:
        with places.take(owner) as place:
            place.uploading = uploading
            await anyio.sleep_forever()
    except HttpError as error:
        ended.append(f"{owner} {error.status}")


async def full(places: Places, *owners: str, uploading: bool = True) -> list[str]:
    """Who gets what, if the owners hold places, and then `new` and the last of them ask for one."""
    ended: list[str] = []
    async with anyio.create_task_group() as group:
        for owner in owners:
            await started(group, places, owner, ended, uploading=uploading)
        for owner in ("new", owners[-1]):
            try:
                with places.take(owner):
                    ended.append(f"{owner} has one")
            except HttpError as error:
                ended.append(f"{owner} {error.status}")
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    return ended


async def started(group: anyio.abc.TaskGroup, places: Places, owner: str, ended: list[str], *, uploading: bool) -> None:
    async def go() -> None:
        await hold(places, owner, ended, uploading=uploading)

    group.start_soon(go)
    await anyio.wait_all_tasks_blocked()


async def test_unfinished_uploads_make_room_for_another_client() -> None:
    places = Places(Bounds(requests=4))
    assert await full(places, "ann", "ann", "ann", "ann") == ["new has one", "ann has one", "ann 429"]
    assert await full(places, "ann", "bob", "ann", "ann") == ["new has one", "ann has one", "ann 429"]
    assert await full(places, "ann", "ann", "bob", "bob") == ["new 429", "bob 429"]
    assert await full(places, *["ann"] * 4, uploading=False) == ["new 429", "ann 429"]


async def test_a_client_evicts_no_upload_of_its_own() -> None:
    places = Places(Bounds(requests=2))
    ended: list[str] = []
    async with anyio.create_task_group() as group:
        for _ in range(3):
            await started(group, places, "ann", ended, uploading=True)
        group.cancel_scope.cancel()
    assert ended == ["ann 429"]


async def test_a_request_that_takes_too_long_and_a_server_that_stops() -> None:
    places = Places(Bounds(grace=0.01))

    async def late() -> None:
        with places.take("ann") as place:
            place.scope.deadline = anyio.current_time()
            await anyio.sleep_forever()

    with pytest.raises(HttpError) as caught:
        await late()
    assert caught.value.status == 504
    ended: list[str] = []
    async with anyio.create_task_group() as group:
        await started(group, places, "ann", ended, uploading=False)
        await places.drain()
    assert ended == ["ann 503"]
    with pytest.raises(HttpError) as stopping, places.take("ann"):
        pass
    assert stopping.value.status == 503
    await places.drain()
    assert Place("ann") != Place("ann")
