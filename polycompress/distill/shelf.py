"""What objectives ask of a teacher, kept for later: a store for each thing, and batches put together out of them.

Texts are known by their tokens as the teacher sees them. What can be kept is a hidden state of each token, the mean of
one over a text's tokens, and the answers of a head: of a task's all of them, of a language model's the likeliest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycompress.distill.kept import CLASSES, HIDDEN, LOGITS, TOP, VECTORS
from polycompress.distill.objectives.sentence import mean_pool
from polycompress.distill.outputs import Needs, Outputs
from polycompress.distill.store import Settings, TeacherStore
from polycompress.distill.store_kinds import Kind, answers, hidden_states, sentence_vectors, top_k_logits
from polycompress.distill.top_k import make_top_k
from polycompress.errors import InputError

Answers = Literal["sequence", "token", "span", "vocabulary"]
"""Whether a text has one answer, each token has, each is rated as the first and the last of an answer, or each is
answered with a token of the vocabulary."""
_ENDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is kept of each text."""

    hidden: frozenset[int] = frozenset()
    """Hidden states of its tokens, in half precision, numbered as ``Needs.hidden``."""
    vector: int | None = None
    """Number of the hidden state whose mean over the tokens is kept, in fp32."""
    answers: Answers | None = None
    """What shape of logits is kept, in fp32."""
    top: int = 0
    """Of a vocabulary, how many of the likeliest tokens are kept at each place."""

    @property
    def needs(self) -> Needs:
        """What the teacher has to show."""
        mean = frozenset() if self.vector is None else frozenset({self.vector})
        return Needs(hidden=self.hidden | mean, logits=self.answers is not None)


class Shelf:
    """Stores of one teacher's outputs."""

    def __init__(
        self, root: Path, teacher_hash: str, wanted: Wanted, *, width: int, classes: int, settings: Settings
    ) -> None:
        """Open the stores, or say what new ones will keep.

        Args:
            root: Directory of stores.
            teacher_hash: SHA-256 of the teacher.
            wanted: What is kept.
            width: Units of its hidden states.
            classes: Of its head: labels, or the vocabulary's rows.
            settings: What else its outputs depend on.

        Raises:
            InputError: Nothing is wanted, or a store is damaged.
        """
        self.wanted = wanted
        kinds: dict[str, Kind] = {f"{HIDDEN}{n}": hidden_states([n], width) for n in sorted(wanted.hidden)}
        if wanted.vector is not None:
            kinds[VECTORS] = sentence_vectors(width)
        if wanted.answers == "vocabulary":
            kinds[TOP] = top_k_logits(wanted.top, classes)
        elif wanted.answers is not None:
            counts = _ENDS if wanted.answers == "span" else classes
            kinds[LOGITS] = answers(counts, per_token=wanted.answers != "sequence")
        if not kinds:
            raise InputError("No objective asks anything of a teacher that could be kept.")
        self.stores: dict[str, TeacherStore] = {}
        for name, kind in kinds.items():
            more = {"state": wanted.vector} if name == VECTORS else {}
            self.stores[name] = TeacherStore.within(root, teacher_hash, kind, {**settings, **more})

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Of some texts those of which something is not there, each once, in their order."""
        lacking = {key for store in self.stores.values() for key in store.missing(keys)}
        return [key for key in dict.fromkeys(keys) if key in lacking]

    def put(self, keys: Sequence[str], rows: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Keep what ``rows_of`` made of some texts.

        Raises:
            InputError: A value cannot be kept.
            StorageError: The disk refused.
        """
        for name, store in self.stores.items():
            fields = {field: name + field if name == TOP else name for field in store.kind.fields}
            store.put(keys, {field: [row[kept] for row in rows] for field, kept in fields.items()})

    def get(self, keys: Sequence[str], lengths: Sequence[int], width: int) -> dict[str, Tensor]:
        """What is kept of a batch's texts, for ``as_outputs``.

        Args:
            keys: Of B texts.
            lengths: Tokens of each.
            width: Tokens of the batch, padding included.

        Raises:
            InputError: A text is not there, or a store is damaged.
        """
        found = {}
        for name, store in self.stores.items():
            for field, values in store.get(keys).items():
                kept = name + field if name == TOP else name
                if not store.kind.per_token:
                    found[kept] = torch.from_numpy(np.stack(values))
                    continue
                for key, value, length in zip(keys, values, lengths, strict=True):
                    if len(value) != length:
                        raise InputError(
                            f"{store.path}: keeps {len(value)} tokens of a text that has {length} ({key[:12]}): it is "
                            "damaged. Remove it: what it held will be computed again."
                        )
                padding = -np.inf if name == LOGITS and self.wanted.answers == "span" else 0
                padded = np.full((len(values), width, *values[0].shape[1:]), padding, dtype=values[0].dtype)
                for row, value in zip(padded, values, strict=True):
                    row[: len(value)] = value
                tensor = torch.from_numpy(padded)
                found[kept] = tensor.transpose(1, 2) if padding else tensor
            if name == TOP:
                found[CLASSES] = torch.tensor([store.kind.classes])
        return found


def rows_of(wanted: Wanted, said: Outputs, mask: Tensor) -> list[dict[str, NDArray[Any]]]:
    """What a teacher said of each text of a batch, without padding.

    Args:
        wanted: What is kept.
        said: Of B texts.
        mask: (B, n) bool, True for real tokens, which come before padding.

    Returns:
        For each text its arrays, as ``Shelf.put`` takes them.
    """
    whole: dict[str, Tensor] = {}
    tokens: dict[str, Tensor] = {f"{HIDDEN}{n}": said.hidden[n].half() for n in wanted.hidden}
    if wanted.vector is not None:
        whole[VECTORS] = mean_pool(said.hidden[wanted.vector], mask)
    lengths = mask.sum(dim=1).tolist()
    if wanted.answers == "vocabulary":
        return [
            {**row, **top}
            for row, top in zip(_rows(whole, tokens, lengths), _tops(wanted, said, lengths), strict=True)
        ]
    if wanted.answers is not None:
        assert said.logits is not None
        logits = said.logits.float()
        if wanted.answers == "sequence":
            whole[LOGITS] = logits
        else:
            tokens[LOGITS] = logits.transpose(1, 2) if wanted.answers == "span" else logits
    return _rows(whole, tokens, lengths)


def _rows(
    whole: Mapping[str, Tensor], tokens: Mapping[str, Tensor], lengths: Sequence[int]
) -> list[dict[str, NDArray[Any]]]:
    """Of each text what is of it as a whole, and of its tokens what is no padding."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in {**whole, **tokens}.items()}
    return [
        {name: array[row] if name in whole else array[row, :length] for name, array in arrays.items()}
        for row, length in enumerate(lengths)
    ]


def _tops(wanted: Wanted, said: Outputs, lengths: Sequence[int]) -> list[dict[str, NDArray[Any]]]:
    """Of each text the likeliest tokens at each place, and the mass of the others."""
    assert said.logits is not None
    found = []
    for logits, length in zip(said.logits, lengths, strict=True):
        top = make_top_k(logits[:length].float().cpu().numpy(), wanted.top)
        found.append({f"{TOP}ids": top.ids, f"{TOP}log_probs": top.log_probs, f"{TOP}tail": top.tail})
    return found
