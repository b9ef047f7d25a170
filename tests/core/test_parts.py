"""The blocks of a user message."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, AudioPart, FilePart, ImagePart, InvalidRequest, TextPart, UserMessage, tool
from agentkit.core.dicts import message_of, stored
from agentkit.core.messages import AssistantMessage, SystemMessage, ToolMessage
from tests.scripted import Scripted, called, said

PNG, WAV, PDF = b"\x89PNG", b"RIFF", b"%PDF"
BLOCKS = (
    TextPart("Look."),
    ImagePart.from_bytes(PNG),
    ImagePart("https://example.com/a.png", "low"),
    AudioPart.from_bytes(WAV),
    AudioPart.from_bytes(WAV, "mp3"),
    FilePart.from_bytes(PDF, "a.pdf"),
    FilePart(file_id="file-1"),
)


def test_blocks_from_files(tmp_path: Path) -> None:
    files = {"a.png": PNG, "b.JPG": PNG, "c.wav": WAV, "d.mp3": WAV, "e.pdf": PDF, "f.nonsense": PDF}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    image = ImagePart.from_file(tmp_path / "b.JPG", "high")
    assert image.url.startswith("data:image/jpeg;base64,")
    assert image.detail == "high"
    assert b64decode(ImagePart.from_file(str(tmp_path / "a.png")).url.partition(",")[2]) == PNG
    assert AudioPart.from_file(tmp_path / "c.wav") == AudioPart.from_bytes(WAV)
    assert AudioPart.from_file(tmp_path / "d.mp3").format == "mp3"
    assert FilePart.from_file(tmp_path / "e.pdf") == FilePart.from_bytes(PDF, "e.pdf")
    for read in (ImagePart.from_file, AudioPart.from_file, FilePart.from_file):
        with pytest.raises(ValueError, match="nonsense"):
            read(tmp_path / "f.nonsense")
    with pytest.raises(ValueError, match="image/"):
        ImagePart.from_file(tmp_path / "e.pdf")
    with pytest.raises(FileNotFoundError):
        FilePart.from_file(tmp_path / "none.pdf")


def test_what_is_no_block_says_what_to_call() -> None:
    image, audio, file = (part for part in (ImagePart, AudioPart, FilePart))
    wrong: list[Any] = [
        lambda: image("photo.png"), lambda: image(PNG), lambda: audio(WAV), lambda: file(PDF),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ]  # fmt: skip
    for make in wrong:
        with pytest.raises((TypeError, ValueError), match=r"from_(file|bytes)"):
            make()
    for broken in (lambda: FilePart(), lambda: FilePart("data:x", file_id="f"), lambda: AudioPart("", "ogg")):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # noqa: PLW0108
        with pytest.raises(ValueError, match=r"FilePart|AudioPart"):
            broken()
    with pytest.raises(TypeError, match="UserMessage"):
        UserMessage((PNG,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_blocks_survive_the_wire_and_a_store() -> None:
    message = UserMessage(BLOCKS)
    assert message_of(message.to_dict(), "m") == message
    assert message_of(stored(message), "m") == message
    assert [part.to_dict()["type"] for part in BLOCKS] == [
        "text", "image_url", "image_url", "input_audio", "input_audio", "file", "file",
    ]  # fmt: skip
    given = ToolMessage("c0", "two", images=tuple([part for part in BLOCKS if not isinstance(part, TextPart)]))
    assert message_of(stored(given), "m") == given


def test_blocks_that_are_refused() -> None:
    refused: tuple[object, ...] = (
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "ogg"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {}},
        {"type": "file", "file": {"file_data": 5}},
        {"type": "file", "file": "a"},
    )
    for block in refused:
        with pytest.raises(InvalidRequest, match=r"content\[0\]"):
            message_of({"role": "user", "content": [block]}, "m")
    with pytest.raises(InvalidRequest, match="input_audio"):
        message_of({"role": "system", "content": [BLOCKS[3].to_dict()]}, "m")


def test_texts_are_joined_on_lines_of_their_own() -> None:
    texts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert message_of({"role": "system", "content": texts}, "m") == SystemMessage("One.\nTwo.")
    assert message_of({"role": "assistant", "content": texts}, "m") == AssistantMessage("One.\nTwo.")


@tool
def record() -> list[object]:
    return ["Here.", BLOCKS[3], {"file": BLOCKS[5]}]


def test_tools_return_recordings_and_files() -> None:
    model = Scripted(called(("record", {})), said("Heard."))
    Agent(model, tools=[record]).run_sync("Listen.")
    shown = model.requests[1].messages[-1]
    assert isinstance(shown, UserMessage)
    assert shown.content[1:] == (BLOCKS[3], BLOCKS[5])
