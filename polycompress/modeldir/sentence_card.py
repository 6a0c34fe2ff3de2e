"""The model card of a directory in the layout of sentence-transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polycompress.modeldir.card_making import how_it_was_made, notes_of
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.figures import UNKNOWN, items_of, part_of
from polycompress.modeldir.markdown import block, code, escape, front_matter


def render_sentence_card(manifest: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    export = part_of(manifest, "export")
    metadata = card_metadata(
        manifest, library="sentence-transformers", tags=["sentence-transformers"], task="sentence-similarity"
    )
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    kept = export.get("pooling") is None
    pooling = (
        "how vectors are made of hidden states, and prompts if there are any, is as the source's own files say"
        if kept
        else f"one vector is made of a text's hidden states by pooling them ({code(export.get('pooling'))})"
    )
    limits = [
        *(
            []
            if kept
            else ["Nothing was trained: the vectors are those of the source, as good or bad as they are."]
        ),
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    sections = [
        f"# {name} for sentence-transformers\n\nThis is **{name}** in the layout of sentence-transformers: weights and "
        f"tokenizer are the source's, and {pooling}.",
        _loading(any(str(each).startswith("Factorised") for each in items_of(manifest, "architectures"))),
        how_it_was_made(manifest, {}),
        "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in limits),
    ]
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _loading(ours: bool) -> str:
    lines = [
        *(["import polycompress.auto  # lets the Auto classes know factorised models"] if ours else []),
        "from sentence_transformers import SentenceTransformer",
        "",
        'model = SentenceTransformer("path/to/this/directory")',
        'vectors = model.encode(["...", "..."])',
    ]
    return "## How to load it\n\n" + block("\n".join(lines), "python")
