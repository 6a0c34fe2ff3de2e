"""The cards of a model whose table was factorised, and of one whose table was made plain again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polycompress.modeldir.card_making import (
    PARAMETERS,
    how_it_was_made,
    how_to_load,
    how_to_load_factorised,
    notes_of,
    sizes,
)
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.figures import UNKNOWN, count, items_of, number, part_of
from polycompress.modeldir.markdown import code, escape, front_matter, table

_LOADERS: Final[tuple[tuple[str, str], ...]] = (
    ("ForSequenceClassification", "AutoModelForSequenceClassification"),
    ("ForTokenClassification", "AutoModelForTokenClassification"),
    ("ForQuestionAnswering", "AutoModelForQuestionAnswering"),
    ("ForMaskedLM", "AutoModelForMaskedLM"),
    ("ForCausalLM", "AutoModelForCausalLM"),
    ("LMHeadModel", "AutoModelForCausalLM"),
    ("ForConditionalGeneration", "AutoModelForSeq2SeqLM"),
    ("ForPreTraining", "AutoModelForPreTraining"),
)
"""How an architecture's name ends, and the class that loads it."""


def render_factorised_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a model with a factorised table.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    facts = part_of(manifest, "factorisation")
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    rank, width = facts.get("rank"), facts.get("width")
    summary = (
        f"# {name}, its table factorised at rank {count(rank)}\n\n"
        f"This is **{name}** with its table of {count(facts.get('rows'))} tokens factorised: each token has "
        f"{count(rank)} coordinates over {count(rank)} primitive embeddings of width {count(width)} that all tokens "
        "share. Every other weight, the vocabulary and the tokenizer are the source's, bit for bit; nothing was "
        "trained."
    )
    lines = [
        "What the factors miss of the table was not made up for by training. Measure before use, in every language "
        "that it is to serve.",
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    split = {"paper": "all in the primitive embeddings", "balanced": "the same in both factors"}
    more = {
        "Rank": count(rank),
        "Singular values": escape(split.get(str(facts.get("split")), UNKNOWN)),
        "Table": code(facts.get("table") or UNKNOWN),
    }
    return _joined(
        manifest,
        ["ofa", "factorised-embeddings"],
        [
            summary,
            sizes(manifest, PARAMETERS),
            _errors(facts),
            how_to_load_factorised(loader_of(manifest)),
            how_it_was_made(manifest, more),
            _limits(lines),
        ],
    )


def render_dense_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a model whose table was made plain again.

    Args:
        manifest: The facts. Whatever is missing is called unknown.
    """
    facts = part_of(manifest, "factorisation")
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    summary = (
        f"# {name}, its table written out\n\n"
        f"This is **{name}** with a plain table, the product of its factors of rank {count(facts.get('rank'))}, so "
        "that transformers loads it without polycompress. Every other weight, the vocabulary and the tokenizer are "
        "the source's, bit for bit; nothing was trained."
    )
    lines = [
        f"The table still has rank {count(facts.get('rank'))}: what factorising lost does not come back.",
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    sections = [
        summary,
        sizes(manifest, PARAMETERS),
        how_to_load(loader_of(manifest)),
        how_it_was_made(manifest, {"Table": code(facts.get("table") or UNKNOWN)}),
        _limits(lines),
    ]
    return _joined(manifest, ["ofa"], sections)


def _joined(manifest: Mapping[str, Any], tags: list[str], sections: list[str]) -> str:
    metadata = card_metadata(manifest, library="transformers", tags=tags, task=None)
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _errors(facts: Mapping[str, Any]) -> str:
    rows = [("all tokens alike", *_error(facts))]
    for each, found in part_of(facts, "languages").items():
        rows.append((escape(each), *_error(found if isinstance(found, Mapping) else {})))
    return (
        "## What the factors miss of the table\n\n"
        "Relative errors are square roots: the share of the table's squared length that is lost. In a language's row "
        "tokens count by how often it uses them.\n\n"
        + table(("Tokens", "relative error", "mean cosine"), rows)
    )


def _error(found: Mapping[str, Any]) -> tuple[str, str]:
    return number(found.get("relative_error")), number(found.get("mean_cosine"))


def _limits(lines: list[str]) -> str:
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)


def loader_of(manifest: Mapping[str, Any]) -> str:
    """Class of transformers that loads a model, by the architectures that its manifest names."""
    names = [str(each) for each in items_of(manifest, "architectures")]
    return next((auto for end, auto in _LOADERS if any(each.endswith(end) for each in names)), "AutoModel")
