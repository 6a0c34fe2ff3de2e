"""Language identification: keep the texts in which a fastText model sees one language."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.corpora.fasttext_file import check_model_file
from polycompress.errors import InputError, MissingExtraError
from polycompress.languages import find_language

LABEL: Final = "__label__"
_SHOWN: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageFilter:
    """Keep texts in one language, as a model of the user's judges."""

    model: Path
    """A supervised fastText model (``.bin`` or ``.ftz``) whose labels are codes or names of languages."""
    language: str
    """Our code, for example ``deu-Latn``."""
    threshold: float = 0.5
    """Probability of the most probable label at least; 0 to 1."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: The threshold is no probability, or the language unknown.
        """
        if not 0 <= self.threshold <= 1:
            raise InputError(f"The threshold {self.threshold!r} is no probability: give 0 to 1.")
        find_language(self.language)

    def as_dict(self) -> dict[str, Any]:
        """The model's name and SHA-256, the language and the threshold, for the record."""
        return {
            "model": self.model.name,
            "sha256": _digest(self.model, _version(self.model)),
            "language": self.language,
            "threshold": self.threshold,
        }


def identifier(wanted: LanguageFilter) -> Callable[[list[str]], list[str]]:
    """The function that picks the texts in a language; the model is read once in a process.

    Raises:
        MissingExtraError: fastText is not installed.
        InputError: The file is no such model, or none of its labels means the language.
    """
    model, labels = _loaded(wanted.model, _version(wanted.model))
    right = labels_of(wanted.language, labels)
    if not right:
        found = ", ".join(sorted(labels)[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
        raise InputError(
            f"{wanted.model}: none of its {len(labels)} labels means {wanted.language} (there are {found}). "
            "Give a model that knows the language, or count without language identification."
        )

    def pick(texts: list[str]) -> list[str]:
        seen = _labels_seen(wanted.model, model, texts, wanted.threshold)
        return [text for text, label in zip(texts, seen, strict=True) if label in right]

    return pick


def languages_seen(
    model: Path, texts: Sequence[str], languages: Sequence[str], *, threshold: float = 0.5
) -> list[str | None]:
    """Which of some languages each text is in, as a model of the user's sees it; the model is read once in a process.

    Args:
        model: A supervised fastText model whose labels are codes or names of languages.
        texts: Of any length.
        languages: Our codes. Of two scripts of a language that a label does not tell apart, the first is taken.
        threshold: Probability of the most probable label at least; 0 to 1.

    Returns:
        A code for each text; None where the model is less sure, or sees another language.

    Raises:
        MissingExtraError: fastText is not installed.
        InputError: The file is no such model, or none of its labels means any of the languages.
    """
    loaded, labels = _loaded(model, _version(model))
    meant = {label: code for code in reversed(languages) for label in labels_of(code, labels)}
    if not meant:
        raise InputError(f"{model}: none of its {len(labels)} labels means one of {', '.join(languages)}.")
    lines = [" ".join(text.split()) for text in texts]  # fastText takes single lines
    seen = _labels_seen(model, loaded, lines, threshold) if lines else []
    return [None if label is None else meant.get(label) for label in seen]


def _labels_seen(path: Path, model: Any, lines: list[str], threshold: float) -> list[str | None]:
    """The most probable label of each line; None below the threshold."""
    try:
        found, shares = model.predict(lines, k=1)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path}: fastText fails with it ({error}). Download the model again.") from error
    return [
        label[0] if len(label) and share[0] >= threshold else None
        for label, share in zip(found, shares, strict=True)
    ]


def labels_of(language: str, labels: tuple[str, ...]) -> frozenset[str]:
    """The labels that mean a language; where a label names no script, any script of it will do.

    Args:
        language: Our code.
        labels: Like ``__label__de``, ``__label__deu`` or ``__label__deu_Latn``.
    """
    wanted = find_language(language)
    means = ((label, *_meaning(label)) for label in labels)
    return frozenset(
        label for label, code, iso639_3 in means if code == wanted.code or iso639_3 == wanted.iso639_3
    )


def _meaning(label: str) -> tuple[str | None, str | None]:
    """Our code where a label names a script, else ISO 639-3."""
    name = label.removeprefix(LABEL)
    try:
        language = find_language(name)
    except InputError:
        return None, None
    return (language.code, None) if "_" in name or "-" in name else (None, language.iso639_3)


@functools.lru_cache(maxsize=2)
def _loaded(path: Path, version: tuple[int, int]) -> tuple[Any, tuple[str, ...]]:
    try:
        import fasttext
    except ImportError:
        raise MissingExtraError("Language identification", "vectors") from None
    check_model_file(path)
    try:
        model = fasttext.load_model(str(path))
        labels = tuple(model.get_labels())
    except (ValueError, RuntimeError, MemoryError) as error:
        raise InputError(f"{path}: fastText cannot read it ({error}). Download the model again.") from error
    return model, labels


@functools.lru_cache(maxsize=8)
def _digest(path: Path, version: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: no such model file ({error.strerror}). Check the name.") from error
    return status.st_size, status.st_mtime_ns
