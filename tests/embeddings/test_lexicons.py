from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.embeddings.lexicons import as_known, has_language, parted, read_lexicon
from polycompress.embeddings.swadesh import GLOSSES
from polycompress.errors import InputError
from polycompress.languages import find_language

EN, YO, SW = (find_language(code) for code in ("en", "yo", "sw"))


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("turned", [False, True])
def test_the_first_line_says_which_column_is_which(turned: bool, tmp_path: Path) -> None:
    lines = [("en", "yo"), ("house", "ilé"), ("water", "omi"), ("water", "omi"), ("to go", "lọ")]
    path = _write(
        tmp_path / "a.tsv", "".join("\t".join(pair[::-1] if turned else pair) + "\n" for pair in lines)
    )
    found = read_lexicon(path, YO, EN)
    assert found.pairs == (("ilé", "house"), ("omi", "water"))
    assert found.left_out == 1
    assert has_language(path, YO)
    assert not has_language(path, SW)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("en\tyo\nhouse ilé\nwater\tomi\nsun oòrùn\n", "line 2 has no tab, line 4 has no tab"),
        ("en\tyo\nhouse\tilé\tx\n", "line 2 has 3 columns"),
        ("house\tilé\n", "has to name the languages"),
        ("en\tsw\nhouse\tnyumba\n", "has to name the languages"),
        ("en\tyo\n", "holds no words of Yoruba"),
    ],
)
def test_faults_name_lines(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=fault):
        read_lexicon(_write(tmp_path / "a.tsv", text), YO, EN)


def test_swadesh_lists_join_by_concept_and_have_english_names(tmp_path: Path) -> None:
    assert len(GLOSSES) == 207
    assert (GLOSSES[21], GLOSSES[149], GLOSSES[206]) == ("one", "water", "name")
    text = (
        "iso639_3\tconcept\teng\tword\nyor\t22\tadulterous\tení\nyor\t150\twater\tomi\nyor\t15\thow\t-je\n"
        "yor\t64\tblood\tɛ*\nswh\t150\twater\tmaji\nswh\t36\tfemale\tmwanamke\n"
    )
    path = _write(tmp_path / "swadesh.tsv", text)
    assert set(read_lexicon(path, YO, EN).pairs) == {("ení", "one"), ("omi", "water")}
    assert read_lexicon(path, YO, SW).pairs == (("omi", "maji"),)
    assert has_language(path, SW)
    assert not has_language(path, find_language("rw"))


def test_the_vocabularys_own_spelling_is_taken() -> None:
    words, goals = {"Haus": 0, "tag": 1}, {"house": 0, "Day": 1}
    assert as_known([("Haus", "House"), ("Tag", "Day")], words, goals) == [("Haus", "house"), ("tag", "Day")]


def test_what_is_held_out_shares_no_translation_and_follows_the_seed() -> None:
    pairs = [(f"w{number}", f"t{number // 2}") for number in range(2000)]
    learn, judge = parted(pairs)
    assert {goal for _, goal in learn}.isdisjoint(goal for _, goal in judge)
    assert len(learn) + len(judge) == 2000
    assert 120 < len(judge) < 280
    assert parted(pairs[::-1])[1] == judge[::-1]
    assert parted(pairs, seed=1)[1] != judge
