from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.languages import PRESETS, UNASSIGNED, all_languages, find_languages, select_languages
from polycompress.moe.families import (
    MAX_ROWS,
    FamilyTable,
    assign_families,
    find_family,
    nearest_family,
    parse_family_table,
)

OWN = FamilyTable({"deu-Latn": "North", "fra-Latn": "South"}, "own.tsv")


@given(
    st.lists(st.sampled_from(all_languages()), min_size=1, max_size=40, unique=True), st.sampled_from(PRESETS)
)
def test_every_language_is_in_exactly_one_family(languages: list[object], preset: str) -> None:
    assigned = assign_families(languages, preset, UNASSIGNED)  # type: ignore[arg-type]
    assert list(assigned) == [each.code for each in languages]  # type: ignore[attr-defined]
    assert all(assigned.values())


def test_a_preset_says_the_family() -> None:
    assert assign_families(find_languages("de,sw,fr"), "glottolog-branch") == {
        "deu-Latn": "Germanic", "swh-Latn": "Narrow Bantu", "fra-Latn": "Romance",
    }  # fmt: skip


def test_a_language_in_no_family_is_refused_by_name() -> None:
    with pytest.raises(
        InputError, match=r"In no family of the preset apollo: Turkish \(tur-Latn\), Finnish \(fin"
    ):
        assign_families(find_languages("de,tr,fi"), "apollo")
    with pytest.raises(
        InputError, match=r"In no family of own\.tsv: Swahili \(swh-Latn\)\. Leave them out.*--unknown"
    ):
        assign_families(find_languages("de,sw"), OWN)


def test_unknown_puts_it_where_it_is_told() -> None:
    languages = find_languages("de,tr")
    assert assign_families(languages, "apollo", "altaic") == {
        "deu-Latn": "Indo-European",
        "tur-Latn": "Altaic",
    }
    assert assign_families(languages, "apollo", "Unassigned")["tur-Latn"] == UNASSIGNED
    assert assign_families(languages, OWN, "south") == {"deu-Latn": "North", "tur-Latn": "South"}
    assert assign_families(languages, "glottolog-branch", "Bantu")["tur-Latn"] == "Common Turkic"
    with pytest.raises(
        InputError, match=r"Unknown family 'Sout'\. Did you mean South\? The families of own\.tsv: North"
    ):
        assign_families(languages, OWN, "Sout")
    with pytest.raises(InputError, match=r"Unknown language family 'Germanik'\. Did you mean Germanic"):
        find_family("Germanik", "glottolog-branch")


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"Unknown family preset 'glottolog'\. There are: glottolog-family"):
        assign_families(find_languages("de"), "glottolog")


def test_families_are_known_by_everyday_names() -> None:
    names = ("Narrow Bantu", "Germanic")
    assert nearest_family("bantu", names, "the families") == "Narrow Bantu"
    assert nearest_family("GERMANIC", names, "the families") == "Germanic"
    with pytest.raises(InputError, match=r"Unknown family 'Xyz'\. Its families: Germanic, Narrow Bantu\."):
        nearest_family("Xyz", names, "its families")
    with pytest.raises(InputError, match=r"'Germanish'\. Did you mean Germanic\?"):
        nearest_family("Germanish", names, "its families")


def test_a_table_is_read() -> None:
    table = parse_family_table(
        ["language\tfamily", "", "de \t North  Sea", "Swahili\tEast", "de\tNorth Sea"], "t"
    )
    assert table.families == {"deu-Latn": "North Sea", "swh-Latn": "East"}


def test_every_fault_of_a_table_is_named_with_its_line() -> None:
    lines = ["de\tNorth", "fr", "xx\tSouth", "sw\t", "\tEast", "German\tSouth", "a\tb\tc", "it\tS\x07outh"]
    with pytest.raises(InputError) as caught:
        parse_family_table(lines, "own.tsv")
    message = str(caught.value).split("\n  ")
    assert message[0] == "own.tsv: this table of families is wrong:"
    assert message[1] == "line 2: has no tab: write a language and its family with a tab between."
    assert message[2].startswith("line 3: Unknown language 'xx'")
    assert message[3] == "line 4: gives swh-Latn no family."
    assert message[4] == "line 5: has a family ('East') but no language."
    assert message[5] == "line 6: puts deu-Latn into 'South', but line 1 into 'North': keep one."
    assert message[6] == "line 7: has 3 columns: write a language and its family with a tab between."
    assert message[7] == "line 8: the family of ita-Latn has characters that cannot be shown."
    assert len(message) == 8


def test_many_faults_are_cut_short() -> None:
    with pytest.raises(InputError, match=r"line 10: .*\n  and 15 more$"):
        parse_family_table(["de"] * 25, "own.tsv")


def test_an_empty_or_endless_table_is_refused() -> None:
    with pytest.raises(InputError, match=r"own\.tsv: holds no language"):
        parse_family_table(["language\tfamily", " "], "own.tsv")
    with pytest.raises(InputError, match=f"more than {MAX_ROWS} lines"):
        parse_family_table(("" for _ in range(MAX_ROWS + 1)), "own.tsv")


def test_what_a_person_writes_for_languages_may_be_a_family() -> None:
    assert set(assign_families(select_languages("Romance"), "glottolog-branch").values()) == {"Romance"}
