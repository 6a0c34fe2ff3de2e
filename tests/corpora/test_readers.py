from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import os
import re
from pathlib import Path

import pytest
import zstandard

from polycompress import corpora
from polycompress.corpora import DamagedShardError, TextReader, describe, read_texts
from polycompress.errors import InputError, StorageError
from tests.corpora.helpers import CHECKSUM, LINES, PACKERS, TEXT, write


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("named", [True, False])
def test_every_format_by_content(tmp_path: Path, kind: str, named: bool) -> None:
    path = write(tmp_path / (f"a.{kind}" if named else "a"), PACKERS[kind](TEXT.encode()))
    assert list(read_texts([path])) == LINES


@pytest.mark.parametrize("kind", ["gz", "zst", "bz2", "xz"])
def test_several_members_or_frames_are_one_text(tmp_path: Path, kind: str) -> None:
    pack = PACKERS[kind]
    path = write(tmp_path / "a", pack(b"eins\nzw") + pack(b"ei\n") + pack(b"drei\n"))
    assert list(read_texts([path])) == ["eins", "zwei", "drei"]


@pytest.mark.parametrize("kind", ["gz", "zst", "bz2", "xz"])
@pytest.mark.parametrize("damage", ["cut off", "flipped"])
def test_damaged_files_are_refused(tmp_path: Path, kind: str, damage: str) -> None:
    noise = "".join(f"{hashlib.sha256(bytes([i % 256, i // 256])).hexdigest()}\n" for i in range(9000))
    data = bytearray(PACKERS[kind](noise.encode()))
    if damage == "cut off":
        del data[len(data) * 2 // 3 :]
    else:
        data[CHECKSUM[kind]] ^= 0xFF
    path = write(tmp_path / f"a.{kind}", bytes(data))
    with pytest.raises(
        InputError, match=rf"a\.{kind}: the compressed data are damaged .*after \d+ unpacked bytes"
    ):
        list(read_texts([path]))


@pytest.mark.parametrize("kind", ["gz", "xz"])
def test_what_was_unpacked_before_a_small_file_is_cut_off_is_read(tmp_path: Path, kind: str) -> None:
    lines = [hashlib.sha256(bytes([i % 256, i // 256])).hexdigest() for i in range(900)]
    content = "".join(f"{line}\n" for line in lines).encode()
    assert len(content) < corpora.BLOCK
    packed = PACKERS[kind](content)
    path = write(tmp_path / f"a.{kind}", packed[: len(packed) // 2])
    found: list[str] = []
    with pytest.raises(DamagedShardError) as caught:
        found.extend(read_texts([path]))
    (unpacked,) = map(int, re.findall(r"cut off after (\d+) unpacked bytes", str(caught.value)))
    assert unpacked > len(content) / 3
    assert caught.value.position == f"byte {unpacked}"
    assert caught.value.texts_read == unpacked // 65
    assert found == lines[: caught.value.texts_read]


def test_zstd_without_content_checksum_cut_at_a_block_is_refused(tmp_path: Path) -> None:
    made = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(made, closefd=False) as writer:
        writer.write(b"eins\n")
        writer.flush(zstandard.FLUSH_BLOCK)
        first = len(made.getvalue())
        writer.write(b"zwei\n")
    path = write(tmp_path / "a.zst", made.getvalue()[:first])
    with pytest.raises(InputError, match="end inside a frame"):
        list(read_texts([path]))


def test_small_zstd_file_that_unpacks_to_much_is_streamed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zst", zstandard.ZstdCompressor().compress(b"a" * 50 * 2**20))
    assert path.stat().st_size < 2**14
    assert sum(len(piece) for piece in read_texts([path])) == 50 * 2**20


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"gut\nschlecht \xff\xfe", 13),
        ("ü".encode() * 3 + b"\xc3", 6),
        (b"x" * (corpora.BLOCK - 1) + "ü".encode()[:1] + b"abc", corpora.BLOCK - 1),
        (b"x" * corpora.BLOCK + b"\n" + "ä".encode("latin-1") + b"rger\n", corpora.BLOCK + 1),
        (b"\xef\xbb\xbfabc\xe4", 6),
        (b"\xed\xa0\x80", 0),
    ],
)
@pytest.mark.parametrize("kind", ["txt", "gz"])
def test_bytes_that_are_not_utf8_are_named(tmp_path: Path, data: bytes, offset: int, kind: str) -> None:
    path = write(tmp_path / "falsch", PACKERS[kind](data))
    with pytest.raises(InputError, match=rf"falsch: byte {offset} is not UTF-8"):
        list(read_texts([path]))


def test_binary_and_utf16_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "Tag\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"byte 3 is zero: it is not a text file, or is UTF-16"):
        list(read_texts([path]))
    path = write(tmp_path / "b", b"x\n" * corpora.BLOCK + b"\0")
    with pytest.raises(InputError, match=f"byte {2 * corpora.BLOCK} is zero"):
        list(read_texts([path]))


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("text", ["", "\n\r\n  \t\n", "\ufeff"])
def test_no_text_at_all_is_refused(tmp_path: Path, kind: str, text: str) -> None:
    paths = [write(tmp_path / name, PACKERS[kind](text.encode())) for name in ("a", "b")]
    with pytest.raises(InputError, match=r"a and 1 more: no text in it"):
        list(read_texts(paths))


def test_one_empty_file_among_others_is_no_error(tmp_path: Path) -> None:
    assert list(read_texts([write(tmp_path / "a", ""), write(tmp_path / "b", "Tag")])) == ["Tag"]


def test_missing_unreadable_and_failing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="fehlt: no such file"):
        list(read_texts([tmp_path / "fehlt"]))
    with pytest.raises(InputError, match="is a directory"):
        list(read_texts([tmp_path]))

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    path = write(tmp_path / "a", "Tag\n")
    monkeypatch.setattr("polycompress.corpora.unpacking._unpack", fail)
    with pytest.raises(StorageError, match="a: reading failed after 0 bytes"):
        list(read_texts([path]))


def test_byte_order_mark_is_left_out_only_at_the_start(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "\ufeffeins\n\ufeffzwei\n")
    assert list(read_texts([path])) == ["eins", "\ufeffzwei"]


def test_long_lines_come_in_pieces_split_behind_spaces(tmp_path: Path) -> None:
    line = "wörter " * (corpora.MAX_LINE // 3)
    pieces = list(read_texts([write(tmp_path / "a", f"{line}\nkurz\n{'x' * (corpora.MAX_LINE + 5)}")]))
    assert pieces[-3:] == ["kurz", "x" * corpora.MAX_LINE, "xxxxx"]
    assert "".join(pieces[:-3]) == line
    assert all(corpora.MAX_LINE - 7 <= len(piece) <= corpora.MAX_LINE for piece in pieces[:-4])
    assert all(piece.endswith("wörter ") for piece in pieces[:-3])


def test_provenance_has_the_digest_of_the_file_as_it_lies_there(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"a.{kind}", pack(TEXT.encode())) for kind, pack in PACKERS.items()]
    paths.append(write(tmp_path / "mit-anhang.bz2", bz2.compress(b"eins\n") + b"rest"))
    reader = TextReader(paths)
    assert reader.provenance() == []
    for _ in range(2):
        assert list(reader) == LINES * len(PACKERS) + ["eins"]
    assert reader.provenance() == [
        {
            "name": path.name,
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in paths
    ]
    assert describe(paths) == [
        {key: entry[key] for key in ("name", "bytes")} for entry in reader.provenance()
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_device_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{path}: is a pipe or a device. Save the text to a file"):
            list(read_texts([path]))


def test_real_text(data_dir: Path) -> None:
    path = data_dir / "text" / "de.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        assert list(read_texts([path])) == [line.rstrip("\n") for line in file if line.strip()]
