"""The part of a model card that tells how the trimmed model compares with its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polycompress.modeldir.figures import (
    UNKNOWN,
    count,
    join,
    language_entries,
    number,
    part_and_share,
    part_of,
    ratio,
)
from polycompress.modeldir.markdown import escape, plain, table

_TITLE = "## Does it behave the same?\n\n"
_HEAD = (
    "Language",
    "texts",
    "segmented as before",
    "the same, of texts whose tokens are all kept",
    "fertility",
    "unknown tokens",
)


def certificate_section(manifest: Mapping[str, Any]) -> str:
    """The checks of a manifest's certificate as Markdown."""
    certificate = manifest.get("certificate")
    if not isinstance(certificate, Mapping):
        return _TITLE + "Unknown: it was not checked."
    passed = certificate.get("passed") is True
    verdict = "Yes, as far as these checks go:" if passed else "**No: a check failed.**"
    parts = [_TITLE + verdict, "\n".join([_weights(certificate), _outputs(certificate)])]
    return "\n\n".join([*parts, *_segmentation(manifest, part_of(certificate, "languages"))])


def _weights(certificate: Mapping[str, Any]) -> str:
    rows = part_of(certificate, "rows")
    return (
        f"- **Weights**: {count(rows.get('identical'))} of {count(rows.get('rows'))} kept rows "
        f"(tables: {count(rows.get('tensors'))}) are equal to the source's in every bit; both files were "
        "read again for it."
    )


def _outputs(certificate: Mapping[str, Any]) -> str:
    full = part_of(certificate, "full")
    if not full:
        return "- **Outputs**: not compared here; `polycompress verify --full` does."
    text = (
        f"- **Outputs**: on {count(full.get('texts'))} texts the hidden states differ by at most "
        f"{number(full.get('hidden_max_abs'))}"
    )
    if full.get("logits_max_abs") is not None:
        text += (
            f", the logits by at most {number(full['logits_max_abs'])} "
            f"(the largest is {number(full.get('logits_scale'))})"
        )
    return text + "."


def _segmentation(manifest: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
    if not measured:
        return ["How texts are segmented was not measured."]
    names = {each.get("code"): each.get("name") for each in language_entries(manifest)}
    entries = {key: each if isinstance(each, Mapping) else {} for key, each in measured.items()}
    origins = dict.fromkeys(plain(each.get("source") or UNKNOWN) for each in entries.values())
    return [
        "How texts that had no part in choosing the vocabulary are segmented:",
        table(_HEAD, [_row(names.get(key) or key, each) for key, each in entries.items()]),
        f"Texts: {join([escape(origin) for origin in origins])}. Fertility is tokens per word; it and the "
        "unknown tokens are given before → after. A text that is segmented otherwise is still read, in "
        "other pieces than before.",
    ]


def _row(name: object, each: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        escape(name),
        count(each.get("texts")),
        part_and_share(each.get("identical"), each.get("texts")),
        part_and_share(each.get("kept_only_identical"), each.get("kept_only")),
        f"{ratio(each.get('fertility_before'))} → {ratio(each.get('fertility_after'))}",
        f"{count(each.get('unknown_before'))} → {count(each.get('unknown_after'))}",
    )
