"""Word forms with weights, made from a list of word frequencies: a stand-in for a corpus.

The lists of ``wordfreq`` hold lower-cased words without punctuation and with the digits of numbers replaced by zeros.
A tokenizer with cased pieces meets something else in text: capitalised words, words glued to quotes and brackets,
years, prices. ``weighted_forms`` puts those back with the shares of ``languages/patterns.tsv``; what a language's own
spelling lost in the list (German ß, Turkish dotted capitals) comes back through its record in the registry.

Weights are kept in centibels as in the lists themselves: a form of ``c`` cB has the frequency 10 ** (-c / 100).
"""

from __future__ import annotations

import functools
import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import regex

from polycompress.errors import InputError
from polycompress.languages import Language, where_text_is
from polycompress.resources import data_path

FORMS_VERSION: Final = 4
"""Part of the key of cached counts: raise it whenever the same list would give other forms or weights."""
HELD_OUT_ONE_IN: Final = 50
"""One word in so many, of those past ``HELD_OUT_AFTER``, is never counted, so that the result can be judged on it."""
HELD_OUT_AFTER: Final = 5000
MAX_CENTIBELS: Final = 2000
FORMS: Final = 110_000
"""Word forms counted per language, heaviest first."""
BACKGROUND_FORMS: Final = 25_000
"""English word forms counted beside another language's own."""

SHORT: Final = 4
"""Letters of the longest ``short`` word: those that may be abbreviations."""
DIGITS_SHARE: Final = 0.01
"""A script's own digits are used from this share of all single digits of a list on."""

DIGITS_UNTIL: Final = 600
"""Single digits are among the words of less than so many centibels."""

_ZERO_RUN = regex.compile(r"0+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """One way in which a word or number of the list appears in text."""

    kind: str
    """``word``, ``short`` (a word of at most ``SHORT`` letters) or ``number``."""
    centibels: int
    """How much rarer than the bare word: -100 * log10(share)."""
    prefix: str
    case: str
    """``lower``, ``Title`` or ``UPPER``."""
    suffix: str
    scripts: frozenset[str]
    """Only languages written in one of these scripts use it; empty: all do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightedForms:
    """Word forms by weight."""

    groups: Mapping[int, Sequence[str]]
    """Forms of each weight, in centibels."""
    held_out: Sequence[str]
    """Words kept out of every form above, spelt as in the list."""
    words: int
    """Words of the list that gave at least one form."""
    forms: int
    """All forms."""


def available_lists() -> dict[str, str]:
    """Codes of the languages that have a word list, with the path of the longest."""
    import wordfreq

    return dict(wordfreq.available_languages("best"))


def word_buckets(language: Language) -> list[list[str]]:
    """The longest word list of a language: words by centibels.

    Raises:
        InputError: No list has exactly this language's code. (The library would answer with its nearest match, which
            for many languages is English.)
    """
    if language.wordfreq is None or language.wordfreq not in available_lists():
        raise InputError(
            f"There are no built-in word frequencies for {language.name} ({language.code}). "
            f"Give text instead: --corpus {language.code}='FILES'{where_text_is(language)}"
        )
    import wordfreq

    # Not get_frequency_list: it would keep every list it has read.
    buckets: list[list[str]] = wordfreq.read_cBpack(str(available_lists()[language.wordfreq]))
    return buckets


def weighted_forms(buckets: Sequence[Sequence[str]], language: Language, budget: int) -> WeightedForms:
    """The heaviest forms of a word list.

    Args:
        buckets: Words of each weight, ``buckets[c]`` those of ``c`` centibels.
        language: Whose spelling rules apply.
        budget: At most about so many forms, heaviest first; a group of one weight is cut where the budget ends.

    Returns:
        Forms by weight. The same input gives the same forms in the same order.
    """
    sorter = _Sorter(_spelling(language), own_digits(buckets))
    groups: dict[int, list[str]] = {}
    used = [part for part in patterns() if not part.scripts or not part.scripts.isdisjoint(language.scripts)]
    rarest_pattern = max(pattern.centibels for pattern in used)
    total = centibels = 0
    while total < budget and centibels <= max([len(buckets), *sorter.numbers]) + rarest_pattern:
        sorter.add(centibels, buckets[centibels] if centibels < len(buckets) else ())
        forms: list[str] = []
        for pattern in used:
            forms.extend(_apply(pattern, sorter.forms(pattern, centibels - pattern.centibels)))
        if forms:
            groups[centibels] = list(forms[: budget - total])
            total += len(groups[centibels])
        centibels += 1
    return WeightedForms(
        groups=groups, held_out=sorter.held_out, words=sum(map(len, sorter.words.values())), forms=total
    )


def own_digits(buckets: Sequence[Sequence[str]]) -> tuple[str, float] | None:
    """The digits of a language's own script, and how often it uses them.

    A list keeps single digits as they are written; in longer numbers all digits have become ASCII zeros.

    Args:
        buckets: Words of each weight.

    Returns:
        The script's ten digits and their share of all; None where ASCII digits are (nearly) all there are.
    """
    mass: defaultdict[int, float] = defaultdict(float)
    for centibels, bucket in enumerate(buckets[:DIGITS_UNTIL]):
        for word in bucket:
            if len(word) == 1 and word.isdecimal():
                mass[ord(word) - int(word)] += 10 ** (-centibels / 100)
    total = sum(mass.values())
    ascii_share = mass.pop(ord("0"), 0.0) / total if total else 1.0
    if ascii_share > 1 - DIGITS_SHARE:
        return None
    zero = max(mass, key=lambda zero: (mass[zero], zero))
    return "".join(chr(zero + digit) for digit in range(10)), mass[zero] / total


def held_out_words(language: Language) -> list[str]:
    """The words that counting ``FORMS`` forms leaves out, spelt as in the list."""
    return list(weighted_forms(word_buckets(language), language, FORMS).held_out)


@functools.cache
def patterns() -> tuple[Pattern, ...]:
    """The patterns of ``languages/patterns.tsv``."""
    lines = (data_path("languages") / "patterns.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return tuple(_parse(*line.split("\t")) for line in lines)


def _parse(kind: str, share: str, template: str, scripts: str) -> Pattern:
    match = regex.fullmatch(r"(.*)\{(|Title|UPPER)\}(.*)", template)
    if match is None or kind not in {"word", "short", "number"}:
        raise ValueError(f"languages/patterns.tsv: {kind!r}, {template!r} is no pattern")
    return Pattern(
        kind=kind,
        centibels=round(-100 * math.log10(float(share))),
        prefix=match[1],
        case=match[2] or "lower",
        suffix=match[3],
        scripts=frozenset(scripts.split()),
    )


class _Sorter:
    """Buckets of a list, taken as they are needed and split into words, numbers written out, and held-out words."""

    def __init__(
        self, spell: Callable[[Sequence[str], str], list[str]], digits: tuple[str, float] | None
    ) -> None:
        self.words: dict[int, list[str]] = {}
        self.numbers: defaultdict[int, list[str]] = defaultdict(list)
        self.held_out: list[str] = []
        self._rank = 0
        self._spell = spell
        self._spelt: dict[tuple[int, str, bool], list[str]] = {}
        self._digits = str.maketrans("0123456789", digits[0]) if digits is not None else None
        self._rarer = _rarity(digits[1]) if digits is not None else 0

    def add(self, centibels: int, bucket: Sequence[str]) -> None:
        kept: list[str] = []
        for word in bucket:
            self._rank += 1
            if word[0].isdigit():
                for number, rarer in _numbers(word):
                    self.numbers[centibels + rarer].append(number)
                    if self._digits is not None and len(word) > 1:
                        own = number.translate(self._digits)
                        self.numbers[centibels + rarer + self._rarer].append(own)
            elif self._rank > HELD_OUT_AFTER and zlib.crc32(word.encode()) % HELD_OUT_ONE_IN == 0:
                self.held_out.append(word)
            else:
                kept.append(word)
        if kept:
            self.words[centibels] = kept

    def forms(self, pattern: Pattern, centibels: int) -> Sequence[str]:
        """Words or numbers of one weight as a pattern's case spells them."""
        if pattern.kind == "number":
            return self.numbers.get(centibels, ())
        if centibels not in self.words:
            return ()
        short = pattern.kind == "short"
        key = (centibels, pattern.case, short)
        if key not in self._spelt:
            words = self.words[centibels]
            chosen = [word for word in words if len(word) <= SHORT] if short else words
            self._spelt[key] = self._spell(chosen, pattern.case)
        return self._spelt[key]


def _apply(pattern: Pattern, forms: Sequence[str]) -> Sequence[str]:
    prefix, suffix = pattern.prefix, pattern.suffix
    return [f"{prefix}{form}{suffix}" for form in forms] if prefix or suffix else forms


def _spelling(language: Language) -> Callable[[Sequence[str], str], list[str]]:
    """How listed words are written in one case; nothing for words that have no such case."""
    capitals = {"i": "İ", "ı": "I"} if language.casing == "tr" else {}
    rules = [rule.split(">") for rule in language.restore.split(";") if rule]
    ends = [(lost[:-1], restored) for lost, restored in rules if lost.endswith("$")]
    inside = [(lost, restored) for lost, restored in rules if not lost.endswith("$")]

    def written(words: Sequence[str]) -> Sequence[str]:
        for lost, restored in ends:  # where nothing else can stand (Greek sigma)
            words = [word[: -len(lost)] + restored if word.endswith(lost) else word for word in words]
        changed = words
        for lost, restored in inside:
            changed = [word.replace(lost, restored) for word in changed]
        return [*words, *(new for new, word in zip(changed, words, strict=True) if new != word)]

    def spell(words: Sequence[str], case: str) -> list[str]:
        forms = written(words)
        if case == "lower":
            return list(forms)
        if case == "Title":
            changed = [(capitals.get(form[0]) or form[0].upper()) + form[1:] for form in forms]
        else:
            table = str.maketrans(capitals)
            changed = [form.translate(table).upper() for form in forms]
        return [form for form, plain in zip(changed, forms, strict=True) if form != plain]

    return spell


def _numbers(entry: str) -> list[tuple[str, int]]:
    """Numbers that an entry with zeros for digits may stand for, with how much rarer each is, in centibels.

    Single digits are listed as they are. The first run of zeros is written out in full up to four digits, with the
    list's own model of leading digits and years; later runs (decimals, thousands) take their most common values.
    """
    runs = [match.span() for match in _ZERO_RUN.finditer(entry)]
    if len(entry) == 1 or not runs or any(character in "123456789" for character in entry):
        return [(entry, 0)]
    begin, end = runs[0]
    size = end - begin
    if size > 4 or begin > 0:
        return [(entry, 0)]
    if len(entry) > size > 2:
        return [(f"{first}{'0' * (size - 1)}{entry[end:]}", _rarity(1 / 9)) for first in "12345"]
    return [(head + entry[end:], rarer) for head, rarer in _heads(size)]


@functools.cache
def _heads(size: int) -> list[tuple[str, int]]:
    """All numbers of so many digits, with how much rarer each is than any of them, in centibels."""
    from wordfreq.numbers import digit_freq

    if size == 1:
        return [(str(digit), _rarity(1 / 9)) for digit in range(1, 10)]
    return [(str(number), _rarity(digit_freq(str(number)))) for number in range(10 ** (size - 1), 10**size)]


def _rarity(share: float) -> int:
    return min(MAX_CENTIBELS, round(-100 * math.log10(share)))
