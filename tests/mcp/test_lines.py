import codecs

import pytest

from agentkit.mcp import lines
from agentkit.mcp.lines import LINES


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_text_comes_in_whole_lines(size: int) -> None:
    text = "one\n\nzwö\n日本\U0001f600\nno end"
    data = text.encode(LINES)
    assert data == text.encode()
    decoder = codecs.getincrementaldecoder(LINES)()
    pieces = [decoder.decode(data[at : at + size]) for at in range(0, len(data), size)]
    assert "".join(pieces) == text.removesuffix("no end")
    assert all(piece.endswith("\n") for piece in pieces if piece)


def test_a_line_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_MAX_LINE", 10)
    decoder = codecs.getincrementaldecoder(LINES)()
    assert decoder.decode(b"0123456789\n0123456789") == "0123456789\n"
    with pytest.raises(ConnectionError, match="more than 10 bytes"):
        decoder.decode(b"x")
    with pytest.raises(UnicodeDecodeError):
        codecs.getincrementaldecoder(LINES)().decode(b"\xff\n")


def test_no_other_codec_is_changed() -> None:
    with pytest.raises(LookupError):
        codecs.lookup("agentkit-nothing")
