from __future__ import annotations

import os
from pathlib import Path

import pytest

from polycompress.corpora import find_files, read_texts
from polycompress.errors import InputError
from tests.corpora.helpers import write


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_in_a_directory_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path / "a.txt", "Tag")
    assert find_files(str(tmp_path)) == (tmp_path / "a.txt",)


def test_a_loop_of_links_is_gone_round_once(tmp_path: Path) -> None:
    text = write(tmp_path / "t" / "a.txt", "Tag")
    (tmp_path / "t" / "loop").symlink_to(tmp_path / "t")
    assert find_files(str(tmp_path / "t" / "**")) == (text,)
    assert find_files(str(tmp_path / "t" / "**" / "*.txt")) == (text,)
    with pytest.raises(InputError, match="no file matches it"):
        find_files(str(tmp_path / "fehlt" / "**"))
