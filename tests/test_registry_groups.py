"""Families and other groups of languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.languages import (
    PRESETS,
    UNASSIGNED,
    all_languages,
    covered_by,
    family_groups,
    family_of,
    find_group,
    find_language,
    in_script,
    select_languages,
)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_puts_every_language_into_one_group(preset: str) -> None:
    groups = family_groups(preset)
    assert list(groups) == [language.code for language in all_languages()]
    assert all(groups.values())
    found = [find_group(group, preset) for group in dict.fromkeys(groups.values())]
    members = [language.code for _, languages in found for language in languages]
    assert sorted(members) == sorted(groups)
    if preset != "apollo":
        assert UNASSIGNED not in groups.values()


def test_groups_of_the_paper() -> None:
    groups = family_groups("apollo")
    known = {language.iso639_3 for language in all_languages() if groups[language.code] != UNASSIGNED}
    assert len(known) == 50
    assert len({*groups.values()} - {UNASSIGNED}) == 7
    # As printed, errors and all: `ne` is Mongolian there.
    assert groups["khk-Cyrl"] == "Altaic"
    assert groups["npi-Deva"] == UNASSIGNED
    assert groups["hau-Latn"] == groups["bam-Latn"] == "Kongolese"
    assert groups["ckb-Arab"] == "Afro-Asiatic"
    assert groups["dgo-Deva"] == "Austronesian"
    assert groups["zho-Hans"] == groups["zho-Hant"] == "Sino-Tibetan"
    assert groups["srp-Cyrl"] == groups["srp-Latn"] == "Indo-European"
    with pytest.raises(TypeError):
        groups["npi-Deva"] = "Altaic"  # type: ignore[index]


@pytest.mark.parametrize(
    ("spec", "preset", "group", "some"),
    [
        ("Romance", None, "Romance", "fra ita cat ron roh"),
        ("bantu", None, "Narrow Bantu", "swh zul lin sna"),
        ("Narrow  BANTU", "glottolog-branch", "Narrow Bantu", "swh zul"),
        ("Turkic", None, "Turkic", "tur sah chv"),
        ("Turkic", "glottolog-branch", "Common Turkic", "tur sah"),
        ("Niger-Congo", None, "Atlantic-Congo", "swh wol yor"),
        ("Niger-Congo", "apollo", "Kongolese", "swh hau"),
        ("isolate", None, "(isolate)", "eus"),
        ("Indo_European", "glottolog-family", "Indo-European", "deu hin rus lat"),
        ("unassigned", "apollo", "unassigned", "tur fin"),
    ],
)
def test_groups_by_their_names(spec: str, preset: str | None, group: str, some: str) -> None:
    name, languages = find_group(spec, preset)
    assert name == group
    assert {find_language(code) for code in some.split()} <= set(languages)


def test_common_turkic_is_without_chuvash() -> None:
    assert find_language("cv") not in find_group("Common Turkic")[1]
    assert find_language("cv") in find_group("Turkic")[1]


@pytest.mark.parametrize(
    ("spec", "preset", "message"),
    [
        (
            "Romanse",
            None,
            r"family 'Romanse'\. Did you mean Romance\? languages/groups\.tsv lists families and",
        ),
        ("Romance", "apollo", r"family 'Romance'\. .*lists the groups of apollo, for example Indo-European"),
        ("Bantoo", "glottolog-branch", r"Did you mean Narrow Bantu\?.*for example Romance"),
        ("unassigned", "glottolog-family", r"Unknown language family 'unassigned'"),
        ("x" * 1000, None, r"Unknown language family 'x{60}\.\.\.'"),
        (
            "Romance",
            "ethnologue",
            r"preset 'ethnologue'\. There are: glottolog-family, glottolog-branch, apollo\.",
        ),
    ],
)
def test_unknown_groups_are_told_the_nearest(spec: str, preset: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_group(spec, preset)


def test_the_group_of_a_language() -> None:
    assert family_of("sw", "glottolog-branch") == "Narrow Bantu"
    assert family_of("Finnish", "apollo") == UNASSIGNED
    assert family_of("gv", "apollo", unknown=UNASSIGNED) == UNASSIGNED
    assert family_of("gv", "glottolog-branch", unknown="Celtic") == "Celtic"
    with pytest.raises(InputError, match=r"Unknown language 'gv' \(Manx is not in the registry\)"):
        family_of("gv", "apollo")
    with pytest.raises(InputError, match="Unknown family preset 'clan'"):
        family_of("de", "clan", unknown=UNASSIGNED)
    with pytest.raises(InputError, match="Unknown family preset 'clan'"):
        family_groups("clan")


def test_selections() -> None:
    codes = [language.code for language in select_languages("German, Celtic,de,Greek")]
    assert codes[0] == "deu-Latn"
    assert codes[-1] == "ell-Grek", "a name that a language has means the language"
    assert {"cym-Latn", "gle-Latn", "bre-Latn"} <= set(codes)
    assert len(codes) == len(set(codes))
    assert select_languages("all") == all_languages()
    assert select_languages("zul,ALL")[0].code == "zul-Latn"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (" , ", r"No language in ' , '"),
        ("de,Romanze", r"Unknown language 'Romanze'.*Or the family Romance\? A family or branch \(Romance"),
        ("germn", r"mean German \(deu-Latn\)\?.*A family or branch"),
    ],
)
def test_wrong_selections_are_told_the_nearest(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_languages(spec)


@given(st.text(max_size=30))
def test_any_text_is_a_selection_or_an_input_error(spec: str) -> None:
    try:
        assert select_languages(spec)
    except InputError as error:
        assert str(error).startswith(("Unknown language", "No language"))


def test_filters() -> None:
    languages = all_languages()
    assert {entry.script for entry in in_script(languages, "cyrl")} == {"Cyrl"}
    assert {entry.script for entry in in_script(languages, "Hani")} == {"Hans", "Hant", "Jpan"}
    assert len(covered_by(languages, "xnli")) == 15
    assert covered_by(languages, "XLM-R") == covered_by(languages, "xlmr")
    with pytest.raises(InputError, match=r"Unknown script 'Latin'\. Did you mean Latn\? Known are Arab, "):
        in_script(languages, "Latin")
    with pytest.raises(InputError, match=r"Unknown coverage 'xnlii'\. Did you mean xnli\? Known are xlmr"):
        covered_by(languages, "xnlii")
