from pathlib import Path

import pytest

from agentkit import ConfigurationError, UserMessage
from agentkit.cli.session_argument import parse_session_argument, split_session_argument

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("text", "file", "name"), [
    ("a.db", "a.db", ""), ("a.db:ann", "a.db", "ann"), ("a/b.db:ann bee", "a/b.db", "ann bee"),
    (r"C:\a.db", r"C:\a.db", ""), (r"C:\a.db:ann", r"C:\a.db", "ann"), ("a:b/c.db", "a:b/c.db", ""),
    ("a.db:", "a.db:", ""),
])  # fmt: skip
def test_a_file_and_a_name_are_parted(text: str, file: str, name: str) -> None:
    assert split_session_argument(text) == (Path(file), name)


def test_a_file_whose_name_has_a_colon_is_a_file(folder: Path) -> None:
    (folder / "a:b").touch()
    assert split_session_argument("a:b") == (Path("a:b"), "")


@pytest.mark.parametrize(("text", "shown"), [("a.db", "a.db:main"), ("a.db:ann", "a.db:ann"), ("a.jsonl", "a.jsonl")])
async def test_a_conversation_is_kept_and_forgotten(folder: Path, text: str, shown: str) -> None:
    place = parse_session_argument(text)
    assert str(place) == shown
    said = UserMessage("Hello")
    await place.session.append([said])
    assert (await parse_session_argument(text).session.load()).messages == (said,)
    assert await place.clear() == place
    assert (await place.session.load()).messages == ()
    await place.clear()


async def test_without_a_file_it_lasts_as_long_as_the_command() -> None:
    place = parse_session_argument(None)
    assert str(place) == "nowhere"
    await place.session.append([UserMessage("Hello")])
    assert (await (await place.clear()).session.load()).messages == ()


@pytest.mark.parametrize(("text", "said"), [("no/a.db", "mkdir -p 'no'"), ("a.jsonl:ann", "--session a.jsonl")])
def test_what_cannot_be_a_place_is_refused(folder: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_session_argument(text)
