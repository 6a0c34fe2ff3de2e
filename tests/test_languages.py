from __future__ import annotations

import csv
import subprocess
import sys
import unicodedata
from pathlib import Path

import langcodes
import pytest
import wordfreq
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.languages import (
    COMPOSITE_SCRIPTS,
    Language,
    all_languages,
    find_language,
    find_languages,
    is_script_character,
    script_mask,
)

XLM_R = """
af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy
id is it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt ro ru sa
sd si sk sl so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh zh-Hant bn-Latn hi-Latn ta-Latn
te-Latn ur-Latn
""".split()
MASAKHANER = "amh bam bbj ewe fon hau ibo kin lug luo mos nya pcm sna swa tsn twi wol xho yor zul".split()


def written(text: str, code: str) -> bool:
    return all(is_script_character(character, find_language(code)) for character in text)


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        *((spec, "deu-Latn") for spec in ("de", "deu", "deu_Latn", "DEU-latn", "German", " deutsch ", "ger")),
        *((spec, "swh-Latn") for spec in ("sw", "swa", "swh", "Swahili", "Kiswahili", "sw-Latn")),
        *((spec, "zho-Hans") for spec in ("zh", "cmn", "Chinese", "zh-Hans", "zh_CN", "中文", "Mandarin")),
        *((spec, "zho-Hant") for spec in ("zh-Hant", "zho_Hant", "zh-TW", "zh-HK", "zh-Hant-TW")),
        *((spec, "nob-Latn") for spec in ("no", "nb", "nor", "Norwegian", "norsk", "no-NO")),
        *((spec, "srp-Cyrl") for spec in ("sr", "srp", "Serbian", "српски", "sr-RS")),
        *((spec, "srp-Latn") for spec in ("sr-Latn", "srp_Latn", "Serbian (Latin)")),
        *((spec, "tgl-Latn") for spec in ("fil", "tl", "tgl", "Filipino", "Tagalog")),
        *((spec, "pes-Arab") for spec in ("fa", "fas", "per", "Persian", "Farsi", "فارسی")),
        *((spec, "arb-Arab") for spec in ("ar", "ara", "arb", "Arabic", "Standard Arabic")),
        *((spec, "kor-Hang") for spec in ("ko", "kor", "kor_Hang", "kor-Kore", "한국어")),
        ("iw", "heb-Hebr"),
        ("et", "est-Latn"),
        ("ekk", "est-Latn"),
        ("lav", "lvs-Latn"),
        ("msa", "zsm-Latn"),
        ("sq", "als-Latn"),
        ("aze", "azj-Latn"),
        ("uz", "uzn-Latn"),
        ("mn", "khk-Cyrl"),
        ("sh", "hbs-Latn"),
        ("hbs", "hbs-Latn"),
        ("pt-BR", "por-Latn"),
        ("Bengali", "ben-Beng"),
        ("ja", "jpn-Jpan"),
        ("mo", "ron-Latn"),
        *((spec, "mhr-Cyrl") for spec in ("mhr", "chm", "Mari", "олык марий")),
        *((spec, "gsw-Latn") for spec in ("gsw", "Alemannic", "Swiss German")),
        *((spec, "nan-Latn") for spec in ("nan", "zh-min-nan", "Min Nan Chinese")),
        ("als", "als-Latn"),
        ("doi", "dgo-Deva"),
        ("dv", "div-Thaa"),
        ("Hñähñu", "ote-Latn"),
        ("oto", "ote-Latn"),
        ("zh-classical", "lzh-Hant"),
        ("zza", "diq-Latn"),
    ],
)  # fmt: skip
def test_spellings(spec: str, code: str) -> None:
    assert find_language(spec).code == code


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("germn", r"Unknown language 'germn'\. Did you mean German \(deu-Latn\)\? Give a code or name"),
        ("portugese", r"mean Portuguese \(por-Latn\)"),
        ("allemand", r"mean German \(deu-Latn\)"),
        ("deu-Cyrl", r"Unknown language 'deu-Cyrl'\. Did you mean German \(deu-Latn\)"),
        ("zh-Latn", r"mean Chinese \(Simplified\) \(zho-Hans\) or Chinese \(Traditional\) \(zho-Hant\)"),
        ("xx", r"Did you mean .* \(\w{3}-\w{4}\)\?"),
        ("gv", r"Unknown language 'gv' \(Manx is not in the registry\)\. Did you mean"),
        ("", r"Unknown language ''\. Give a code or name of languages/registry.tsv"),
        ("a" * 10_000, r"Unknown language 'a{60}\.\.\.'"),
        ("\0\x80\x80", r"Unknown language '\\x00\\x80\\x80'"),
    ],
)
def test_unknown_languages_are_told_the_nearest(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_language(spec)


@given(st.text(max_size=30))
def test_any_text_is_a_language_or_an_input_error(spec: str) -> None:
    try:
        assert isinstance(find_language(spec), Language)
    except InputError as error:
        assert str(error).startswith("Unknown language")


def test_a_tag_of_a_thousand_parts_is_unknown() -> None:
    with pytest.raises(InputError, match=r"Unknown language 'deu_Latndeu_Latn"):
        find_language("deu_Latn" * 1000)


def test_lists_keep_their_order_and_drop_repetitions() -> None:
    assert [language.code for language in find_languages("en, de,eng,")] == ["eng-Latn", "deu-Latn"]
    with pytest.raises(InputError, match="No language in ' ,'"):
        find_languages(" ,")
    with pytest.raises(InputError, match=r"'englsh'.*English"):
        find_languages("de,englsh")


def test_rows_are_well_formed_and_unambiguous() -> None:
    codes: dict[str, str] = {}
    for language in all_languages():
        assert language.code == f"{language.iso639_3}-{language.script}"
        assert (len(language.iso639_3), len(language.script)) == (3, 4)
        assert language.iso639_1 is None or len(language.iso639_1) == 2
        assert language.scripts == COMPOSITE_SCRIPTS.get(language.script, (language.script,))
        assert language.name
        assert language.own_name
        assert "[" not in language.name + language.own_name, "the library did not know it"
        for name in {language.code, language.name, *language.aliases}:
            key = name.casefold()
            assert codes.setdefault(key, language.code) == language.code, f"{name} stands for two languages"
            assert find_language(name) is language
    assert len(all_languages()) >= 250


def test_own_names_are_written_in_their_own_script() -> None:
    for language in all_languages():
        if language.own_name != language.name:
            letters = [character for character in language.own_name if character.isalpha()]
            assert all(is_script_character(character, language) for character in letters), language.code


def test_codes_of_well_known_sets(data_dir: Path) -> None:
    with (data_dir / "languages" / "languages.tsv").open(encoding="utf-8") as file:
        flores = [row["flores_code"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    flores = [code for code in flores if code]
    assert len(flores) > 200
    for code in flores:
        assert find_language(code).code == code.replace("_", "-")


@pytest.mark.parametrize("codes", [XLM_R, MASAKHANER])
def test_languages_of_well_known_models_and_sets(codes: list[str]) -> None:
    assert len({find_language(code).code for code in codes}) == len(codes)


def test_word_lists_are_exact_codes_and_none_is_forgotten() -> None:
    lists = set(wordfreq.available_languages("best"))
    named = {language.wordfreq for language in all_languages() if language.wordfreq}
    assert named == lists
    found = {language.code: language.wordfreq for language in all_languages()}
    assert found["zho-Hans"] == "zh"
    assert found["nob-Latn"] == "nb"
    assert found["tgl-Latn"] == "fil"
    assert {found[code] for code in ("hrv-Latn", "bos-Latn", "srp-Latn", "hbs-Latn")} == {"sh"}
    assert [found[code] for code in ("srp-Cyrl", "zho-Hant", "swh-Latn", "yor-Latn", "nno-Latn")] == [
        None
    ] * 5


def test_word_lists_are_in_the_script_of_their_language() -> None:
    for language in all_languages():
        if language.wordfreq:
            words = wordfreq.top_n_list(language.wordfreq, 300, wordlist="small")
            letters = [character for word in words for character in word if character.isalpha()]
            share = sum(script_mask(letters, language)) / len(letters)
            assert share > 0.99, f"{language.code}: {share}"
            own = [character for character in letters if not character.isascii()]
            if language.script != "Latn":
                assert len(own) > 0.7 * len(letters), language.code


def test_spelling_lost_in_the_word_lists() -> None:
    german, greek, turkish = find_language("de"), find_language("el"), find_language("tr")
    assert (german.restore, greek.restore, turkish.casing) == ("ss>ß", "σ$>ς", "tr")
    assert find_language("ro").restore == "ș>ş;ț>ţ"
    assert not any("ß" in word for word in wordfreq.top_n_list("de", 5000))
    assert not any("ş" in word or "ţ" in word for word in wordfreq.top_n_list("ro", 5000))
    assert not any("ς" in word for word in wordfreq.top_n_list("el", 5000))


def test_spaces_between_words() -> None:
    unspaced = {language.code for language in all_languages() if not language.spaced}
    assert unspaced == {
        "bod-Tibt", "dzo-Tibt", "gan-Hant", "jpn-Jpan", "khm-Khmr", "lao-Laoo", "lzh-Hant", "mya-Mymr",
        "shn-Mymr", "tha-Thai", "wuu-Hans", "yue-Hant", "zho-Hans", "zho-Hant",
    }  # fmt: skip


def test_characters_of_some_scripts() -> None:
    assert written("Größe, „Maß“ – 3 °C · 5 € … naïve Łódź Ỳ e\u0301", "de")
    assert written("Съешь ещё, «ё» № 5", "ru")
    assert written("क्या १२३ हैं।", "hi")
    assert written("كيف حالك؟ ١٢٣، ـَ", "ar")
    assert written("چهار پنج ۴۵ می\u200cشود", "fa")
    assert written("東京タワー「ひらがな」、ｶﾅ。１２", "ja")
    assert written("你好，世界！（２０２４）", "zh")
    assert written("안녕하세요", "ko")
    assert written("ልጆች፣ ዓለም።", "am")
    for code in ("de", "ru", "hi", "ar", "ja", "ko", "am", "bod"):
        assert written("".join(map(chr, range(0x20, 0x7F))) + "«»“”’–—…€£°", code)


def test_characters_that_are_another_scripts() -> None:
    assert not any(is_script_character(character, find_language("de")) for character in "жΩ你あア한अעع፣ཀ")
    assert not any(is_script_character(character, find_language("ru")) for character in "äßΩ你")
    assert not is_script_character("漢", find_language("ko"))
    assert not is_script_character("ア", find_language("zh"))
    assert not is_script_character("", find_language("de"))
    assert not is_script_character("ab", find_language("de"))
    assert not is_script_character("\u0378", find_language("el")), "not assigned"


@given(
    st.lists(st.one_of(st.characters(), st.text(max_size=3)), max_size=20), st.sampled_from(all_languages())
)
def test_mask_is_the_predicate_of_each(characters: list[str], language: Language) -> None:
    assert script_mask(characters, language) == [is_script_character(entry, language) for entry in characters]


@given(st.characters(), st.sampled_from(all_languages()))
def test_membership_agrees_with_unicode_names(character: str, language: Language) -> None:
    names = {
        "Cyrl": "CYRILLIC",
        "Grek": "GREEK",
        "Latn": "LATIN",
        "Deva": "DEVANAGARI",
        "Hang": "HANGUL SYLLABLE",
    }
    name = unicodedata.name(character, "")
    for script, prefix in names.items():
        if name.startswith(f"{prefix} ") and character.isalpha() and not character.isascii():
            assert is_script_character(character, language) == (script in language.scripts)


def test_reading_the_table_is_quick_and_needs_no_other_library() -> None:
    code = (
        "import sys, time; import polycompress.languages as l; start = time.perf_counter(); "
        "l.find_language('Deutsch'); l.is_script_character('a', l.find_language('zh')); "
        "assert not {'langcodes', 'regex', 'wordfreq'} & set(sys.modules); print(time.perf_counter() - start)"
    )
    root = Path(__file__).parent.parent
    runs = [
        float(subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True).stdout)
        for _ in range(3)
    ]
    assert min(runs) < 0.02


def test_names_are_those_of_the_library() -> None:
    for code in ("deu-Latn", "jpn-Jpan", "hin-Deva"):
        language = find_language(code)
        assert language.name == langcodes.Language.get(language.iso639_1).display_name()
        assert language.own_name == langcodes.Language.get(language.iso639_1).autonym()
