"""Answers as words: what is lower-cased, dropped and split before two answers are compared.

English follows the script of SQuAD v1.1: lower case, without ASCII punctuation and articles, split at spaces. Spanish,
German, Vietnamese, Hindi, Arabic and Chinese follow the script of MLQA: punctuation of all scripts goes, articles are
each language's, and Chinese characters stand alone. Every other language is treated as MLQA treats Hindi (no articles),
or, where its words are not separated by spaces, with each character of its scripts alone; that is our rule, since
neither script knows these languages.

What the official scripts do is kept where it is odd: Arabic loses the letters of its article within words too, some
words on the lists are no articles, and for Chinese only U+4E00 to U+9FA5 stand alone.

XTREME scores XQuAD with SQuAD's rules, English articles and all, in every language, and so do most published scores:
outside English they differ from ours, most for Chinese.

Reference:
    Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016,
    https://arxiv.org/abs/1606.05250; Lewis et al., "MLQA: Evaluating Cross-lingual Extractive Question Answering",
    2020, section 4.1, https://arxiv.org/abs/1910.07475.
"""

from __future__ import annotations

import functools
import re
import string
import unicodedata
from typing import Final

import regex

from polycompress.languages import Language, find_language

_ARTICLES: Final = {
    "eng": "a an the",
    "spa": "un una unos unas el la los las",
    "vie": "của là cái chiếc những",
    "deu": "ein eine einen einem eines einer der die das den dem des",
}
"""By ISO 639-3: whole words that are left out."""
_ARABIC_ARTICLE: Final = "ال"
_ASCII_PUNCTUATION: Final = frozenset(string.punctuation)


def answer_words(text: str, language: str) -> list[str]:
    """The words by which an answer is compared.

    Args:
        text: An answer.
        language: Code or name of its language.

    Returns:
        In order; empty where nothing is left.

    Raises:
        InputError: The language is not in the registry.

    Example:
        >>> answer_words("The Broncos' 24–10 win", "eng-Latn")
        ['broncos', '24–10', 'win']
        >>> answer_words("die 24–10-Niederlage", "deu-Latn")
        ['2410niederlage']
        >>> answer_words("《超级碗》第50届", "zho-Hans")
        ['超', '级', '碗', '第', '50', '届']
    """
    spoken = find_language(language)
    punctuation = _is_ascii_punctuation if spoken.iso639_3 == "eng" else _is_punctuation
    bare = "".join(character for character in text.lower() if not punctuation(character))
    bare = _without_articles(bare, spoken.iso639_3)
    alone = _alone(spoken)
    return (bare if alone is None else alone.sub(r" \g<0> ", bare)).split()


def _without_articles(text: str, language: str) -> str:
    if language == "arb":
        return text.replace(_ARABIC_ARTICLE, " ")
    articles = _articles(language)
    return text if articles is None else articles.sub(" ", text)


@functools.cache
def _articles(language: str) -> re.Pattern[str] | None:
    words = _ARTICLES.get(language)
    # a combining mark ends a word for re, as for the scripts, and not for regex
    return None if words is None else re.compile(rf"\b(?:{'|'.join(words.split())})\b")


def _alone(language: Language) -> regex.Pattern[str] | None:
    """What matches characters that are words of their own."""
    if language.spaced:
        return None
    return _characters(("zho",) if language.iso639_3 == "zho" else language.scripts)


@functools.cache
def _characters(scripts: tuple[str, ...]) -> regex.Pattern[str]:
    if scripts == ("zho",):
        return regex.compile("[\u4e00-\u9fa5]")
    # with what several scripts share, such as the long-vowel mark of both kana
    return regex.compile("[" + "".join(rf"\p{{Script_Extensions={script}}}" for script in scripts) + "]")


def _is_ascii_punctuation(character: str) -> bool:
    return character in _ASCII_PUNCTUATION


@functools.cache
def _is_punctuation(character: str) -> bool:
    return character in _ASCII_PUNCTUATION or unicodedata.category(character).startswith("P")
