"""Word forms made from a list: casing, spelling, numbers, weights, budget, held-out words."""

from __future__ import annotations

import math

import pytest

from polycompress.errors import InputError
from polycompress.languages import find_language
from polycompress.vocab.frequencies import (
    FORMS,
    HELD_OUT_AFTER,
    available_lists,
    held_out_words,
    own_digits,
    patterns,
    weighted_forms,
    word_buckets,
)


def _forms(words: dict[int, list[str]], language: str, budget: int = 10_000) -> dict[str, int]:
    buckets = [words.get(centibels, []) for centibels in range(max(words) + 1)]
    made = weighted_forms(buckets, find_language(language), budget)
    lightest_first = sorted(made.groups.items(), reverse=True)
    return {form: centibels for centibels, group in lightest_first for form in group}


def test_words_come_in_each_case_and_glued_to_punctuation() -> None:
    forms = _forms({150: ["hause"]}, "de")
    assert forms["hause"] == 150
    assert forms["Hause"] == 150
    assert forms["HAUSE"] > forms['"Hause'] > 150


def test_spelling_lost_in_the_list_comes_back() -> None:
    german = _forms({150: ["strasse"]}, "de")
    assert {"straße", "Straße", "strasse", "Strasse"} <= german.keys()
    turkish = _forms({150: ["istanbul", "ışık"]}, "tr")
    assert {"İstanbul", "Işık"} <= turkish.keys()
    assert "Istanbul" not in turkish
    greek = _forms({150: ["τησ", "σε"]}, "el")
    assert {"της", "σε"} <= greek.keys()
    assert "τησ" not in greek
    romanian = _forms({150: ["științific", "și", "ca"]}, "ro")
    assert {"științific", "ştiinţific", "Ştiinţific", "şi", "ca"} <= romanian.keys(), (
        "comma below and cedilla"
    )
    assert not {"ştiințific", "știinţific"} & romanian.keys(), "never both in one word"


def test_zeros_stand_for_numbers() -> None:
    forms = _forms({200: ["00", "0000", "0.0"]}, "en", budget=100_000)
    assert {"10", "99", "2019", "1000", "1.0", "2019.", "(10"} <= forms.keys()
    assert forms["2019"] < forms["1234"], "years are commoner than other numbers of four digits"
    assert forms["10"] < forms["90"], "small leading digits are commoner"
    assert "00" not in forms


def test_numbers_come_in_the_digits_of_the_script_too() -> None:
    bengali = _forms({200: ["00"], 303: ["১"], 390: ["1"]}, "bn", budget=100_000)
    assert {"10", "১০", "১৯", "১৯,"} <= bengali.keys()
    assert bengali["10"] < bengali["১০"] < bengali["90"]
    assert own_digits([["১", "1"], ["٢"]]) == ("০১২৩৪৫৬৭৮৯", pytest.approx(1 / (2 + 10**-0.01)))
    assert own_digits([["1", "a", "১২"], *([[]] * 300), ["๑"]]) is None, "a stray digit, longer numbers"
    assert own_digits([]) is None


def test_short_words_may_be_abbreviations() -> None:
    forms = _forms({150: ["onu", "maison"]}, "fr")
    assert forms["ONU"] < forms["MAISON"]


def test_patterns_of_a_script_are_for_its_languages() -> None:
    chinese = _forms({150: ["中国", "dna"]}, "zh")
    assert {"中国）。", "，DNA", "的，中国"} <= chinese.keys()
    assert {"中国）。", "の、中国"} <= _forms({150: ["中国"]}, "ja").keys()
    assert "，中国" not in chinese, "only words with capitals are marked off from what is before them"
    assert not any("。" in form or "，" in form for form in _forms({150: ["dna"]}, "de"))


def test_the_heaviest_forms_fill_the_budget() -> None:
    language = find_language("tr")
    buckets = word_buckets(language)
    small, large = weighted_forms(buckets, language, 5_000), weighted_forms(buckets, language, 20_000)
    assert small.forms == 5_000
    assert sum(map(len, small.groups.values())) == 5_000
    assert max(small.groups) <= max(large.groups)
    for centibels, group in small.groups.items():
        assert large.groups[centibels][: len(group)] == list(group)


def test_held_out_words_are_in_no_form() -> None:
    language = find_language("tr")
    made = weighted_forms(word_buckets(language), language, FORMS)
    lower = {form for group in made.groups.values() for form in group}
    assert len(made.held_out) > 500
    assert not lower.intersection(made.held_out)
    assert held_out_words(language) == list(made.held_out)
    commonest = [word for bucket in word_buckets(language) for word in bucket][: HELD_OUT_AFTER // 2]
    assert not set(commonest).intersection(made.held_out)


def test_a_language_without_a_list_never_gets_another_ones() -> None:
    assert "sw" not in available_lists()
    with pytest.raises(InputError, match="no built-in word frequencies for Swahili"):
        word_buckets(find_language("sw"))


def test_patterns_are_shares_of_the_bare_word() -> None:
    assert any(pattern.kind == "number" for pattern in patterns())
    assert all(pattern.centibels >= 0 for pattern in patterns())
    title = next(pattern for pattern in patterns() if pattern.case == "Title" and not pattern.prefix)
    assert math.isclose(10 ** (-title.centibels / 100), 1.0)
