"""Which sentences a graph is compared on."""

from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.pipelines.exporting.texts import TEXTS, find_sample


def test_words_of_the_model_s_languages() -> None:
    found = find_sample([], {"languages": [{"code": "deu-Latn"}, {"code": "swh-Latn"}, {"code": 7}, "x"]})
    assert found.origin == "words of the frequency lists of German, put in rows"
    assert len(found.texts) == TEXTS
    assert len(set(found.texts)) == TEXTS
    assert {len(text.split()) for text in found.texts} == {3, 8, 14}
    assert find_sample([], {"languages": [{"code": "deu-Latn"}]}).texts == found.texts


@pytest.mark.parametrize("manifest", [{}, {"languages": [{"code": "swh-Latn"}]}, {"languages": 3}])
def test_of_other_languages_where_there_is_no_list(manifest: dict[str, object]) -> None:
    found = find_sample([], manifest)
    assert "English, German, Russian" in found.origin
    assert len(found.texts) == TEXTS


def test_the_user_s_own(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"first {n}\n\n" for n in range(200)))
    (tmp_path / "b.txt").write_text("second\n")
    found = find_sample(
        [tmp_path / "a.txt", f"de={tmp_path / 'b.txt'}"], {"languages": [{"code": "deu-Latn"}]}
    )
    assert found.texts == (*(f"first {n}" for n in range(TEXTS // 2)), "second")
    assert found.origin == "lines of the given text"


def test_files_without_text(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(InputError, match=r"empty\.txt: no text in it"):
        find_sample([tmp_path / "empty.txt"], {})
    with pytest.raises(InputError, match="xyzzy"):
        find_sample(["xyzzy=none.txt"], {})
    with pytest.raises(InputError, match="--text"):
        find_sample([tmp_path / "none.txt"], {})
