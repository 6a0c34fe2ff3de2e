"""Answers, by hand and against the rules of the official scripts of SQuAD v1.1 and MLQA, written out here once more."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import string
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.evaluation.metrics import answer_scores
from polycompress.evaluation.metrics.answer_text import answer_words

ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": "\\sال^|ال",
}
OFFICIAL = ["en", "es", "hi", "vi", "de", "ar", "zh"]
TEXTS = st.lists(
    st.sampled_from(
        ["the", "The", "a", "an", "die", "der", "Das", "el", "LA", "của", "là", "ال", "البيت", "और", "है", "超级", "碗",
         "五十", "㐀", "ー", "50", "x", "é", "İ", "ß", ".", ",", "«", "。", "、", "$", "’", "'", "_", "-", "–",
         " ", " ", " ", "\t", "\u00a0", "\u3000"]
    ),
    max_size=12,
).map("".join)  # fmt: skip


def official_words(text: str, language: str) -> list[str]:
    """What the two scripts do, step by step."""
    lowered = text.lower()
    if language == "en":
        bare = "".join(c for c in lowered if c not in string.punctuation)
    else:
        bare = "".join(
            c for c in lowered if c not in string.punctuation and unicodedata.category(c)[0] != "P"
        )
    if language in ARTICLES:
        bare = re.sub(ARTICLES[language], " ", bare)
    if language != "zh":
        return bare.split()
    words, run = [], ""
    for character in bare:
        if "\u4e00" <= character <= "\u9fa5":
            words += [*run.split(), character]
            run = ""
        else:
            run += character
    return words + run.split()


def official_scores(prediction: str, answers: list[str], language: str) -> tuple[float, float]:
    exact, best = [], []
    given_words = official_words(prediction, language)
    for answer in answers:
        words = official_words(answer, language)
        exact.append(float(" ".join(given_words) == " ".join(words)))
        same = sum((Counter(given_words) & Counter(words)).values())
        if same == 0:
            best.append(0.0)
        else:
            precision, recall = same / len(given_words), same / len(words)
            best.append(2 * precision * recall / (precision + recall))
    return max(exact), max(best)


@pytest.mark.parametrize(
    ("language", "prediction", "answers", "exact", "f1"),
    [
        # SQuAD v1.1
        ("en", "the Denver Broncos", ["Denver Broncos!"], 1, 1),
        ("en", "Denver", ["Denver Broncos"], 0, 2 / 3),
        ("en", "Broncos Denver", ["Denver Broncos"], 0, 1),  # a bag of words
        ("en", "win win", ["win"], 0, 2 / 3),  # each word as often as it is there
        ("en", "Santa Clara", ["Levi's Stadium", "in Santa Clara", "santa clara."], 1, 1),  # the best of all
        ("en", "theatre", ["the atre"], 0, 0),  # articles are whole words
        ("en", "24–10", ["2410"], 0, 0),  # the dash is not in ASCII and stays
        ("en", "24-10", ["2410"], 1, 1),
        ("en", "", ["Denver"], 0, 0),
        ("en", "The", ["a"], 1, 0),  # nothing is left of either: exact, and no common word
        # MLQA
        ("de", "der Titicacasee", ["den Titicacasee"], 1, 1),
        ("de", "24–10", ["2410"], 1, 1),  # all punctuation goes
        ("de", "„Die Zeit“", ["Zeit"], 1, 1),
        ("de", "the Zeit", ["Zeit"], 0, 2 / 3),  # English articles stay
        (
            "de",
            "die\u0307",
            ["i"],
            0,
            0,
        ),  # a combining mark is no letter of a word to the scripts, so an article goes
        ("es", "¿El río?", ["río"], 1, 1),
        ("es", "las aguas", ["unos aguas"], 1, 1),
        ("vi", "những năm của Hà Nội", ["năm Hà Nội"], 1, 1),
        ("ar", "البيت", ["بيت"], 1, 1),
        ("ar", "مال", ["م"], 1, 1),  # the letters of the article go within words too
        ("hi", "दिल्ली।", ["दिल्ली"], 1, 1),
        ("hi", "नई दिल्ली", ["दिल्ली"], 0, 2 / 3),
        ("zh", "《超级碗》", ["超级碗"], 1, 1),
        ("zh", "超级", ["超级碗"], 0, 0.8),  # by character
        ("zh", "第50届", ["50"], 0, 0.5),  # digits stay together
        ("zh-Hant", "NFL聯盟", ["nfl 聯盟"], 1, 1),
        # ours: languages that neither script knows
        ("el", "ο Όμηρος", ["Όμηρος"], 0, 2 / 3),
        ("ru", "«Москва»", ["москва"], 1, 1),
        ("tr", "Ankara'da", ["ankarada"], 1, 1),
        ("ja", "スーパーボウル", ["スーパー"], 0, 2 * (4 / 7) / (1 + 4 / 7)),
        ("ja", "第50回", ["50"], 0, 0.5),
        ("th", "ไทย", ["ไท"], 0, 0.8),
    ],
)
def test_by_hand(language: str, prediction: str, answers: list[str], exact: float, f1: float) -> None:
    assert answer_scores(prediction, answers, language) == (exact, pytest.approx(f1))
    if language in OFFICIAL:
        assert official_scores(prediction, answers, language) == (exact, pytest.approx(f1))


@pytest.mark.parametrize("language", OFFICIAL)
@given(text=TEXTS, others=st.lists(TEXTS, min_size=1, max_size=3))
def test_as_the_official_scripts_say(language: str, text: str, others: list[str]) -> None:
    assert answer_words(text, language) == official_words(text, language)
    assert answer_scores(text, others, language) == pytest.approx(official_scores(text, others, language))


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from([*OFFICIAL, "ja", "th", "ru", "bod-Tibt"]))
def test_on_any_text(text: str, other: str, language: str) -> None:
    words = answer_words(text, language)
    assert answer_scores(text, [text], language) == (1.0, float(bool(words)))
    exact, f1 = answer_scores(text, [other], language)
    assert answer_scores(other, [text], language) == (exact, pytest.approx(f1))
    assert 0.0 <= f1 <= 1.0
    assert not exact or f1 == float(bool(words))
    assert answer_scores(text, [other, text], language)[0] == 1.0
    if language in OFFICIAL:
        assert words == official_words(text, language)


@pytest.mark.parametrize("language", ["ar", "de", "el", "en", "es", "hi", "ru", "tr", "vi", "zh"])
def test_on_the_answers_of_xquad(data_dir: Path, language: str) -> None:
    path = data_dir / "xquad" / f"xquad.{language}.json.gz"
    articles = json.loads(gzip.decompress(path.read_bytes()))["data"]
    found = [
        answer["text"]
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
        for answer in question["answers"]
    ]
    assert len(found) >= 1190
    for text, other in itertools.pairwise(found):
        assert answer_scores(text, [text], language) == (1.0, 1.0)
        if language in OFFICIAL:
            assert answer_scores(text, [other], language) == official_scores(text, [other], language)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="without a right answer cannot be scored"):
        answer_scores("Denver", [], "en")
    with pytest.raises(InputError, match="Klingonese"):
        answer_scores("Denver", ["Denver"], "Klingonese")
