"""Text of the languages that a run is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.corpora import Reading
from polycompress.errors import InputError
from polycompress.languages import find_languages
from polycompress.pipelines.tuning.text import files_of, find_held_out, find_text

LANGUAGES = find_languages("en,sw,de")


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "en.txt").write_text("words\n", encoding="utf-8")
    return f"en={tmp_path}/en.txt"


def test_all_languages_without_text_are_named_at_once(text: str) -> None:
    with pytest.raises(InputError) as caught:
        find_text(text, LANGUAGES, Reading(), asked_with="--langs")
    assert str(caught.value) == (
        "There is no text of Swahili and German: give some with --corpus swh-Latn='FILES' --corpus deu-Latn='FILES', "
        "or other languages with --langs."
    )


def test_held_out_text_may_be_of_some_languages_only(text: str) -> None:
    reading = Reading(field="body")
    (found,) = find_held_out([text], LANGUAGES, reading, asked_with="--langs")
    assert (found.language.code, found.reading) == ("eng-Latn", reading)
    with pytest.raises(InputError, match=r"not asked for: add it to --source or --target \(now eng-Latn\)"):
        find_held_out("sw=x.txt", LANGUAGES[:1], reading, asked_with="--source or --target")


def test_files_are_told_by_language_name_and_size(text: str) -> None:
    assert files_of(find_text(text, LANGUAGES[:1], Reading(), asked_with="--langs")) == [
        ["eng-Latn", "en.txt", 6]
    ]
