from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from polycompress.corpora.unpacking import unpacked_lines
from polycompress.errors import InputError


@pytest.mark.parametrize("packed", [False, True])
def test_lines_of_plain_and_packed_files(packed: bool, tmp_path: Path) -> None:
    content = "\ufeffde\tNorth\r\n\r\nfr\tSüd\n".encode()
    (tmp_path / "table").write_bytes(gzip.compress(content) if packed else content)
    assert list(unpacked_lines(tmp_path / "table")) == ["de\tNorth", "", "fr\tSüd"]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(b"de\0fr")
    with pytest.raises(InputError, match="table"):
        list(unpacked_lines(tmp_path / "table"))
    with pytest.raises(InputError, match="nothing"):
        list(unpacked_lines(tmp_path / "nothing"))
