"""The models that can be compared: those found under the directory of runs, and those that were named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from polycompress.errors import InputError
from polycompress.evaluation.tokenizer import open_tokenizer
from polycompress.languages import find_language
from polycompress.modeldir.convert import ensure_tokenizer_json
from polycompress.modeldir.directory import read_bytes, read_json
from polycompress.modeldir.figures import language_entries
from polycompress.modeldir.manifest import read_manifest
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.judging.models import model_size
from polycompress.ui.runs import Entry
from polycompress.vocab.document import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Head = Literal["masked", "causal", "classes", "tags", "vectors", "none"]
"""What a model says of a text."""
_HEADS: Final[Mapping[str, Head]] = {
    "ForMaskedLM": "masked",
    "ForPreTraining": "masked",
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "ForSequenceClassification": "classes",
    "ForTokenClassification": "tags",
    "ForQuestionAnswering": "none",
    "ForConditionalGeneration": "none",
}
"""By the end of the class's name; any other class gives vectors."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenedModel:
    """What can be said of a model without computing with it."""

    name: str
    path: Path
    tokenizer: Tokenizer
    head: Head
    parameters: int | None
    bytes: int
    """Of the weights."""
    vocabulary: int
    languages: tuple[str, ...]
    """Codes that its manifest names and the registry knows."""
    written: int
    """When its newest file was, in nanoseconds: of what is made anew nothing old is shown."""


def find_choices(entries: Iterable[Entry], named: Sequence[str | os.PathLike[str]] = ()) -> dict[str, Path]:
    """Directories of models by what they are called; those that were named come first.

    Raises:
        InputError: A model that was named is not there.
    """
    found: dict[str, Path] = {}
    for spec in named:
        source = resolve_model(spec)
        found[_unused(os.fspath(spec), found)] = source.path
    for entry in entries:
        if entry.kind == "model" and entry.state != "damaged":
            found[_unused(entry.name, found)] = entry.path
    return found


def open_model(name: str, path: Path) -> OpenedModel:
    """Read what a model directory says, and its tokenizer.

    Raises:
        InputError: It is damaged, or has no tokenizer that the tokenizers library knows.
    """
    config = read_json(path, "config.json") or {}
    file = ensure_tokenizer_json(path)
    tokenizer = open_tokenizer(read_bytes(path, file.name, max_bytes=MAX_DOCUMENT_BYTES))
    size = model_size(path)
    return OpenedModel(
        name=name,
        path=path,
        tokenizer=tokenizer,
        head=head_of(config.get("architectures")),
        parameters=size["parameters"]["total"],
        bytes=size["bytes"],
        vocabulary=tokenizer.get_vocab_size(with_added_tokens=True),
        languages=_languages(path),
        written=last_written(path),
    )


def last_written(path: Path) -> int:
    """When the newest file of a directory was written, in nanoseconds; 0 where there is none."""
    try:
        with os.scandir(path) as entries:
            return max((each.stat().st_mtime_ns for each in entries), default=0)
    except OSError:
        return 0


def head_of(architectures: object) -> Head:
    """What a model with a class of this name says of a text."""
    for name in architectures if isinstance(architectures, list) else []:
        for ending, head in _HEADS.items():
            if str(name).endswith(ending):
                return head
    return "vectors"


def _languages(path: Path) -> tuple[str, ...]:
    codes = []
    for each in language_entries(read_manifest(path) or {}):
        try:
            codes.append(find_language(str(each.get("code"))).code)
        except InputError:
            continue
    return tuple(codes)


def _unused(name: str, taken: Mapping[str, Path]) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name} ({number})", number + 1
    return found
