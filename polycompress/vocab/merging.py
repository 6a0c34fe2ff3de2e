"""Add up the counts of parts of a corpus: exact, in any order and any grouping."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.vocab.held_out import merge_samples

if TYPE_CHECKING:
    from polycompress.vocab.counts import Counts, LanguageCounts

logger = logging.getLogger(__name__)

_LARGEST: Final = 2**62


def merge_counts(parts: Sequence[LanguageCounts]) -> LanguageCounts:
    """The counts of everything that was counted in some parts.

    Whole numbers add up exactly, so neither order nor grouping matters; the sample of held-out texts is that of the
    union, and tokens seen once are counted anew. Counts of word frequencies are floating, and exact up to rounding.

    Args:
        parts: Of one language under one tokenizer, at least one.

    Returns:
        Their sum; its ``source`` holds the files of all, sorted, and every other entry that all parts agree on.

    Raises:
        InputError: There is no part, or the sum is beyond what 64 bits hold.
    """
    if not parts:
        raise InputError("There are no counts to add up. Give at least one.")
    if len(parts) == 1:
        return parts[0]
    from polycompress.vocab.counts import LanguageCounts

    ids, counts = _add(parts)
    known = [part.held_out_texts for part in parts if part.held_out_texts is not None]
    return LanguageCounts(
        ids=ids,
        counts=counts,
        texts=sum(part.texts for part in parts),
        characters=sum(part.characters for part in parts),
        bytes=sum(part.bytes for part in parts),
        seen_once=(
            None if any(part.seen_once is None for part in parts) else int(np.count_nonzero(counts == 1))
        ),
        source=_merge_sources([part.source for part in parts]),
        held_out_texts=merge_samples(known) if known else None,
    )


def merge_named_counts(parts: Sequence[tuple[str, LanguageCounts]]) -> LanguageCounts:
    """The counts of what was counted at several places, no text twice.

    Args:
        parts: Of one language under one tokenizer, at least one, each with the name of its place. One that is of the
            same files as one before it, read alike, and has the same counts, is left out with a warning.

    Returns:
        See ``merge_counts``.

    Raises:
        InputError: Two places share some of their files, but not all, or count them differently.
    """
    kept: list[tuple[str, LanguageCounts]] = []
    for name, part in parts:
        twin = next((older for older, other in kept if _same(part, other)), None)
        if twin is not None:
            logger.warning("%s: is of the same text as %s; it is counted once", name, twin)
            continue
        for older, other in kept:
            shared = _whole_files(part).keys() & _whole_files(other).keys()
            if shared:
                files = ", ".join(sorted(_whole_files(other)[key] for key in shared))
                raise InputError(
                    f"{older} and {name}: {files} is in both, so their sum would count that text twice. Give one of "
                    "the two, or count all text at once (polycompress count, with a --corpus for each)."
                )
        kept.append((name, part))
    return merge_counts([part for _, part in kept])


def _same(one: LanguageCounts, other: LanguageCounts) -> bool:
    """Whether two records are of the same text: the same files, parts of files or parts of data sets, counted alike."""
    return (
        bool(one.source.get("files"))
        and one.source == other.source
        and one.texts > 0
        and np.array_equal(one.ids, other.ids)
        and np.array_equal(one.counts, other.counts)
    )


def _whole_files(part: LanguageCounts) -> dict[tuple[str, str], str]:
    """Names of the whole files that were counted, by hash and by the field that was read; parts of files have none."""
    reading = part.source.get("reading")
    field = reading.get("field") if isinstance(reading, Mapping) else None
    files = part.source.get("files")
    return {
        (str(entry["sha256"]), str(field)): str(entry.get("name"))
        for entry in (files if isinstance(files, list) else ())
        if isinstance(entry, Mapping) and "sha256" in entry and entry.get("bytes")
    }


def check_counts(counts: Counts, path: Path, sha256: str, vocab_size: int) -> None:
    """Refuse counts of another tokenizer.

    Args:
        counts: Loaded.
        path: Where from.
        sha256: Of the model's ``tokenizer.json``.
        vocab_size: V, one more than its highest token id.

    Raises:
        InputError: They were counted with another; both hashes are named.
    """
    if (counts.tokenizer_sha256, counts.vocab_size) != (sha256, vocab_size):
        raise InputError(
            f"{path}: counted with another tokenizer: its tokenizer.json has SHA-256 {counts.tokenizer_sha256} and "
            f"{counts.vocab_size} ids, the model's has {sha256} and {vocab_size}. Count again with this model "
            "(polycompress count), or give the model that the counts were made with."
        )


def _add(parts: Sequence[LanguageCounts]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    ids, where = np.unique(np.concatenate([part.ids for part in parts]), return_inverse=True)
    values = np.concatenate([part.counts for part in parts])
    if values.dtype.kind != "f" and sum(int(part.counts.max(initial=0)) for part in parts) > _LARGEST:
        raise InputError(
            "The counts add up to more than 64 bits hold; one of the files is damaged. Count again."
        )
    counts = np.zeros(len(ids), dtype=np.float64 if values.dtype.kind == "f" else np.int64)
    np.add.at(counts, where, values)
    return ids, counts


def _merge_sources(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    merged = {
        key: value
        for key, value in sources[0].items()
        if all(key in source and source[key] == value for source in sources[1:])
    }
    merged.pop("dropped", None)
    if any("files" in source for source in sources):
        merged["files"] = _sorted(entry for source in sources for entry in source.get("files", ()))
    dropped: Counter[str] = Counter()
    for source in sources:
        dropped.update(source.get("dropped", {}))
    if dropped:
        merged["dropped"] = dict(sorted(dropped.items()))
    return merged


def _sorted(entries: Iterable[Any]) -> list[Any]:
    return sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True, default=str))
