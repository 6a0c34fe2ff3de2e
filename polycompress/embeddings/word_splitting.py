r"""Texts as words, the same for training and for looking words up.

A word is a run of letters and marks, with apostrophes, hyphens and joiners inside of it; numerals are words too, with
points and commas inside; everything else parts words. Words are NFC and, unless asked otherwise, lower-cased by the
language's own rules (Turkish ``I`` is ``ı``).

Languages without spaces between words: a run of letters of a script that is written so is cut into the most probable
words of the built-in list where there is one (Chinese, Japanese), else into what reads as single characters (Thai,
Lao, Khmer, Burmese): those are then the words. Tibetan marks its syllables, which are the words. Runs of other
letters, as of Latin ones in Chinese text, stay whole.
"""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Callable
from typing import Final

import regex

from polycompress.languages import Language

MAX_WORD: Final = 100
"""Characters of a word at most; what is longer is left out."""
_CUT_SCRIPTS: Final = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー々〆ヶ"
)
_NUMERAL: Final = r"\p{N}+(?:[.,]\p{N}+)*"
_INSIDE: Final = r"['’ʼ‘\-\u2010\u200c\u200d·]"
_WORDS: Final = regex.compile(rf"[\p{{L}}\p{{M}}]+(?:{_INSIDE}[\p{{L}}\p{{M}}]+)*|{_NUMERAL}")
_WORDS_OR_RUNS: Final = regex.compile(
    rf"(?P<run>[{_CUT_SCRIPTS}][{_CUT_SCRIPTS}\p{{M}}]*)"
    rf"|[[\p{{L}}\p{{M}}]--[{_CUT_SCRIPTS}]]+(?:{_INSIDE}[[\p{{L}}\p{{M}}]--[{_CUT_SCRIPTS}]]+)*|{_NUMERAL}",
    regex.V1,
)
_LONGEST: Final = 12
_UNKNOWN: Final = -25.0
"""Log probability of a character that is no word of the list: below that of any word in it."""


def splitter(language: Language, *, lower: bool = True) -> Callable[[str], list[str]]:
    """The function that cuts a text of a language into words.

    Args:
        language: Whose text it is.
        lower: Whether words are lower-cased.

    Example:
        >>> from polycompress.languages import find_language
        >>> splitter(find_language("en"))("Don't pay 3.50!")
        ["don't", 'pay', '3.50']
    """
    turkish = language.casing == "tr"

    def prepare(text: str) -> str:
        composed = unicodedata.normalize("NFC", text)
        return lowered(composed, turkish=turkish) if lower else composed

    def words(text: str) -> list[str]:
        return [word for word in _WORDS.findall(prepare(text)) if len(word) <= MAX_WORD]

    if language.spaced:
        return words
    cut = _list_cutter(language.wordfreq) if language.wordfreq is not None else _characters

    def cut_words(text: str) -> list[str]:
        found: list[str] = []
        for match in _WORDS_OR_RUNS.finditer(prepare(text)):
            if match["run"]:
                found += cut(match["run"])
            elif len(match[0]) <= MAX_WORD:
                found.append(match[0])
        return found

    return cut_words


def lowered(text: str, *, turkish: bool = False) -> str:
    """Lower case, NFC, with Turkish i's where asked.

    Args:
        text: NFC.
        turkish: Whether the capital of i is İ and that of ı is I.
    """
    if turkish:
        text = text.replace("İ", "i").replace("I", "ı")
    return unicodedata.normalize("NFC", text.lower())


def _characters(run: str) -> list[str]:
    return list(regex.findall(r"\X", run))


@functools.cache
def _list_cutter(code: str) -> Callable[[str], list[str]]:
    """Cut by the built-in list: the words of which the product of frequencies is largest."""
    import wordfreq

    if code not in wordfreq.available_languages("best"):
        return _characters
    logarithms = {
        word: math.log(frequency) for word, frequency in wordfreq.get_frequency_dict(code, "best").items()
    }

    def cut(run: str) -> list[str]:
        best: list[tuple[float, int]] = [(0.0, 0)]  # of each prefix its score, and where its last word begins
        for end in range(1, len(run) + 1):
            options = [(best[end - 1][0] + logarithms.get(run[end - 1 : end], _UNKNOWN), end - 1)]
            for start in range(max(0, end - _LONGEST), end - 1):
                if (score := logarithms.get(run[start:end])) is not None:
                    options.append((best[start][0] + score, start))
            best.append(max(options))
        words, end = [], len(run)
        while end:
            start = best[end][1]
            words.append(run[start:end])
            end = start
        return words[::-1]

    return cut
