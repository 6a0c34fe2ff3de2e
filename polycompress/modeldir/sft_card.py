"""The model card of a model with sparse differences added, made from its manifest and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polycompress.modeldir.card_making import how_it_was_made, how_to_load, notes_of
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.figures import UNKNOWN, count, items_of, part_of, share
from polycompress.modeldir.markdown import code, escape, front_matter, table

_LOADERS: Final[tuple[tuple[str, str], ...]] = (
    ("ForSequenceClassification", "AutoModelForSequenceClassification"),
    ("ForTokenClassification", "AutoModelForTokenClassification"),
    ("ForQuestionAnswering", "AutoModelForQuestionAnswering"),
    ("ForMaskedLM", "AutoModelForMaskedLM"),
    ("ForCausalLM", "AutoModelForCausalLM"),
)
"""How an architecture's name ends, and the class that loads it."""


def render_sft_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a model that sparse differences were added to.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    metadata = card_metadata(manifest, library="transformers", tags=["sparse-fine-tuning"], task=None)
    architectures = [str(each) for each in items_of(manifest, "architectures")]
    loader = next(
        (name for end, name in _LOADERS if any(each.endswith(end) for each in architectures)), "AutoModel"
    )
    sections = [
        _summary(manifest),
        _differences(manifest),
        how_to_load(loader, items_of(manifest, "architectures")),
        _making(manifest),
        _limits(manifest),
    ]
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _summary(manifest: Mapping[str, Any]) -> str:
    sparse, name = part_of(manifest, "sparse"), escape(part_of(manifest, "source").get("name") or UNKNOWN)
    total = sparse.get("base_parameters")
    return (
        f"# {name}, with sparse differences\n\n"
        f"This is **{name}** with {count(len(items_of(sparse, 'diffs')))} sparse difference(s) added: "
        f"{count(sparse.get('k'))} of its {count(total)} values ({share(sparse.get('k'), total)}) were changed, and "
        f"{count(len(items_of(sparse, 'dense')))} tensor(s) replaced or added whole. Every other weight, the "
        "vocabulary and the tokenizer are the source's, bit for bit."
    )


def _differences(manifest: Mapping[str, Any]) -> str:
    rows = []
    for each in items_of(part_of(manifest, "sparse"), "diffs"):
        diff = each if isinstance(each, Mapping) else {}
        languages = ", ".join(map(str, items_of(diff, "languages"))) or UNKNOWN
        rows.append(
            (
                escape(diff.get("file") or UNKNOWN),
                escape(diff.get("task") or UNKNOWN),
                escape(languages),
                count(diff.get("k")),
                code(str(diff.get("digest") or UNKNOWN)[:16]),
            )
        )
    return (
        "## What was added\n\n"
        "Values that meet at one place were added in float64 and rounded once, so that the order of the files does not "
        "matter.\n\n" + table(("File", "task", "languages", "values", "digest"), rows)
    )


def _making(manifest: Mapping[str, Any]) -> str:
    return how_it_was_made(manifest, {})


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = [
        "Adding differences trains nothing: what several of them do together was not measured. Measure before use.",
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)
