"""What tasks are made of: examples of each kind, and the place in which they are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "pair-classification",
    "text-classification",
    "token-classification",
    "question-answering",
    "retrieval",
    "word-translation",
]
Split = Literal["train", "dev", "test"]


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text, or a pair of texts, and its class."""

    key: str
    """Unique in its split; where a task is parallel, the same in every language."""
    text: str
    """Of a pair: the premise."""
    second: str | None
    """The hypothesis; None where there is one text only."""
    label: int
    """Place in the task's ``labels``."""


@dataclass(frozen=True, slots=True)
class WordsExample:
    """A sentence in words, each with a tag."""

    key: str
    words: tuple[str, ...]
    tags: tuple[int, ...]
    """Of each word, places in the task's ``labels``, which are IOB2 tags."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A span of a context."""

    text: str
    start: int
    """In characters."""


@dataclass(frozen=True, slots=True)
class QuestionExample:
    """A question whose answers are spans of its context."""

    key: str
    paragraph: str
    """Key of the context; the same in every language where the task is parallel."""
    context: str
    question: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class SentencePair:
    """The same sentence in two languages: first the task's pivot, then the language that is scored."""

    key: str
    pivot: str
    text: str


@dataclass(frozen=True, slots=True)
class WordPair:
    """A word of the pivot language and all its translations."""

    word: str
    translations: tuple[str, ...]


Example = TextExample | WordsExample | QuestionExample | SentencePair | WordPair


@dataclass(frozen=True, order=True, slots=True)
class Part:
    """The part of a task that one score belongs to."""

    language: str
    """Code of the registry, such as ``deu-Latn``."""
    subset: str | None = None
    """Where a task has several test sets in one language, such as UNER's treebanks: its name (``ewt``, ``pud``)."""

    def __str__(self) -> str:
        return self.language if self.subset is None else f"{self.language}/{self.subset}"
