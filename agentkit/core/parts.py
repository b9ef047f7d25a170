"""The blocks of a user message: texts, images, recordings and files."""

import re
from base64 import b64encode
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias, cast

_OF_BYTES = "; write ImagePart.from_file(path), or ImagePart.from_bytes(data)"


@dataclass(frozen=True, slots=True)
class TextPart:
    """A block of text in a user message."""

    text: str

    def __post_init__(self) -> None:
        check_text("TextPart", self.text)

    def to_dict(self) -> dict[str, object]:
        """Return the block as the wire has it."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image in a user message: an `https:` address or a `data:` URL with base64 bytes.

        ImagePart("https://example.com/photo.png", detail="low")
        ImagePart.from_file("photo.png")

    Raises:
        TypeError: If the URL is no text.
        ValueError: If it is no URL, or the detail is unknown.
    """

    url: str
    detail: Literal["auto", "low", "high"] | None = None

    def __post_init__(self) -> None:
        check_text("ImagePart", self.url, _OF_BYTES)
        if not re.match("(?!file:)[A-Za-z][A-Za-z0-9+.-]+:", self.url):  # a drive's letter is none
            raise ValueError(f"ImagePart({self.url[:80]!r}) is no URL that an endpoint can read{_OF_BYTES}")
        if self.detail not in (None, "auto", "low", "high"):
            raise ValueError(f"ImagePart(detail=…) must be auto, low or high, not {self.detail!r}")

    @classmethod
    def from_bytes(
        cls, data: bytes, media_type: str = "image/png", detail: Literal["auto", "low", "high"] | None = None
    ) -> "ImagePart":
        """Make an image of the bytes of a file, of a type such as `image/png` or `image/jpeg`."""
        return cls(_data_url(data, media_type), detail)

    @classmethod
    def from_file(cls, path: str | PathLike[str], detail: Literal["auto", "low", "high"] | None = None) -> "ImagePart":
        """Read an image from a file; the ending of its name tells its type.

        Raises:
            OSError: If it cannot be read.
            ValueError: If the ending is none of an image.
        """
        return cls.from_bytes(Path(path).read_bytes(), _media_type(path, "image/"), detail)

    def to_dict(self) -> dict[str, object]:
        """Return the block as the wire has it."""
        image: dict[str, object] = {"url": self.url}
        if self.detail is not None:
            image["detail"] = self.detail
        return {"type": "image_url", "image_url": image}


@dataclass(frozen=True, slots=True)
class AudioPart:
    """A recording in a user message: its bytes in base64, and their format.

        AudioPart.from_file("question.wav")

    Raises:
        TypeError: If the data is no text.
        ValueError: If the format is none that endpoints take.
    """

    data: str = field(repr=False)
    format: Literal["wav", "mp3"] = "wav"

    def __post_init__(self) -> None:
        check_text("AudioPart", self.data, "; of bytes, write AudioPart.from_bytes(data, format)")
        if self.format not in ("wav", "mp3"):
            raise ValueError(f"AudioPart(format=…) must be wav or mp3, not {self.format!r}")

    @classmethod
    def from_bytes(cls, data: bytes, format: Literal["wav", "mp3"] = "wav") -> "AudioPart":  # noqa: A002 (its name)
        """Make a recording of the bytes of a file."""
        return cls(b64encode(data).decode(), format)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "AudioPart":
        """Read a recording from a file that ends in `.wav` or `.mp3`.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it has another ending.
        """
        ending = cast('Literal["wav", "mp3"]', Path(path).suffix.lower().removeprefix("."))
        return cls.from_bytes(Path(path).read_bytes(), ending)

    def to_dict(self) -> dict[str, object]:
        """Return the block as the wire has it."""
        return {"type": "input_audio", "input_audio": {"data": self.data, "format": self.format}}


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file in a user message, such as a PDF: its bytes as a `data:` URL, or the id of one that the endpoint stores.

        FilePart.from_file("invoice.pdf")

    Raises:
        TypeError: If a field is no text.
        ValueError: If there is neither data nor an id, or both.
    """

    file_data: str | None = field(default=None, repr=False)
    filename: str | None = None
    file_id: str | None = None

    def __post_init__(self) -> None:
        for value in (self.file_data, self.filename, self.file_id):
            if value is not None:
                check_text("FilePart", value, "; of bytes, write FilePart.from_bytes(data, filename)")
        if bool(self.file_data) == bool(self.file_id):
            raise ValueError("FilePart takes file_data or file_id: write FilePart.from_file(path)")

    @classmethod
    def from_bytes(cls, data: bytes, filename: str, media_type: str = "application/pdf") -> "FilePart":
        """Make a file of bytes, under a name that the model sees."""
        return cls(_data_url(data, media_type), filename)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "FilePart":
        """Read a file; the ending of its name tells its type.

        Raises:
            OSError: If it cannot be read.
            ValueError: If the ending is unknown.
        """
        return cls.from_bytes(Path(path).read_bytes(), Path(path).name, _media_type(path, ""))

    def to_dict(self) -> dict[str, object]:
        """Return the block as the wire has it."""
        fields = {"file_data": self.file_data, "filename": self.filename, "file_id": self.file_id}
        return {"type": "file", "file": {name: value for name, value in fields.items() if value is not None}}


Media: TypeAlias = ImagePart | AudioPart | FilePart
"""What a user message may have besides text, and a tool may return."""

Part: TypeAlias = TextPart | Media
Content: TypeAlias = str | tuple[Part, ...]


def _data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}"


def _media_type(path: str | PathLike[str], family: str) -> str:
    """Return the media type that a file's name tells."""
    from mimetypes import guess_type  # noqa: PLC0415 (it is slow to import)

    found = guess_type(Path(path).name)[0]
    if found is None or not found.startswith(family):
        what = f"of type {family}…" if family else "of a known type"
        raise ValueError(f"the name of {str(path)!r} is none of a file {what}; pass its bytes and type to from_bytes")
    return found


def check_text(what: str, value: object, advice: str = "") -> None:
    """Raise `TypeError` if a value is no text."""
    if not isinstance(value, str):
        raise TypeError(f"{what} takes a text, not {type(value).__name__}{advice}")
