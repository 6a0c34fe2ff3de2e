from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from polycompress import corpora
from polycompress.corpora import TextReader, describe, find_files, is_held_out, parse_corpora, read_texts
from polycompress.corpora.lines import decoded, plain_lines, with_text
from polycompress.errors import InputError, StorageError
from polycompress.languages import find_languages

TEXT = "Guten Tag.\r\nÜber allen Gipfeln\n\n  \nist Ruh 你好\nohne Ende"
LINES = ["Guten Tag.", "Über allen Gipfeln", "ist Ruh 你好", "ohne Ende"]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "txt": bytes,
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
CHECKSUM = {"gz": -8, "zst": -1, "bz2": 10, "xz": -30}
"""Where one of the bytes lies that guard the content."""


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


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


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)))
def test_lines_are_what_splitting_the_whole_text_gives(lines: list[str]) -> None:
    text = "\n".join(lines)
    blocks = text.encode()
    for size in (1, 3, 7, 2**17):
        cut = [blocks[start : start + size] for start in range(0, len(blocks), size)]
        got = [line for batch in plain_lines(decoded(cut, Path("a"))) for line in with_text(batch)]
        whole = text.removeprefix("\ufeff").split("\n")
        expected = [line.removesuffix("\r") for line in whole]
        assert got == [line for line in expected if line and not line.isspace()]


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


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.txt", "a.txt", "tief/c.txt", "tief/tiefer/d.gz", ".geheim", ".git/e.txt", "wo[1].txt"):
        write(tmp_path / "t" / name, name)
    monkeypatch.chdir(tmp_path)

    def names(pattern: str) -> list[str]:
        return [str(path.relative_to("t")) for path in find_files(pattern)]

    assert names("t/*.txt") == ["a.txt", "b.txt", "wo[1].txt"]
    assert names("t/[ab].txt") == ["a.txt", "b.txt"]
    assert names("t/wo[1].txt") == ["wo[1].txt"]
    assert names("t/**/*.txt") == ["a.txt", "b.txt", "tief/c.txt", "wo[1].txt"]
    assert names("t") == ["a.txt", "b.txt", "tief/c.txt", "tief/tiefer/d.gz", "wo[1].txt"]
    assert names("t/ti*") == ["tief/c.txt", "tief/tiefer/d.gz"]
    assert find_files(str(tmp_path / "t" / "a*")) == (tmp_path / "t" / "a.txt",)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_files("~/t/a.txt") == (tmp_path / "t" / "a.txt",)


def test_links_are_followed_only_where_named(tmp_path: Path) -> None:
    secret = write(tmp_path / "anderswo" / "geheim.txt", "geheim")
    texts = write(tmp_path / "texte" / "a.txt", "Tag").parent
    (texts / "link.txt").symlink_to(secret)
    (texts / "linkdir").symlink_to(secret.parent)
    assert find_files(str(texts)) == (texts / "a.txt",)
    assert list(read_texts(find_files(str(texts / "link.txt")))) == ["geheim"]


def test_specs_with_and_without_language(tmp_path: Path) -> None:
    de, en = str(write(tmp_path / "de.txt", "Tag")), str(write(tmp_path / "en.txt", "day"))
    german, both = find_languages("de"), find_languages("de,en")
    (spec,) = parse_corpora([de], german)
    assert (spec.language.code, spec.pattern, spec.files) == ("deu-Latn", de, (Path(de),))
    specs = parse_corpora([f"deu_Latn={de}", f"English={en}", f"de={tmp_path}/*.txt"], both)
    assert [(spec.language.code, [file.name for file in spec.files]) for spec in specs] == [
        ("deu-Latn", ["de.txt"]),
        ("eng-Latn", ["en.txt"]),
        ("deu-Latn", ["en.txt"]),
    ]
    assert parse_corpora([de, de], german) == (spec,)
    assert list(read_texts(spec)) == ["Tag"]


def test_an_equals_sign_in_a_path_is_no_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "lang=de.txt", "Tag")
    monkeypatch.chdir(tmp_path)
    for spec in ("lang=de.txt", "./lang=de.txt", "de=lang=de.txt"):
        assert [path.name for path in parse_corpora([spec], find_languages("de"))[0].files] == ["lang=de.txt"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("de=fehlt.txt", r"--corpus 'fehlt.txt': no file matches it \(looked from /"),
        ("de=*.fehlt", r"--corpus '\*\.fehlt': no file matches"),
        ("de=leer.txt", r"leer\.txt: empty\. Give a file with one text a line"),
        ("de=leer", "there is no file in leer"),
        ("de=", r"--corpus 'de=' names no file"),
        (
            "fr=a.txt",
            r"'fr=a.txt' is French \(fra-Latn\), which was not asked for: .*--langs \(now deu-Latn, eng",
        ),
        ("germn=a.txt", r"Unknown language 'germn'. Did you mean German \(deu-Latn\)"),
        ("a.txt", r"'a.txt' does not say its language, and there are 2 .*write --corpus deu-Latn='a.txt'"),
        (f"de={'x' * 5000}", "no file matches"),
    ],
)
def test_wrong_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str) -> None:
    write(tmp_path / "a.txt", "Tag")
    write(tmp_path / "leer.txt", "")
    (tmp_path / "leer").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        parse_corpora([spec], find_languages("de,en"))


def test_messages_name_the_option_that_was_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--text '.*fehlt': no file matches"):
        parse_corpora([str(tmp_path / "fehlt")], find_languages("de"), option="--text")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_in_a_directory_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path / "a.txt", "Tag")
    assert find_files(str(tmp_path)) == (tmp_path / "a.txt",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_device_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{path}: is a pipe or a device. Save the text to a file"):
            list(read_texts([path]))


def test_a_loop_of_links_is_gone_round_once(tmp_path: Path) -> None:
    text = write(tmp_path / "t" / "a.txt", "Tag")
    (tmp_path / "t" / "loop").symlink_to(tmp_path / "t")
    assert find_files(str(tmp_path / "t" / "**")) == (text,)
    assert find_files(str(tmp_path / "t" / "**" / "*.txt")) == (text,)
    with pytest.raises(InputError, match="no file matches it"):
        find_files(str(tmp_path / "fehlt" / "**"))


def test_held_out_lines_never_change() -> None:
    chosen = [number for number in range(1000) if is_held_out(f"Zeile {number}", 0.01)]
    assert chosen == [69, 121, 150, 227, 279, 429, 513, 539, 612, 960]


@given(st.lists(st.text(), unique=True, min_size=1, max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_out_the_same_and_more(texts: list[str], one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert all(is_held_out(text, large) for text in texts if is_held_out(text, small))
    assert not any(is_held_out(text, 0.0) for text in texts)
    assert all(is_held_out(text, 1.0) for text in texts)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_the_share_held_out_is_the_one_asked_for(share: float) -> None:
    count = sum(is_held_out(f"text {number}", share) for number in range(20_000))
    deviation = (20_000 * share * (1 - share)) ** 0.5
    assert abs(count - 20_000 * share) < 4 * deviation


def test_real_text(data_dir: Path) -> None:
    path = data_dir / "text" / "de.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        assert list(read_texts([path])) == [line.rstrip("\n") for line in file if line.strip()]
