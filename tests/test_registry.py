"""The tables of ``languages/``: what they say, and that their check finds what is wrong with them."""

from __future__ import annotations

import csv
import importlib
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from polycompress.languages import COVERAGE, all_languages, find_language, is_script_character

ROOT = Path(__file__).parent.parent
TABLES = ROOT / "languages"

Check = Callable[[Path], list[str]]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.syspath_prepend(TABLES)
    return importlib.import_module("check_registry").faults  # type: ignore[no-any-return]


def test_the_check_finds_no_fault() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import runpy; runpy.run_path({str(TABLES / 'check_registry.py')!r})['main']()",
        ],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{TABLES}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{len(all_languages())} rows, no fault\n"


@pytest.mark.parametrize(
    ("table", "old", "new", "fault"),
    [
        ("registry.tsv", "fra-Latn\tfra\tfr", "deu-Latn\tdeu\tde", "deu-Latn: two rows"),
        ("registry.tsv", "deu-Latn\tdeu", "dex-Latn\tdeu", "dex-Latn: not ISO 639-3 and ISO 15924"),
        ("registry.tsv", "\tger\t", "\tfr\t", "fra-Latn: 'fr' is deu-Latn as well"),
        ("registry.tsv", "Finnish\tsuomi", "Finnish\t", "fin-Latn: own_name is ''"),
        ("registry.tsv", "suomi\tLatn\tfi\tyes", "suomi\tLatn\tfi\tno one", "fin-Latn: spaced is 'no one'"),
        ("registry.tsv", "suomi\tLatn\tfi", "suomi\tLatn\t", "wordfreq: covered should differ in fin-Latn"),
        ("registry.tsv", "Finnic\tfinn1318", "Fennic\tfinn1318", "branch 'Fennic' is not in groups.tsv"),
        (
            "registry.tsv",
            "Uralic\tFinnic\tfinn1318",
            "Uralic\tMari\tfinn1318",
            "fin-Latn: differs from glott",
        ),
        ("registry.tsv", "finn1318\tltr\twordfreq;xlmr", "finn1318\tltr\twordfreq", "xlmr: covers 98 rows"),
        ("registry.tsv", "finn1318\tltr\twordfreq", "finn1318\tltr\twordfreq;x", "covered by unknown x"),
        ("registry.tsv", "finn1318\tltr", "finn1318\trtl", "fin-Latn: direction is rtl, its script's is ltr"),
        (
            "glottolog.tsv",
            "Uralic > Finnic > Coastal",
            "Uralic > Coastal",
            "are not the chain 'Uralic > Coas",
        ),
        ("glottolog.tsv", "\nfin\t", "\nfix\t", "fin-Latn: not in glottolog.tsv"),
        (
            "groups.tsv",
            "\tBantu\t",
            "\tBantu;Romance\t",
            "glottolog-branch: 'Romance' is Narrow Bantu and Rom",
        ),
        ("groups.tsv", "apollo\tAltaic", "apollo\tYeti", "apollo: Yeti has no language"),
        ("apollo.tsv", "Altaic\tkor\tko\t", "Altaic\tjpn\tko\t", "49 languages in 50 rows, the paper has 50"),
        ("apollo.tsv", "Altaic\tkor\tko\t", "Altaic\tkox\tko\t", "apollo.tsv: not in the registry: kox"),
        (
            "letters.tsv",
            "deu-Latn\tde\t48.2.0\tC4",
            "deu-Latn\tde\t48.2.0\t41 C4",
            "U+0041 is no letter outs",
        ),
        ("letters.tsv", "deu-Latn\tde\t48.2.0\tC4", "deu-Latn\tde\t48.2.0\t430 C4", "U+0430 а is not of the"),
        (
            "letters.tsv",
            "deu-Latn\tde\t48.2.0\tC4",
            "deu-Latn\tde\t48.2.0\tFF C4",
            "letters are not in order",
        ),
        ("letters.tsv", "deu-Latn\tde\t", "dex-Latn\tde\t", "dex-Latn: has letters, but no row"),
        ("scripts.tsv", "\nThaa\t", "\nThax\t", "scripts.tsv: lacks Thaa"),
    ],
)
def test_the_check_finds_a_fault(
    check: Check, tmp_path: Path, table: str, old: str, new: str, fault: str
) -> None:
    for path in TABLES.glob("*.tsv"):
        shutil.copy(path, tmp_path)
    path = tmp_path / table
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert [line for line in check(tmp_path) if fault in line], check(tmp_path)


def test_families_are_those_of_the_table_that_they_come_from(data_dir: Path) -> None:
    with (data_dir / "languages" / "languages.tsv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in table:
        language = find_language(row["flores_code"] or row["iso639_3"])
        if row["iso639_3"] == "aym":  # Glottolog's node for the wider code; the row is Central Aymara
            continue
        assert (language.family, language.glottocode) == (row["family"], row["glottocode"])
        assert language.branch == (row["branch"] or "Basque")
        assert language.classification == row["classification"]


def test_coverage_is_confirmed_by_the_data(data_dir: Path) -> None:
    found = {
        "sib200": {path.name.partition(".")[0] for path in (data_dir / "sib200").iterdir()},
        "wikiann": {path.name.split(".")[1] for path in (data_dir / "ner" / "wikiann").iterdir()},
        "masakhaner": {path.name.split(".")[1] for path in (data_dir / "ner" / "masakhaner").iterdir()},
        "americasnli": {path.name.split(".")[1] for path in (data_dir / "nli" / "americasnli").iterdir()},
        "xnli": {path.name.split(".")[1] for path in (data_dir / "nli" / "xnli").iterdir()} - {"hr"},
    }
    for name, codes in found.items():
        assert codes
        for code in codes:
            assert name in find_language(code).covered, f"{name}: {code}"


def test_coverage_of_some_languages() -> None:
    assert find_language("sw").covered == {
        "xlmr", "mbert", "xnli", "wikiann", "masakhaner", "sib200", "flores",
    }  # fmt: skip
    assert find_language("de").covered == set(COVERAGE) - {"americasnli", "masakhaner"}
    assert find_language("hi-Latn").covered == {"xlmr"}
    assert find_language("als").covered >= {"xlmr", "mbert", "wikiann", "flores"}
    assert find_language("gsw").covered == find_language("mzn").covered == {"wikiann"}
    assert find_language("oto").covered == {"americasnli"}
    assert find_language("srp-Latn").covered == {"wordfreq"}


@pytest.mark.parametrize(
    ("code", "letters"),
    [
        ("deu-Latn", "ÄÖÜßäöü"),
        ("swh-Latn", ""),
        ("eng-Latn", ""),
        ("hin-Latn", ""),
        ("srp-Latn", "ĆćČčĐđŠšŽž"),
        ("tur-Latn", "ÇÖÜçöüĞğİıŞş"),
        ("uzn-Latn", "ʻʼ"),
        ("kat-Geor", "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ"),
    ],
)
def test_letters_outside_ascii(code: str, letters: str) -> None:
    language = find_language(code)
    assert language.letters == letters
    assert language.letters_known


def test_letters_are_those_of_the_script() -> None:
    cyrillic = find_language("srp-Cyrl").letters
    assert set("ђљњћџЂЉЊЋЏ") <= set(cyrillic)
    assert not set(cyrillic) & set(find_language("srp-Latn").letters)
    assert "\u0301" in find_language("yo").letters, "there is no composed ẹ with an accent"
    assert len(find_language("ko").letters) > 2000
    assert set("繁體") <= set(find_language("zho-Hant").letters)
    assert not find_language("tam-Latn").letters_known
    assert find_language("tam-Latn").letters == ""
    for language in all_languages():
        letters = language.letters
        assert letters == "".join(sorted(set(letters)))
        assert all(is_script_character(letter, language) and not letter.isascii() for letter in letters)
        for letter in letters:
            if unicodedata.category(letter) == "Ll" and len(letter.upper()) == 1 and letter.title() != letter:
                assert letter.upper() in letters or letter.upper().isascii()


def test_how_lines_run() -> None:
    rtl = {language.script for language in all_languages() if language.direction == "rtl"}
    assert rtl == {"Arab", "Hebr", "Nkoo", "Syrc", "Thaa"}
    assert find_language("fa").direction == "rtl"
    assert find_language("arb-Latn").direction == "ltr"


def test_a_record_for_json() -> None:
    record = find_language("bar").as_dict()
    assert record["letters"] is None
    assert record["covered"] == ["mbert", "wikiann"]
    assert find_language("sw").as_dict()["letters"] == ""
    assert set(record) == {
        "code", "iso639_1", "iso639_3", "name", "own_name", "aliases", "family", "branch", "classification",
        "glottocode", "script", "scripts", "direction", "spaced", "letters", "wordfreq", "covered",
    }  # fmt: skip


def test_sets_of_cldr_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TABLES)
    build = importlib.import_module("build_letters")
    assert build.elements(r"[aä b {ch} \- x-z \u0301]") == ["a", "ä", "b", "ch", "-", "x", "y", "z", "\u0301"]
    assert sorted(build.letters("[aä ß {ẹ́} ʼ · ’ 1 ი]")) == sorted("ÄßäʼẸẹ\u0301ი")
    assert build.letters("[a b z {ch}]") == ""
    assert build.spans("ÄÅÆß") == "C4-C6 DF"


def test_the_table_is_what_the_script_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TABLES)
    build = importlib.import_module("build_registry")
    lines = [build.COLUMNS, *([row[column] for column in build.COLUMNS] for row in build.rows())]
    built = "\n".join("\t".join(line) for line in lines) + "\n"
    assert built == (TABLES / "registry.tsv").read_text(encoding="utf-8")
