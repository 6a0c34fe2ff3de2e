"""From rows to examples of each kind; whatever is wrong with a row is said with its place."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.evaluation.records import (
    Answer,
    QuestionExample,
    SentencePair,
    Split,
    TextExample,
    WordPair,
    WordsExample,
)
from polycompress.evaluation.sources.doors import Row

logger = logging.getLogger(__name__)

_TRAIN, _DEV = 70, 80
"""Of a hundred paragraphs: where training ends, and where development ends."""
_SHOWN: Final = 60
_HALF: Final = re.compile("[\ud800-\udfff]")


def text_examples(rows: Iterable[Row], labels: Sequence[str], *, pairs: bool) -> Iterator[TextExample]:
    """Texts or pairs of texts with their class.

    Raises:
        InputError: A text is empty, or a class is none of the labels.
    """
    places = {label: place for place, label in enumerate(labels)}
    for key, row in _keyed(rows):
        text = _text(row, "text")
        second = _text(row, "second") if pairs else None
        label = row.values["label"]
        if label not in places:
            raise InputError(
                f"{row.place}: {_shown(label)} is none of the task's labels ({', '.join(labels)}). "
                "Mend the line, or name it under rename in the task's file."
            )
        yield TextExample(key, text, second, places[label])


def word_examples(rows: Iterable[Row], labels: Sequence[str]) -> Iterator[WordsExample]:
    """Sentences with a tag a word.

    Raises:
        InputError: A word is empty, a tag is none of the labels, or an ``I-X`` follows neither ``B-X`` nor ``I-X``.
    """
    places = {label: place for place, label in enumerate(labels)}
    for key, row in _keyed(rows):
        words, tags = row.values["words"], row.values["tags"]
        if not words or len(words) != len(tags):
            raise InputError(
                f"{row.place}: {len(words)} words and {len(tags)} tags. There must be one tag a word."
            )
        previous = "O"
        for offset, (word, tag) in enumerate(zip(words, tags, strict=True)):
            if not isinstance(word, str) or not word.strip():
                raise InputError(f"{_word_place(row, offset)}: the word is empty. Mend or remove it.")
            if tag not in places:
                raise InputError(
                    f"{_word_place(row, offset)}: {_shown(tag)} is none of the task's tags ({', '.join(labels)}). "
                    "Mend it, or name it under rename in the task's file."
                )
            if tag.startswith("I-") and previous[1:] != tag[1:]:
                raise InputError(
                    f"{_word_place(row, offset)}: {tag} follows {previous}; it must follow B{tag[1:]} or {tag} "
                    "(IOB2). Mend the tags."
                )
            previous = tag
        yield WordsExample(key, tuple(words), tuple(places[tag] for tag in tags))


def question_examples(rows: Iterable[Row], split: Split | None) -> Iterator[QuestionExample]:
    """Questions with the spans that answer them.

    Args:
        rows: All questions.
        split: Only those whose paragraph is in it; None: all.

    Raises:
        InputError: A text is empty, there is no answer, or an answer does not stand where it should.
    """
    for key, row in _keyed(rows):
        paragraph = str(row.values["paragraph"])
        if split is not None and paragraph_split(paragraph) != split:
            continue
        context = _text(row, "context")
        answers = tuple(Answer(text, start) for text, start in row.values["answers"])
        if not answers:
            raise InputError(f"{row.place}: there is no answer. Mend or remove the question.")
        for answer in answers:
            if not _stands(answer, context):
                raise InputError(
                    f"{row.place}: the answer {_shown(answer.text)} does not stand at character "
                    f"{_shown(answer.start)} of the context. Mend it."
                )
        yield QuestionExample(key, paragraph, context, _text(row, "question"), answers)


def paragraph_split(paragraph: str) -> Split:
    """The split of a paragraph: the CRC-32 of its key puts 70 % into train, 10 % into dev and 20 % into test."""
    share = zlib.crc32(paragraph.encode()) % 100
    return "train" if share < _TRAIN else "dev" if share < _DEV else "test"


def sentence_pairs(rows: Iterable[Row], pivots: Mapping[str, str] | None) -> Iterator[SentencePair]:
    """Sentences with their translation in the pivot language.

    Args:
        rows: Of the language that is scored, perhaps with the pivot's sentence beside it.
        pivots: The pivot's sentences by key, where they come from elsewhere; rows without one are left out.

    Raises:
        InputError: A text is empty.
    """
    alone = 0
    for key, row in _keyed(rows):
        text = _text(row, "text")
        if pivots is None:
            yield SentencePair(key, _text(row, "pivot"), text)
        elif key in pivots:
            yield SentencePair(key, pivots[key], text)
        else:
            alone += 1
    if alone:
        logger.warning("%d sentences have no partner in the pivot language and are left out", alone)


def keyed_texts(rows: Iterable[Row]) -> dict[str, str]:
    """Sentences by key.

    Raises:
        InputError: One is empty, or a key is there twice.
    """
    return {key: _text(row, "text") for key, row in _keyed(rows)}


def word_pairs(rows: Iterable[Row]) -> Iterator[WordPair]:
    """Words with all their translations, in the order in which they come first.

    Raises:
        InputError: A word or translation is empty.
    """
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        found.setdefault(_text(row, "word"), {})[_text(row, "translation")] = None
    for word, translations in found.items():
        yield WordPair(word, tuple(translations))


def _stands(answer: Answer, context: str) -> bool:
    """Whether a context has an answer where it says."""
    text: object = answer.text  # files may say anything
    start: object = answer.start
    if not isinstance(text, str) or not text or not isinstance(start, int) or start < 0:
        return False
    return context.startswith(text, start)


def _keyed(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Rows with their keys; without a column for it the key is the number of the row, from 1."""
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        key = str(row.values.get("key", number))
        if key in seen:
            raise InputError(
                f"{row.place}: the key {key[:_SHOWN]!r} is there twice. Keys tell examples apart; mend one."
            )
        seen.add(key)
        yield key, row


def _text(row: Row, value: str) -> str:
    text = row.values[value]
    if not isinstance(text, str):
        raise InputError(f"{row.place}: the {value} is {_shown(text)}, not text.")
    if not text.strip():
        raise InputError(f"{row.place}: the {value} is empty. Mend or remove the row.")
    if _HALF.search(text):  # JSON can write it, UTF-8 cannot
        raise InputError(f"{row.place}: the {value} holds half a character (a lone surrogate). Mend it.")
    return text


def _word_place(row: Row, offset: int) -> str:
    head, mark, number = row.place.rpartition(": line ")
    return f"{head}: line {int(number) + offset}" if mark else f"{row.place}, word {offset + 1}"


def _shown(value: Any) -> str:
    return repr(value)[:_SHOWN]
