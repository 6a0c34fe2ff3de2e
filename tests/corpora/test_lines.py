from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.corpora import DamagedShardError
from polycompress.corpora import lines as module
from polycompress.corpora.lines import decoded, plain_lines, record_lines, split_lines, with_text


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)))
def test_lines_are_what_splitting_the_whole_text_gives(lines: list[str]) -> None:
    text = "\n".join(lines)
    blocks = text.encode()
    for size in (1, 3, 7, 2**17):
        cut = [blocks[start : start + size] for start in range(0, len(blocks), size)]
        got = [line for batch in plain_lines(decoded(cut, Path("a"))) for line in with_text(batch)]
        whole = text.removeprefix("\ufeff").split("\n")
        expected = [line.removesuffix("\r") for line in whole]
        assert got == with_text(expected)


@pytest.mark.parametrize(
    "unseen", ["", " \t", "\u200b", " \u200b\u200d ", "\ufeff", "\x01\x7f", "\u3000\u2060", "\U000e0041"]
)
def test_what_nobody_sees_is_no_text(unseen: str) -> None:
    assert with_text([unseen, "a", unseen]) == ["a"]
    for seen in ("a", "...", "\u0301", "\u1b05", "😀", "中"):
        assert with_text([unseen + seen, seen + unseen]) == [unseen + seen, seen + unseen]


@given(
    st.lists(st.sampled_from(["ab", "c", "\r", "\n", " ", "é"]), max_size=60).map("".join),
    st.integers(1, 20),
    st.integers(2, 6),
)
def test_long_lines_are_cut_alike_however_the_file_comes(text: str, size: int, limit: int) -> None:
    data = text.encode()
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_LINE", limit)
        got = [line for batch in plain_lines(decoded(blocks, Path("a"))) for line in batch]
        assert got == split_lines(text)
        assert all(len(line) <= limit for line in got)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)))
def test_record_lines_are_the_lines(lines: list[str]) -> None:
    text = "".join(line.replace("\n", "") + "\n" for line in lines)
    for size in (1, 5):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        got = [line for batch in record_lines(pieces, Path("a")) for line in batch]
        assert got == [line.replace("\n", "") for line in lines]


def test_a_record_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORD", 10)
    with pytest.raises(DamagedShardError, match="a: line 3 has more than 10 characters") as caught:
        list(record_lines(["x\ny\n", "z" * 6, "z" * 6], Path("a")))
    assert caught.value.position == "line 3"


@given(
    st.lists(st.text("aü你\n", max_size=12), min_size=1, max_size=5),
    st.sampled_from([b"\xff", b"\xf8a", b"\xfe\xc3"]),
    st.integers(1, 9),
)
def test_what_comes_before_the_damage_is_read(texts: list[str], bad: bytes, size: int) -> None:
    whole = "".join(texts)
    data = whole.encode() + bad + b"\nmehr\n"
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    got: list[str] = []
    with pytest.raises(DamagedShardError) as caught:
        for batch in plain_lines(decoded(blocks, Path("a"))):
            got += batch
    assert caught.value.position == f"byte {len(whole.encode())}"
    assert got == whole.split("\n")[:-1]


def test_a_zero_byte_late_in_a_file_is_damage() -> None:
    with pytest.raises(DamagedShardError, match=f"byte {2**17 + 2} is zero"):
        list(decoded([b"x\n" * 2**16, b"ab\0"], Path("a")))
