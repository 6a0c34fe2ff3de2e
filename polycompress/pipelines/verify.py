"""Check any trimmed model against its source, anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import find_files, parse_corpora, read_texts
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.modeldir.manifest import read_manifest, unpack_ids
from polycompress.modeldir.sources import resolve_model
from polycompress.modeldir.tensors import RowSlice, open_checkpoint
from polycompress.pipelines.trimming.certificate import (
    Certificate,
    certify_rows,
    certify_texts,
    kept_only,
    unknown_id,
)
from polycompress.pipelines.trimming.cuts import vocab_slices
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import (
    OpenModel,
    Vocabulary,
    asked_languages,
    open_model,
    open_vocabulary,
)
from polycompress.vocab.document import pieces
from polycompress.vocab.frequencies import held_out_words
from polycompress.vocab.held_out import HELD_OUT_TEXTS


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyResult:
    """What was found."""

    source: str
    trimmed: str
    kept: int
    certificate: Certificate

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "source": self.source,
            "trimmed": self.trimmed,
            "kept": self.kept,
            "certificate": self.certificate.as_dict(),
        }


def verify(
    source: str | os.PathLike[str],
    trimmed: str | os.PathLike[str],
    *,
    text: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    langs: str | Sequence[str] = (),
    full: bool = False,
    progress: Progress | None = None,
) -> VerifyResult:
    """Check that a trimmed model behaves as its source.

    Args:
        source: The model it was made from.
        trimmed: The trimmed model.
        text: Text files to segment with both, ``[LANG=]PATTERN``, one text a line. Without any, words of the built-in
            frequency lists are used.
        langs: Languages of those words; by default the ones named in the trimmed model's manifest.
        full: Also compare hidden states and logits (needs torch).
        progress: Called as work goes on.

    Returns:
        The certificate; its ``passed`` says whether everything held.

    Raises:
        InputError: A model cannot be read, or the second was not made from the first.
    """
    before = open_model(source)
    after_source = resolve_model(trimmed)
    after = open_vocabulary(after_source)
    manifest = read_manifest(after_source.path)
    keep_ids, pad_rows = _kept(before, after, manifest)
    checkpoint = open_checkpoint(after_source.path)
    slices = vocab_slices(before.axes, keep_ids, pad_rows)
    _check_shapes(before, checkpoint.tensors, slices)
    if progress is not None:
        progress("comparing rows", 0, None)
    rows = certify_rows(before.checkpoint, checkpoint, slices, others=True)
    texts = _texts(text, langs, manifest)
    unknown = unknown_id(before.vocabulary.document)
    certificates = {
        name: certify_texts(
            before.vocabulary.tokenizer, after.tokenizer, keep_ids, lines, unknown=unknown, source=origin
        )
        for name, (lines, origin) in texts.items()
    }
    behaviour = None
    if full:
        from polycompress.pipelines.trimming.behaviour import compare_behaviour

        if progress is not None:
            progress("running both models", 0, None)
        lines = [line for collected, _ in texts.values() for line in collected]
        ids = kept_only(before.vocabulary.tokenizer, keep_ids, lines)
        behaviour = compare_behaviour(before.source.path, after_source.path, ids, keep_ids)
    return VerifyResult(
        source=before.source.name,
        trimmed=str(trimmed),
        kept=len(keep_ids),
        certificate=Certificate(rows=rows, languages=certificates, full=behaviour),
    )


def _kept(
    before: OpenModel, after: Vocabulary, manifest: dict[str, Any] | None
) -> tuple[NDArray[np.int64], int]:
    """Source ids of the trimmed tokens: from the manifest, or found by their strings for models of other tools."""
    if manifest is not None and "kept_ids" in manifest:
        keep_ids = unpack_ids(manifest["kept_ids"])
        pad_rows = int(manifest.get("pad_rows", 0))
    else:
        by_piece = {
            piece: token
            for token, piece in enumerate(pieces(before.vocabulary.document))
            if piece is not None
        }
        new = pieces(after.document)
        strangers = [piece for piece in new if piece is not None and piece not in by_piece]
        if strangers:
            raise InputError(
                f"{len(strangers)} tokens of the second tokenizer are not in the first, such as {strangers[0]!r}: it "
                "was not trimmed from that model"
            )
        keep_ids = np.array([by_piece.get(piece, -1) for piece in new if piece is not None], dtype=np.int64)
        if len(keep_ids) != len(new) or not bool((np.diff(keep_ids) > 0).all()):
            raise InputError(
                "the second tokenizer's tokens are not in the order of the first: cannot be verified"
            )
        pad_rows = 0
    if len(keep_ids) and keep_ids[-1] >= before.axes.rows:
        raise InputError(
            f"polycompress.json keeps id {int(keep_ids[-1])}, but the source's table has {before.axes.rows} rows: "
            "it was not trimmed from that model"
        )
    if len(keep_ids) != after.size:
        raise InputError(
            f"polycompress.json keeps {len(keep_ids)} ids, but tokenizer.json has {after.size} tokens: "
            "the trimmed directory was changed after it was made"
        )
    _check_pieces(pieces(before.vocabulary.document), pieces(after.document), keep_ids)
    return keep_ids, pad_rows


def _check_pieces(
    before: Sequence[str | None], after: Sequence[str | None], keep_ids: NDArray[np.int64]
) -> None:
    """Each trimmed token is the source's token whose row it has; texts alone show that of the tokens in them only."""
    for new, old in enumerate(keep_ids.tolist()):
        expected = before[old] if old < len(before) else None
        if after[new] != expected:
            raise InputError(
                f"tokenizer.json: token {new} is {after[new]!r}, but polycompress.json keeps id {old} there, which is "
                f"{expected!r} in the source: the trimmed directory was changed after it was made, or is of another "
                "model. Trim again."
            )


def _check_shapes(before: OpenModel, after: Any, slices: dict[str, RowSlice]) -> None:
    for name, info in before.checkpoint.tensors.items():
        cut = slices.get(name)
        expected = tuple(
            cut.rows if cut is not None and axis == cut.axis else length
            for axis, length in enumerate(info.shape)
        )
        if name not in after:
            raise InputError(f"tensor {name} of the source is missing from the trimmed model")
        if after[name].shape != expected or after[name].dtype != info.dtype:
            raise InputError(
                f"tensor {name} is {after[name].dtype}{list(after[name].shape)} in the trimmed model; "
                f"{info.dtype}{list(expected)} was expected"
            )


def _texts(
    text: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    langs: str | Sequence[str],
    manifest: dict[str, Any] | None,
) -> dict[str, tuple[list[str], str]]:
    patterns = [text] if isinstance(text, str | os.PathLike) else list(text)
    languages = _languages(langs, manifest)
    collected: dict[str, tuple[list[str], str]] = {}
    for pattern in map(str, patterns):
        if "=" in pattern or len(languages) == 1:
            for spec in parse_corpora([pattern], languages, option="--text"):
                lines = collected.setdefault(spec.language.code, ([], "lines of the given text"))[0]
                lines.extend(read_texts(spec.files))
        else:
            lines = collected.setdefault("text", ([], "lines of the given text"))[0]
            lines.extend(read_texts(find_files(pattern, option="--text")))
    if not patterns:
        for language in languages:
            if language.wordfreq is not None:
                words = held_out_words(language)[:HELD_OUT_TEXTS]
                collected[language.code] = (words, "held-out words of the frequency list")
    if not collected:
        raise InputError(
            "there is no text to segment: give --text FILE, or --langs with built-in word frequencies"
        )
    return collected


def _languages(langs: str | Sequence[str], manifest: dict[str, Any] | None) -> tuple[Language, ...]:
    if langs:
        return asked_languages(langs)
    codes = [
        str(entry["code"])
        for entry in (manifest or {}).get("languages", [])
        if isinstance(entry, dict) and "code" in entry
    ]
    return asked_languages(codes) if codes else ()
