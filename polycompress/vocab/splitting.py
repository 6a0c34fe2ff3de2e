"""Where a text may be cut so that its parts are tokenised exactly as in the whole.

Counting tokens is cheap when a corpus is cut into words and each distinct word is tokenised once. That is exact only
if the tokenizer treats words independently. This module decides it from the tokenizer's state alone: a line is cut at
single spaces, every word but the first carries the space before it (``lead``), and

    ids(line) == ids(word_1) + ids(lead + word_2) + ... + ids(lead + word_n)

must hold. It holds when the pre-tokeniser never joins characters across such a space, or, where there is no
pre-tokeniser (SentencePiece-style BPE), when no piece of the vocabulary that occurs in the line has a word boundary
inside: a token that lay across the cut would be such a piece. Lines for which a normaliser could look across the space
(white space of other kinds, a word that starts with a combining mark, a format character beside the space) are not
cut: they are "not plain" and are tokenised whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import regex
from numpy.typing import NDArray

from polycompress.vocab.parting import MARK, codes_of, kinds_in

_BOUNDARY = "\u2581"
MAX_SPANNING: Final = 1000
"""With more pieces than this that span words, too many lines would hold one."""
FEW_TEXTS: Final = 32
"""Up to so many texts are looked for one by one."""

# Regular expressions of published tokenizers; all keep "non-space, single space, non-space" apart at the space.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# These take one mark before letters along.
_END_LETTERS_AT_MARKS = frozenset(
    {
        # Llama 3
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+",
        # Qwen 2 and 3
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+",
    }
)
INDEPENDENT_PATTERNS = frozenset(
    {
        _GPT2,
        *_END_LETTERS_AT_MARKS,
        # GPT-4o and gpt-oss (o200k)
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        # BLOOM
        r" ?[^(\s|[.,!?…。，、।۔،])]+",
    }
)

_ONLY_SPLIT_FURTHER = frozenset({"Digits", "Punctuation"})
_DROP_SPACES = frozenset({"WhitespaceSplit", "Whitespace", "BertPreTokenizer"})
_KNOWN_NORMALIZERS = frozenset(
    {
        *("Precompiled", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "BertNormalizer"),
        *("Replace", "Prepend", "Strip"),
    }
)
_NORMAL_FORMS = frozenset({"NFC", "NFD", "NFKC", "NFKD"})
_KEEP_LINE_FEEDS = _NORMAL_FORMS | {"Lowercase"}

# Characters that a normaliser may join to a neighbouring space into one unit (a grapheme), or delete beside it.
# Those that compatibility normalisation turns into a space and something (spacing accents, overlines, low lines), and
# the boundary mark, which pre-tokenisers cannot tell from a space that they have replaced.
_SPACING = (
    "\\u2581"
    "\\u00a8\\u00af\\u00b4\\u00b8\\u02d8-\\u02dd\\u037a\\u0384\\u0385\\u1fbd\\u1fbf-\\u1fc1\\u1fcd-\\u1fcf\\u1fdd-\\u1fdf\\u1fed"
    "\\u1fee\\u1ffd\\u1ffe\\u2017\\u203e\\u309b\\u309c\\ufc5e-\\ufc63\\ufe49-\\ufe4c\\ufe70\\ufe72\\ufe74\\ufe76\\ufe78\\ufe7a\\ufe7c\\ufe7e"
    "\\uffe3"
)
_BESIDE_SPACE = (
    rf"  |^ | $|(?:^| )[\p{{M}}\p{{Cf}}\p{{Cc}}{_SPACING}]"
    rf"|[\p{{Cf}}\p{{Cc}}\p{{Grapheme_Cluster_Break=Prepend}}{_SPACING}](?:$| )"
)
_NOT_PLAIN = regex.compile(rf"[^\S ]|{_BESIDE_SPACE}", regex.V1)
_LINE_FEED: Final = 10
_UNKNOWN, _HARMLESS, _ANYWHERE, _AT_BEGIN, _AT_END = 0, 1, 2, 4, 8
_CLASSES: NDArray[np.uint8] = np.zeros(0x110000, dtype=np.uint8)
"""For each character met so far where in a word it makes the word harmful."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WordRule:
    """How, and whether, lines are cut into words that tokenise independently."""

    independent: bool
    """False: every line is tokenised whole."""
    lead: str = ""
    """What a word that is not the first of its line carries in front: a space, or nothing."""
    first_differs: bool = False
    """True where the first word of a line, which has no space before it, may be tokenised in another way."""
    line_feeds: Literal["none", "behind letters", "anywhere"] = "none"
    """Where a line feed ends a line and begins one as far as the tokenizer can tell: behind letters and digits, behind
    any word that is plain, or not at all. What its own tokens are, it must be asked."""
    marks: Literal["anywhere", "behind letters", "apart"] = "anywhere"
    """Where else a line may be cut, if its characters are certain (``parting``): not beside marks, between a letter and
    a mark, or also between a mark and a letter."""
    reason: str = ""
    """One sentence for people: why lines are cut, or why they are not."""
    whole: regex.Pattern[str] | None = None
    """Finds the texts that make a line be tokenised whole: added tokens, and pieces that span words."""
    across: regex.Pattern[str] | None = None
    """Finds those of them that hold a space, and so may arise where words are joined to a line."""


def word_rule(document: Mapping[str, Any]) -> WordRule:
    """Decide from a ``tokenizer.json`` state whether words tokenise independently.

    Args:
        document: The parsed ``tokenizer.json``.

    Returns:
        The rule; ``independent`` is False whenever the state holds anything this module does not know.
    """
    normalizers = _flatten(document.get("normalizer"), "normalizers")
    unknown = sorted({str(part.get("type")) for part in normalizers} - _KNOWN_NORMALIZERS)
    if unknown:
        return WordRule(independent=False, reason=f"the normalizer {unknown[0]!r} may look across words")
    if any(part["type"] == "Replace" and not _replaces_within_words(part) for part in normalizers):
        return WordRule(independent=False, reason="a Replace normalizer may look across words")
    return _pre_tokenizer_rule(document, normalizers)


def not_plain(line: str) -> bool:
    """Whether a line must be tokenised whole (see the module's first paragraph)."""
    return _NOT_PLAIN.search(line) is not None


def harmful_among(together: str, rule: WordRule) -> set[str]:
    """Those words, of lines cut at spaces, that make their line be tokenised whole.

    They hold one of the rule's texts, or make a line not plain (see ``not_plain``).

    Args:
        together: The words, each behind a line feed. Empty ones are not looked at.
        rule: How the lines are to be cut.
    """
    numbers = harmful_numbers(together, rule)
    words = together.split("\n") if len(numbers) else []
    return {words[number + 1] for number in numbers.tolist()}


def harmful_numbers(together: str, rule: WordRule) -> NDArray[np.int64]:
    """Which words are harmful (see ``harmful_among``).

    Args:
        together: The words, each behind a line feed.
        rule: How the lines are to be cut.

    Returns:
        Numbers of words, from 0, each once, increasing.
    """
    codes = codes_of(together)
    places = _harmful_places(codes)
    if rule.marks != "anywhere":  # no normalizer joins these to what stands before them
        places = places[kinds_in(codes[places]) != MARK]
    if rule.whole is not None and _holds_any(together, rule.whole):
        found = [match.start() for match in rule.whole.finditer(together)]
        places = np.concatenate([places, np.array(found, dtype=np.int64)])
    if not len(places):
        return places
    return np.unique(np.searchsorted(np.flatnonzero(codes == _LINE_FEED), places) - 1)


def _harmful_places(codes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Where in words joined by line feeds a character stands that makes its word harmful."""
    classes = _CLASSES[codes]
    unknown = np.unique(codes[classes == _UNKNOWN])
    if len(unknown):
        for code in unknown.tolist():
            _CLASSES[code] = _class_of(chr(code))
        classes = _CLASSES[codes]
    places = np.flatnonzero(classes != _HARMLESS)
    kinds = classes[places]
    begins = (places == 0) | (codes[places - 1] == _LINE_FEED)
    ends = (places == len(codes) - 1) | (codes[(places + 1) % len(codes)] == _LINE_FEED)
    harmful = (kinds & _ANYWHERE != 0) | ((kinds & _AT_BEGIN != 0) & begins) | ((kinds & _AT_END != 0) & ends)
    found: NDArray[np.int64] = places[harmful]
    return found


def _class_of(character: str) -> int:
    """Where a character makes a word harmful."""
    if character == "\n":  # stands between words
        return _HARMLESS
    if not_plain(f"a{character}a"):
        return _ANYWHERE
    places = _AT_BEGIN * not_plain(f"{character}a") | _AT_END * not_plain(f"a{character}")
    return places or _HARMLESS


def _holds_any(text: str, finder: regex.Pattern[str]) -> bool:
    """Whether a text holds any of those that a pattern of ``_finder`` finds; faster for few of them."""
    texts: frozenset[str] = finder.named_lists["texts"]
    return any(one in text for one in texts) if len(texts) <= FEW_TEXTS else finder.search(text) is not None


def _finder(texts: Iterable[str]) -> regex.Pattern[str] | None:
    """A pattern that finds any of some texts, or None where there are none; texts are one line each."""
    found = sorted({text for text in texts if "\n" not in text})
    return regex.compile(r"\L<texts>", texts=found) if found else None


def _added_texts(document: Mapping[str, Any]) -> list[str]:
    """Added tokens are cut out before normalisation and may swallow the spaces around them."""
    return [str(token["content"]) for token in document.get("added_tokens") or () if token.get("content")]


def _pre_tokenizer_rule(document: Mapping[str, Any], normalizers: list[Mapping[str, Any]]) -> WordRule:
    parts = _flatten(document.get("pre_tokenizer"), "pretokenizers")
    prepends = any(part["type"] == "Prepend" for part in normalizers)
    strips = any(part["type"] == "Strip" for part in normalizers)
    boundary_replaced = any(
        part["type"] == "Replace" and part.get("content") == _BOUNDARY for part in normalizers
    )
    lead, first_differs, splits = " ", True, False
    for part in parts:
        kind = part.get("type")
        splits = splits or _splits(part)
        if kind in _DROP_SPACES:
            lead, first_differs = "", False
        elif kind in {"Metaspace", "ByteLevel"}:
            first_differs = first_differs and not _adds_prefix(part)
        elif kind not in _ONLY_SPLIT_FURTHER and not _splits(part):
            if not (
                kind == "Split" and boundary_replaced and (part.get("pattern") or {}).get("String") == " "
            ):
                return WordRule(
                    independent=False, reason=f"the pre-tokeniser {_describe(part)} may join words"
                )  # where the normaliser has left no space, splitting at spaces does nothing
    if prepends:
        lead, first_differs = "", False
    if strips and lead and first_differs:
        return WordRule(independent=False, reason="the normalizer strips the space that tells words apart")
    spanning = [] if splits else _pieces_across_words(document)
    verbatim = all(part["type"] in {"Prepend", "Replace"} for part in normalizers)
    if spanning and (len(spanning) > MAX_SPANNING or not verbatim):
        return WordRule(independent=False, reason="some pieces of the vocabulary span several words")
    texts = [*_added_texts(document), *spanning]
    return WordRule(
        independent=True,
        lead=lead,
        first_differs=first_differs,
        line_feeds=_line_feeds(document, normalizers, parts),
        marks=_marks(document, normalizers, parts) if first_differs else "anywhere",
        reason="words tokenise independently: each distinct word is tokenised once",
        whole=_finder(texts),
        across=_finder(text for text in texts if " " in text),
    )


def _line_feeds(
    document: Mapping[str, Any], normalizers: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]]
) -> Literal["none", "behind letters", "anywhere"]:
    """Where nothing changes a line feed, joins it to what is around it, or looks across it."""
    kinds = {part["type"] for part in normalizers}
    if not kinds <= _KEEP_LINE_FEEDS or any("\n" in text for text in _added_texts(document)):
        return "none"
    if len(parts) == 1 and parts[0]["type"] == "ByteLevel" and _splits(parts[0]):
        return "anywhere"  # GPT-2's pattern; later ones take line feeds behind punctuation along
    known = all(
        part["type"] == "ByteLevel" or (part.get("pattern") or {}).get("Regex") in INDEPENDENT_PATTERNS
        for part in parts
    )
    return "behind letters" if known and any(map(_splits, parts)) else "none"


def _marks(
    document: Mapping[str, Any], normalizers: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]]
) -> Literal["anywhere", "behind letters", "apart"]:
    """Where the pre-tokeniser tells marks from letters, and nothing before it joins or looks across them."""
    kinds = {part["type"] for part in normalizers}
    if not kinds <= _NORMAL_FORMS or any(kinds_in(codes_of(text)).any() for text in _added_texts(document)):
        return "anywhere"
    splitting = [part for part in parts if _splits(part)]
    patterns = {
        _GPT2 if part["type"] == "ByteLevel" else (part.get("pattern") or {}).get("Regex")
        for part in splitting
    }
    if len(parts) == 1 and patterns == {_GPT2}:
        return "apart"
    rest = {part["type"] for part in parts if part not in splitting}
    known = bool(patterns) and patterns <= _END_LETTERS_AT_MARKS and rest <= {"ByteLevel"}
    return "behind letters" if known else "anywhere"


def _splits(part: Mapping[str, Any]) -> bool:
    """Whether a pre-tokeniser separates words at the space between them."""
    kind = part.get("type")
    if kind == "Metaspace":
        return part.get("split", True) is not False
    if kind == "ByteLevel":
        return part.get("use_regex", True) is not False
    return kind in _DROP_SPACES or (kind == "Split" and _splits_at_spaces(part))


def _adds_prefix(part: Mapping[str, Any]) -> bool:
    """Whether a pre-tokeniser puts a space before the first word, which makes it like the others."""
    if part.get("type") == "ByteLevel":
        return part.get("add_prefix_space", True) is not False
    old = "always" if part.get("add_prefix_space", True) else "never"
    return bool(part.get("prepend_scheme", old) != "never")


def _flatten(part: Any, key: str) -> list[Mapping[str, Any]]:
    if not part:
        return []
    if part.get("type") == "Sequence":
        return [leaf for child in part.get(key) or () for leaf in _flatten(child, key)]
    return [part]


def _describe(part: Mapping[str, Any]) -> str:
    pattern = part.get("pattern")
    return f"{part.get('type')!r}" + (f" with pattern {pattern!r}" if pattern else "")


def _splits_at_spaces(part: Mapping[str, Any]) -> bool:
    pattern = part.get("pattern") or {}
    if pattern.get("Regex") in INDEPENDENT_PATTERNS:
        return part.get("behavior") in {"Isolated", "Removed"} and (
            part.get("behavior") == "Isolated" or part.get("invert") is True
        )
    if pattern.get("String") == " ":
        return part.get("behavior") == "MergedWithNext" and not part.get("invert")
    # A pattern that matches no space cannot be told from one that does without running it: not known, not cut.
    return False


def _replaces_within_words(part: Mapping[str, Any]) -> bool:
    """Replace of a space by the boundary mark, of runs of spaces by one, or of text without white space."""
    pattern = part.get("pattern") or {}
    text, expression, content = pattern.get("String"), pattern.get("Regex"), part.get("content")
    if text is not None:
        return (text == " " and content == _BOUNDARY) or not regex.search(r"\s", text + str(content))
    return expression in {" {2,}", r"\s+"} and content in {" ", _BOUNDARY}


def _pieces_across_words(document: Mapping[str, Any]) -> list[str]:
    """Text of the pieces that have a word boundary inside, from their first word on."""
    vocabulary: Iterable[Any] = (document.get("model") or {}).get("vocab") or ()
    pieces = (entry[0] if isinstance(entry, list) else entry for entry in vocabulary)
    texts = (piece.replace(_BOUNDARY, " ").lstrip(" ") for piece in pieces)
    return [text for text in texts if " " in text]
