"""Tokens that are kept whatever their frequency, each with the rule that keeps it."""

from __future__ import annotations

import os
import string
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import regex

from polycompress.corpora import read_texts
from polycompress.errors import InputError
from polycompress.languages import Language, script_mask
from polycompress.modeldir.directory import read_json, safe_file
from polycompress.modeldir.ids import required_ids
from polycompress.pipelines.trimming.loading import OpenModel, Vocabulary
from polycompress.vocab.counting import encode_ids
from polycompress.vocab.surface import single_character_pieces

PUNCTUATION_RULE: Final = "short punctuation"
CHARACTER_RULE: Final = "character of the scripts"
CONFIG_RULE: Final = "named by the configuration"
POINTS_RULE: Final = "letters with vowel points"
TEMPLATE_RULE: Final = "chat template"
PROMPT_RULE: Final = "prompt"
FILE_RULE: Final = "keep file"
PATTERN_RULE: Final = "keep pattern"
MARKS: Final = 3
"""Longest run of punctuation that is always kept, in characters."""
MAX_TEMPLATE_BYTES: Final = 1 << 20
ROLES: Final = ("system", "user", "assistant", "tool", "developer", "model")
"""Names that callers give to the sides of a chat; a template need not spell them out."""
POINTED_SCRIPTS: Final = frozenset({"Arab", "Hebr"})
"""Scripts whose vowel points most text, and every word list, leaves out."""
LONGEST_POINTED: Final = 3
"""Characters of the longest piece that is kept for its points."""
SEARCH_SECONDS: Final = 2.0
"""For one pattern in one token."""

# Whatever opens and is never closed reaches to the end, so that a hostile template is read in one pass.
_QUOTED = regex.compile(r"""'((?:[^'\\]|\\.)*+)(?:'|\\?\Z)|"((?:[^"\\]|\\.)*+)(?:"|\\?\Z)""", regex.S)
_MARKS = string.punctuation + "„“”‚‘’«»‹›–—…¿¡ "
_ESCAPE = regex.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", regex.S)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_CODE = regex.compile(r"\{[{%#].*?(?:[}%#]\}|\Z)", regex.S)


def required_tokens(opened: OpenModel, languages: Sequence[Language]) -> dict[int, str]:
    """What stays whatever is counted.

    Special and added tokens, bytes, tokens that the configuration names, short runs of punctuation, characters of the
    languages' scripts, short pieces with vowel points, the words of chat templates and the names of their roles, and
    what the directory puts before every text.

    Args:
        opened: The source.
        languages: Whose single letters, digits and punctuation are kept.

    Returns:
        Token id to rule; the first rule that fits names it.
    """
    vocabulary = opened.vocabulary
    required = dict(vocabulary.special)
    generation = read_json(opened.source.path, "generation_config.json", required=False) or {}
    for config in (opened.config, generation):
        for token, field in required_ids(config, vocabulary.size).items():
            required.setdefault(token, f"{CONFIG_RULE}: {field}")
    for token in punctuation_tokens(vocabulary.texts):
        required.setdefault(token, PUNCTUATION_RULE)
    singles = single_character_pieces(vocabulary.document, vocabulary.texts)
    characters = [character for _, character in singles]
    for language in languages:
        for (token, _), wanted in zip(singles, script_mask(characters, language), strict=True):
            if wanted:
                required.setdefault(token, CHARACTER_RULE)
        for token in pointed_tokens(vocabulary.texts, language):
            required.setdefault(token, POINTS_RULE)
    written = ((TEMPLATE_RULE, _template_texts(opened.source.path)), (PROMPT_RULE, _prompts(opened)))
    for rule, texts in written:
        for ids in encode_ids(vocabulary.tokenizer, map(_encodable, texts)):
            for token in ids:
                required.setdefault(token, rule)
    return required


def punctuation_tokens(texts: Sequence[str | None]) -> list[int]:
    """Pieces of two or three punctuation marks, which text of every kind and language holds.

    Args:
        texts: Surface text of each piece.

    Returns:
        Ids of pieces that consist of ASCII punctuation and typographic quotes, dashes and the ellipsis; single
        characters are another rule's business.
    """
    runs = [(token, text) for token, text in enumerate(texts) if text and not text.strip(_MARKS)]
    return [token for token, text in runs if 1 < len(text.strip(" ")) <= MARKS]


def pointed_tokens(texts: Sequence[str | None], language: Language) -> list[int]:
    """Short pieces with vowel points, for languages that have them.

    Args:
        texts: Surface text of each piece.
        language: Whose scripts count.

    Returns:
        Ids, increasing; none for scripts without points.
    """
    if POINTED_SCRIPTS.isdisjoint(language.scripts):
        return []
    return [
        token
        for token, text in enumerate(texts)
        if text
        and len(bare := text.strip(" ")) <= LONGEST_POINTED
        and any(map(unicodedata.combining, bare))
        and all(script_mask(bare, language))
    ]


def named_tokens(
    vocabulary: Vocabulary, keep: str | os.PathLike[str] | None, patterns: Sequence[str]
) -> dict[int, str]:
    """The tokens that a user names.

    Args:
        vocabulary: The source's tokenizer.
        keep: A text file with a token or a text on each line. A line that is the surface text of a piece keeps that
            piece, with and without a space before it; any other line keeps the tokens that it consists of.
        patterns: Regular expressions, searched in the surface text of every piece.

    Returns:
        Token id to rule.

    Raises:
        InputError: The file cannot be read, or a pattern is not valid or fits no piece.
    """
    named: dict[int, str] = {}
    if keep is not None:
        by_text: dict[str, list[int]] = {}
        for token, text in enumerate(vocabulary.texts):
            if text is not None:
                by_text.setdefault(text.strip() or text, []).append(token)
        rest: list[str] = []
        for line in read_texts([Path(keep)]):
            found = by_text.get(line.replace("\u2581", " ").strip() or line)
            named.update(dict.fromkeys(found or (), FILE_RULE))
            if not found:
                rest.append(line)
        for ids in encode_ids(vocabulary.tokenizer, rest):
            named.update(dict.fromkeys(ids, FILE_RULE))
    for pattern in patterns:
        try:
            compiled = regex.compile(pattern)
        except (regex.error, RecursionError) as error:
            raise InputError(f"--keep-regex {pattern!r} is not a valid pattern: {error}") from error
        matches = list(_matches(compiled, vocabulary.texts))
        if not matches:
            raise InputError(
                f"--keep-regex {pattern!r} fits none of the {vocabulary.size} tokens. Patterns are searched in their "
                "surface text, in which a word's first token starts with a space"
            )
        for token in matches:
            named.setdefault(token, PATTERN_RULE)
    return named


def _unescaped(text: str) -> str:
    """A template's string literal as the text it stands for; half surrogate pairs are no text."""

    def character(match: regex.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _ESCAPED.get(match[3], match[3])

    plain: str = _ESCAPE.sub(character, text)
    return plain


def _encodable(text: str) -> str:
    """A text without half surrogate pairs."""
    return text.encode("utf-8", "ignore").decode("utf-8")


def _matches(pattern: regex.Pattern[str], texts: Sequence[str | None]) -> Iterator[int]:
    for token, text in enumerate(texts):
        try:
            if text and pattern.search(text, timeout=SEARCH_SECONDS):
                yield token
        except TimeoutError as error:
            raise InputError(
                f"--keep-regex {pattern.pattern!r} takes more than {SEARCH_SECONDS:g} s for the token {text!r}: it "
                "tries too many ways to fit. Write it without repeats inside repeats"
            ) from error


def _template_texts(root: Path) -> Iterator[str]:
    """What chat templates write: the text between their code, the strings in it, and the names of roles."""
    template = "\n".join(_chat_templates(root))
    if template:
        quoted = (pair for code in _CODE.findall(template) for pair in _QUOTED.findall(code))
        yield from map(
            _unescaped, (_CODE.sub("\n", template), *(first or second for first, second in quoted), *ROLES)
        )


def _chat_templates(root: Path) -> Iterator[str]:
    more = sorted(root.glob("additional_chat_templates/*.jinja"))
    for name in ("chat_template.jinja", *(f"{path.parent.name}/{path.name}" for path in more)):
        path = safe_file(root, name)
        if path.exists() and path.stat().st_size <= MAX_TEMPLATE_BYTES:
            yield path.read_text(encoding="utf-8", errors="replace")
    for name in ("chat_template.json", "tokenizer_config.json"):
        template = (read_json(root, name, required=False) or {}).get("chat_template")
        if isinstance(template, str):
            yield template
        elif isinstance(template, list):
            yield from (str(entry.get("template", "")) for entry in template if isinstance(entry, dict))


def _prompts(opened: OpenModel) -> Iterator[str]:
    """What sentence-transformers, or the pipeline of a task, puts before every text."""
    settings = read_json(opened.source.path, "config_sentence_transformers.json", required=False) or {}
    prompts, tasks = settings.get("prompts"), opened.config.get("task_specific_params")
    found = [*prompts.values()] if isinstance(prompts, dict) else []
    for task in tasks.values() if isinstance(tasks, dict) else ():
        found.append(task.get("prefix") if isinstance(task, dict) else None)
    yield from (text for text in found if isinstance(text, str) and len(text) <= MAX_TEMPLATE_BYTES)
