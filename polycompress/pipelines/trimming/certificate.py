"""The certificate: proof, by measurement, that a trimmed model behaves as its source.

It fails if and only if a sliced row differs from its source in one bit, or a text all of whose source tokens are kept
is segmented differently. Shares and fertility are reported, never gated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.modeldir.tensors import Checkpoint, RowSlice, compare_others, compare_rows
from polycompress.vocab.counting import encode_ids, segmenting

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from polycompress.pipelines.trimming.behaviour import Behaviour

FULL_TEXTS: Final = 64
"""Texts whose hidden states and logits are compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCertificate:
    """Every kept row against its source row."""

    tensors: int
    """Tensors with a vocabulary axis."""
    rows: int
    identical: int
    """Rows that are equal bit by bit."""
    others: int
    """All other tensors."""
    others_changed: tuple[str, ...] = ()
    first_difference: str | None = None

    @property
    def passed(self) -> bool:
        """Every row of every tensor is identical."""
        return self.rows == self.identical and not self.others_changed and self.first_difference is None


@dataclass(frozen=True, kw_only=True, slots=True)
class TextCertificate:
    """The segmentation of some texts, before and after."""

    source: str
    """Where the texts came from."""
    texts: int
    identical: int
    """Texts with the same segmentation."""
    kept_only: int
    """Texts all of whose source tokens are kept."""
    kept_only_identical: int
    fertility_before: float
    """Tokens per word (white space tells words apart)."""
    fertility_after: float
    unknown_before: int
    """Unknown tokens in all texts."""
    unknown_after: int
    first_difference: str | None = None

    @property
    def passed(self) -> bool:
        """Every text whose tokens are all kept is segmented as before."""
        return self.kept_only == self.kept_only_identical


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """All checks of one trimmed model."""

    rows: RowCertificate
    languages: Mapping[str, TextCertificate]
    full: Behaviour | None = None

    @property
    def passed(self) -> bool:
        """Nothing that the certificate promises was found broken."""
        texts = all(text.passed for text in self.languages.values())
        return self.rows.passed and texts and (self.full is None or self.full.passed)

    def as_dict(self) -> dict[str, Any]:
        """For manifests and ``--json``."""
        return {"passed": self.passed, **asdict(self)}

    def failures(self) -> list[str]:
        """One sentence for each broken promise."""
        found = (
            [f"a row differs from its source: {self.rows.first_difference}"]
            if self.rows.first_difference
            else []
        )
        found += [f"tensor {name} changed" for name in self.rows.others_changed]
        found += [
            f"{code}: {text.kept_only - text.kept_only_identical} texts whose tokens are all kept are segmented "
            f"differently, first: {text.first_difference!r}"
            for code, text in self.languages.items()
            if not text.passed
        ]
        if self.full is not None and not self.full.passed:
            found.append(f"the model's output differs: {self.full.describe()}")
        return found


def certify_rows(
    source: Checkpoint, trimmed: Checkpoint, slices: Mapping[str, RowSlice], *, others: bool = False
) -> RowCertificate:
    """Compare every sliced tensor with its source, and, with ``others``, every other tensor too."""
    checks = compare_rows(source, trimmed, slices)
    broken = [check for check in checks if check.identical != check.rows or not check.padding_ok]
    return RowCertificate(
        tensors=len(checks),
        rows=sum(check.rows for check in checks),
        identical=sum(check.identical for check in checks),
        others=len(trimmed.tensors) - len(checks),
        others_changed=compare_others(source, trimmed, slices) if others else (),
        first_difference=f"{broken[0].name}, row {broken[0].first_difference}" if broken else None,
    )


def certify_texts(
    before: Tokenizer,
    after: Tokenizer,
    keep_ids: NDArray[np.int64],
    texts: Sequence[str],
    *,
    unknown: int | None,
    source: str,
) -> TextCertificate:
    """Segment texts with both tokenizers.

    Args:
        before: The source's tokenizer.
        after: The trimmed one.
        keep_ids: (K,) source id of each new id.
        texts: Texts, best ones that were not used to choose the ids.
        unknown: Source id of the unknown token, if there is one.
        source: Where the texts came from, for the report.

    Returns:
        The comparison.
    """
    kept = frozenset(keep_ids.tolist())
    identical = kept_only = kept_only_identical = tokens_before = tokens_after = words = 0
    unknown_before = unknown_after = 0
    first: str | None = None
    for text, old, new in zip(texts, encode_ids(before, texts), encode_ids(after, texts), strict=True):
        mapped = keep_ids[new].tolist()
        same = mapped == old
        all_kept = kept.issuperset(old)
        identical += same
        kept_only += all_kept
        kept_only_identical += all_kept and same
        if all_kept and not same and first is None:
            first = text
        tokens_before += len(old)
        tokens_after += len(new)
        words += max(1, len(text.split()))
        unknown_before += old.count(unknown) if unknown is not None else 0
        unknown_after += mapped.count(unknown) if unknown is not None else 0
    return TextCertificate(
        source=source,
        texts=len(texts),
        identical=identical,
        kept_only=kept_only,
        kept_only_identical=kept_only_identical,
        fertility_before=tokens_before / max(1, words),
        fertility_after=tokens_after / max(1, words),
        unknown_before=unknown_before,
        unknown_after=unknown_after,
        first_difference=first,
    )


def kept_only(tokenizer: Tokenizer, keep_ids: NDArray[np.int64], texts: Sequence[str]) -> list[list[int]]:
    """Source ids of the first texts all of whose tokens are kept, special tokens of the template included."""
    kept = frozenset(keep_ids.tolist())
    found: list[list[int]] = []
    for text in texts:
        if len(found) == FULL_TEXTS:
            break
        with segmenting():
            ids = tokenizer.encode(text).ids
        if kept.issuperset(ids):
            found.append(ids)
    return found


def unknown_id(document: Mapping[str, Any]) -> int | None:
    """Id of the unknown token, if there is one."""
    model = document["model"]
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    token = model.get("unk_token")
    vocabulary = model.get("vocab")
    return int(vocabulary[token]) if isinstance(vocabulary, dict) and token in vocabulary else None
