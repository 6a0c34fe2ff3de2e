"""What a model says of a text: a masked word, labels, tags or a vector. Needs torch; the page does without it."""

from __future__ import annotations

import statistics
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.evaluation.batches import pad_batch
from polycompress.evaluation.encoding import Encoded
from polycompress.evaluation.forward import computing, embed, forward
from polycompress.evaluation.models import TaskModel, load_task_model, task_model
from polycompress.evaluation.pretrained import load_pretrained
from polycompress.evaluation.records import Kind, TextExample, WordsExample
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.modeldir.convert import ensure_tokenizer_json
from polycompress.modeldir.directory import read_bytes, read_json
from polycompress.modeldir.exported import is_exported
from polycompress.ui.models import Head, OpenedModel
from polycompress.vocab.document import MAX_DOCUMENT_BYTES

GAP: Final = "___"
"""Stands in a text where a masked language model is to guess."""
TOP: Final = 5
TIMES: Final = 5
"""Times that a text goes through the model; the median is told."""
KEPT: Final = 2
"""Models in memory."""
_MASKS: Final = ("<mask>", "[MASK]")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answer:
    """Of one model on one text."""

    head: Head
    rows: tuple[tuple[str, float], ...] = ()
    """Guesses or labels with probabilities, likeliest first; of tags each word's, such as ``Nairobi: B-LOC``."""
    vector: NDArray[np.float32] | None = None
    """(d,) of the text."""
    second: NDArray[np.float32] | None = None
    """(d,) of the second text."""
    milliseconds: float = 0.0
    """From text to answer, median."""


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    model: TaskModel
    head: Head
    mask: str | None


class Answers:
    """Models in memory, the newest few; one text at a time, from whatever thread."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[tuple[Path, int], _Loaded] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, opened: OpenedModel, text: str, second: str = "") -> Answer:
        """What a model says.

        Args:
            opened: The model.
            text: Of a masked language model one with a gap, ``___``, or its last word is hidden.
            second: Of a sentence encoder, another text to compare with.

        Raises:
            InputError: It cannot be loaded, or not be asked.
        """
        if not text.strip():
            raise InputError("There is no text. Write one.")
        with self._lock:
            loaded = self._load(opened)
            answer = _answer(loaded, text, second)
            seconds = []
            for _ in range(TIMES):
                began = time.perf_counter()
                _answer(loaded, text, "")
                seconds.append(time.perf_counter() - began)
        return Answer(
            head=answer.head,
            rows=answer.rows,
            vector=answer.vector,
            second=answer.second,
            milliseconds=1000 * statistics.median(seconds),
        )

    def _load(self, opened: OpenedModel) -> _Loaded:
        key = (opened.path, opened.written)
        if key not in self._loaded:
            while len(self._loaded) >= KEPT:
                self._loaded.popitem(last=False)
            self._loaded[key] = _load(opened)
        self._loaded.move_to_end(key)
        return self._loaded[key]


def similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    """Cosine of the angle between two vectors; None where they have no common space, or one is zero.

    Args:
        one: (d,)
        other: (e,)
    """
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    if one.shape != other.shape or lengths == 0.0:
        return None
    return float(np.clip(one.astype(np.float64) @ other.astype(np.float64) / lengths, -1.0, 1.0))


def with_gap(text: str, mask: str) -> str:
    """A text with a mask at its first gap, or in the place of its last word.

    Example:
        >>> with_gap("Nairobi ni mji", "<mask>")
        'Nairobi ni <mask>'
    """
    if mask in text:
        return text
    if GAP in text:
        return text.replace(GAP, mask, 1).replace(GAP, "")
    before, _, last = text.rstrip().rpartition(" ")
    return f"{before} {mask}" if before else last + mask


def _load(opened: OpenedModel) -> _Loaded:
    root, head = opened.path, opened.head
    config = read_json(root, "config.json") or {}
    if head in ("masked", "causal"):
        return _load_language_model(root, head, config)
    if head in ("classes", "tags"):
        kind: Kind = "text-classification" if head == "classes" else "token-classification"
        labels = _labels(root, config)
        return _Loaded(load_task_model(root, kind, labels, device="cpu", precision="fp32"), head, None)
    if head == "none":
        raise InputError(f"{opened.name}: of models with this head the page shows tokens alone.")
    return _Loaded(load_task_model(root, "retrieval", device="cpu", precision="fp32"), head, None)


def _load_language_model(root: Path, head: Head, config: Mapping[str, Any]) -> _Loaded:
    if is_exported(root):
        raise InputError(f"{root}: of language models as graphs the page shows tokens alone.")
    open_checkpoint(root)
    loader = transformers.AutoModelForMaskedLM if head == "masked" else transformers.AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        model, lacking = load_pretrained(loader, root, torch.float32)
    if lacking:
        raise InputError(
            f"{root}: the checkpoint lacks {len(lacking)} parameters, such as {min(lacking)}. Restore it."
        )
    settings = read_json(root, "tokenizer_config.json", required=False) or {}
    document = read_bytes(root, ensure_tokenizer_json(root).name, max_bytes=MAX_DOCUMENT_BYTES)
    ready = task_model(
        model.eval(),
        document,
        kind="retrieval",  # whose encoding is that of texts alone
        config=config,
        tokenizer_config=settings,
        device="cpu",
        precision="fp32",
        where=str(root),
    )
    return _Loaded(ready, head, _mask_token(ready, settings) if head == "masked" else None)


def _mask_token(model: TaskModel, settings: Mapping[str, Any]) -> str:
    named = settings.get("mask_token")
    named = named.get("content") if isinstance(named, Mapping) else named
    for token in (named, *_MASKS):
        if isinstance(token, str) and model.tokenizer.token_to_id(token) is not None:
            return token
    raise InputError("tokenizer_config.json: names no mask_token that the tokenizer has. Restore the file.")


def _labels(root: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    named = config.get("id2label", {0: "LABEL_0", 1: "LABEL_1"})  # what transformers takes it for
    try:
        numbered = {int(number): str(name) for number, name in named.items()}
    except (AttributeError, ValueError):
        numbered = {}
    if not numbered:
        raise InputError(f"{root}/config.json: id2label names no labels by their numbers. Restore the file.")
    return tuple(numbered[number] for number in sorted(numbered))


def _answer(loaded: _Loaded, text: str, second: str) -> Answer:
    match loaded.head:
        case "masked" | "causal":
            return Answer(head=loaded.head, rows=_guesses(loaded, text))
        case "classes":
            logits = forward(
                loaded.model, loaded.model.encoder.encode_texts([TextExample("0", text, None, 0)])
            )[0]
            return Answer(head=loaded.head, rows=_likeliest(_softmax(logits), loaded.model.labels))
        case "tags":
            return Answer(head=loaded.head, rows=_tags(loaded.model, text))
        case _:
            vectors = embed(loaded.model, [text, second] if second.strip() else [text])
            return Answer(head="vectors", vector=vectors[0], second=vectors[1] if len(vectors) > 1 else None)


def _guesses(loaded: _Loaded, text: str) -> tuple[tuple[str, float], ...]:
    model = loaded.model
    if loaded.mask is None:
        row = model.encoder.encode_strings([text])[0]
        at = len(row) - 1
    else:
        row = model.encoder.encode_strings([with_gap(text, loaded.mask)])[0]
        places = np.flatnonzero(row.ids == model.tokenizer.token_to_id(loaded.mask))
        if not len(places):
            raise InputError(
                f"The text is longer than the {len(row)} tokens that the model takes. Shorten it."
            )
        at = int(places[0])
    shares = _softmax(_logits(model, row)[at])
    best = np.argsort(-shares, kind="stable")[:TOP]
    return tuple(
        (model.tokenizer.id_to_token(int(each)) or f"id {each}", float(shares[each])) for each in best
    )


def _logits(model: TaskModel, row: Encoded) -> NDArray[np.float32]:
    """Scores of all tokens at each place: (T, V)."""
    with computing(model):
        batch = pad_batch([row], model.encoder.pad_id)
        found: NDArray[np.float32] = model.model(**batch, return_dict=True).logits[0].float().numpy()
    return found


def _tags(model: TaskModel, text: str) -> tuple[tuple[str, float], ...]:
    words = tuple(text.split())
    rows = model.encoder.encode_words([WordsExample("0", words, (0,) * len(words))])
    found: dict[int, tuple[str, float]] = {}
    for row, logits in zip(rows, forward(model, rows), strict=True):
        assert row.word_starts is not None
        for at in np.flatnonzero(row.word_starts >= 0):
            shares = _softmax(logits[at])
            best, word = int(shares.argmax()), int(row.word_starts[at])
            found[word] = (f"{words[word]}: {model.labels[best]}", float(shares[best]))
    return tuple(found[word] for word in sorted(found))


def _likeliest(shares: NDArray[np.float32], names: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-shares, kind="stable")
    return tuple((names[at], float(shares[at])) for at in order)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C,) shares that add up to 1."""
    powers = np.exp(logits - logits.max())
    found: NDArray[np.float32] = powers / powers.sum()
    return found
