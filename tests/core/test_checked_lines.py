import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentkit.core.checked_lines import Chain, Check, CheckedFile, Damaged, with_check, without_check
from agentkit.core.files import locked

ONE, TWO, THREE = b'{"a":1}', b'{"a":"\xc3\xa4"}', b'{"a":[3]}'


@contextmanager
def opened(path: Path, kind: str = "test") -> Generator[CheckedFile]:
    with locked(path, write=True) as fd:
        yield CheckedFile(fd, kind)


def read(path: Path) -> list[bytes]:
    with opened(path) as file:
        return [line for _, _, line in file.read()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of three lines."""
    path = tmp_path / "file"
    with opened(path) as file:
        file.append([ONE], sync=True)
    with opened(path) as file:
        file.append([TWO, THREE], sync=True)
        assert file.last.number == 3
    return path


def test_a_line_has_a_number_and_a_checksum_of_all_before_it() -> None:
    first, check = with_check(ONE, Check())
    assert re.fullmatch(rb'\{"a":1,"check":"1 [0-9a-f]{8}"\}', first)
    second, last = with_check(ONE, check)
    assert (without_check(first), without_check(second), without_check(ONE)) == (ONE, ONE, ONE)
    assert (Check.at_end(second), Check.at_end(ONE), last.number) == (last, None, 2)
    chain = Chain()
    assert [chain.verify(line) for line in (first, second)] == [ONE, ONE]
    for line, said in ((first, "it is entry 1, where entry 3"), (ONE, "no whole check"), (second, "entry 2")):
        with pytest.raises(ValueError, match=said):
            chain.verify(line)
    with pytest.raises(ValueError, match="its checksum is another one"):
        Chain(check).verify(second.replace(b'"a":1', b'"a":2'))
    with pytest.raises(ValueError, match="no whole check"):
        Chain().verify(first.replace(b"check", b"chec"))


def test_what_is_appended_is_read(path: Path) -> None:
    header, *lines = path.read_bytes().splitlines()
    assert read(path) == [ONE, TWO, THREE]
    last = Check.at_end(lines[-1])
    assert last is not None
    assert header == b'{"agentkit":"test","stored":"%010d %08x"}' % last
    with opened(path) as file:
        for number, at, line in file.read():
            assert path.read_bytes()[at:].startswith(line[:-1])
            assert number > 1
        file.append([], sync=False)
        assert file.last == last


def test_the_lines_after_a_number(path: Path) -> None:
    every = [ONE, TWO, THREE]
    for number in range(5):
        with opened(path) as file:
            assert file.since(number) == every[number:]
    data = path.read_bytes()
    path.write_bytes(data.replace(b"[3]", b"[4]"))
    with opened(path) as file, pytest.raises(Damaged, match="its checksum") as caught:
        file.since(2)
    assert caught.value.line == 4
    path.write_bytes(data.replace(b'{"a":[3]', b'\n{"a":[3]'))  # what is read from the beginning may have empty lines
    with opened(path) as file:
        assert file.since(1) == [TWO, THREE]


DAMAGE: list[tuple[Callable[[bytes], bytes], int, str]] = [
    (lambda data: data.replace(b'"test"', b'"else"'), 1, "another kind, 'else'"),
    (lambda data: data[data.index(b"\n") + 1 :], 1, "missing before it"),
    (lambda data: data.replace(b'"stored"', b'"stared"'), 1, "no whole check"),
    (lambda data: data.replace(b'stored":"0000000003', b'stored":"0000000002'), 1, "another checksum for entry 2"),
    (lambda data: data[: data.index(b'{"a":[3]')], 4, "entries 3 to 3 are missing"),
    (lambda data: data[:-5], 4, "entries 3 to 3 are missing"),
    (lambda data: data[:-1] + b"?", 4, "there is more behind its end"),
    (lambda data: data[:20], 1, "it is cut"),
    (lambda data: bytes(len(data)), 1, "it is cut"),
]


@pytest.mark.parametrize(("damage", "line", "said"), DAMAGE)
def test_damage_is_named(damage: Callable[[bytes], bytes], line: int, said: str, path: Path) -> None:
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Damaged, match=said) as caught:
        read(path)
    assert caught.value.line == line


def test_a_line_that_a_crash_cut_is_left_out_and_taken_away(path: Path) -> None:
    with opened(path) as file:
        file.append([ONE], sync=False)  # the header does not say that it is on the disk
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert read(path) == [ONE, TWO, THREE]
    with opened(path) as file:
        file.append([ONE], sync=False)
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-1])
    assert read(path) == [ONE, TWO, THREE, ONE]
    with opened(path) as file:
        file.append([TWO], sync=False)
    assert read(path) == [ONE, TWO, THREE, ONE, TWO]


def test_an_older_file_is_read_and_covered(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b'{"role":1}\n\n' + TWO + b'\n{"role":')
    assert read(path) == [b'{"role":1}', TWO]
    with opened(path) as file:
        file.append([THREE], sync=True)
        assert (file.last.number, file.since(2)) == (3, [THREE])
    assert read(path) == [b'{"role":1}', TWO, THREE]
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(Damaged, match="or an entry before it"):
        read(path)
    path.write_bytes(b'{"role":')
    assert read(path) == []


def test_a_header_that_cannot_be_written_says_less_than_there_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write = list[bytes](), os.write

    def only_lines(fd: int, data: bytes) -> int:
        written.append(data)
        if len(written) > 1:
            raise OSError(5, "Input/output error")
        return write(fd, data)

    monkeypatch.setattr(os, "write", only_lines)
    with opened(path) as file:
        file.append([ONE], sync=True)
    assert written[1].startswith(b'{"agentkit":"test","stored":"0000000004')
    assert read(path) == [ONE, TWO, THREE, ONE]


def test_who_takes_the_checks_out_accepts_what_is_left(path: Path) -> None:
    """As the documentation says, here with `sed` in Python."""
    *lines, damaged = [
        re.sub(rb',"check":"[0-9]+ [0-9a-f]{8}"\}$', b"}", line) for line in path.read_bytes().splitlines()
    ]
    assert damaged == THREE
    path.write_bytes(b"".join([line + b"\n" for line in lines if not line.startswith(b'{"agentkit"')]))
    assert read(path) == [ONE, TWO]
