"""The model card of a student cut out of its teacher and not trained yet, made from its manifest and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polycompress.modeldir.card import loader_of
from polycompress.modeldir.card_making import how_it_was_made, how_to_load, notes_of, sizes
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.figures import UNKNOWN, count, items_of, part_of
from polycompress.modeldir.markdown import escape, front_matter, table


def render_student_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a student.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    metadata = card_metadata(
        manifest, library="transformers", tags=["layer-reduction"], task=loader_of(manifest)[1]
    )
    sections = [
        _summary(manifest),
        sizes(manifest, {"layers": "Layers", "parameters": "Parameters", "bytes": "Weights"}),
        _layers(manifest),
        how_to_load(loader_of(manifest)[0]),
        how_it_was_made(manifest, {}),
        _limits(manifest),
    ]
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _summary(manifest: Mapping[str, Any]) -> str:
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    student = part_of(manifest, "student")
    own, teacher = count(len(items_of(student, "layers"))), count(student.get("teacher_layers"))
    return (
        f"# {name}, {own} of its {teacher} layers\n\n"
        f"This is **{name}** with {own} of its {teacher} layers, as the start of a student to be distilled. "
        "Every weight is the source's, bit for bit, and nothing was trained: vocabulary and tokenizer are the source's."
    )


def _layers(manifest: Mapping[str, Any]) -> str:
    layers = items_of(part_of(manifest, "student"), "layers")
    rows = [(count(own), count(layer)) for own, layer in enumerate(layers)]
    return "## Where its layers come from\n\nLayers count from 0, from the bottom.\n\n" + table(
        ("Layer", "of the source"), rows
    )


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = [
        "A model with layers taken out is much worse than its source until it is trained: distil it before use.",
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)
