"""The model card of a student, made from its manifest and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polycompress.modeldir.card_making import how_it_was_made, how_to_load, notes_of
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.figures import (
    UNKNOWN,
    count,
    items_of,
    join,
    language_entries,
    number,
    part_of,
    share,
)
from polycompress.modeldir.markdown import code, escape, front_matter, table

_NO_HEAD: Final = "feature-extraction"
_TASKS: Final = {"AutoModelForMaskedLM": "fill-mask", "AutoModelForCausalLM": "text-generation"}
"""What the hub calls that which a head does."""


def render_distilling_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a distilled model.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    loader = str(part_of(manifest, "distillation").get("loader") or "AutoModel")
    metadata = card_metadata(
        manifest,
        library="transformers",
        tags=["distillation", "bilingual"],
        task=_TASKS.get(loader, _NO_HEAD),
    )
    sections = [
        _summary(manifest),
        _sizes(manifest),
        text_seen(manifest),
        how_to_load(loader, items_of(manifest, "architectures")),
        making(manifest),
        _limits(manifest),
    ]
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _summary(manifest: Mapping[str, Any]) -> str:
    teacher = part_of(manifest, "source")
    layers = manifest.get("layers")
    name = escape(teacher.get("name") or UNKNOWN)
    head = f"# {name}, distilled for {_languages(manifest)}\n\n"
    if start := part_of(manifest, "start"):
        own = f"; {escape(start['left_out'])}" if "left_out" in start else ""
        return (
            f"{head}A student that learnt to do what **{name}** does with this text. It began as "
            f"**{escape(start.get('name') or UNKNOWN)}**, a model that was there already{own}."
        )
    return (
        f"{head}A student of {len(layers) if isinstance(layers, list) else UNKNOWN} layers that learnt to do what "
        f"**{name}** does with this text: its vocabulary is cut to these languages, its layers begin as copies of the "
        "teacher's layers "
        f"{join([count(layer) for layer in layers]) if isinstance(layers, list) else UNKNOWN} (counted from 0)."
    )


def _sizes(manifest: Mapping[str, Any]) -> str:
    sizes = part_of(manifest, "sizes")
    before, after = part_of(sizes, "before"), part_of(sizes, "after")
    rows = [
        (label, count(before.get(key)), count(after.get(key)), share(after.get(key), before.get(key)))
        for label, key in (("Parameters", "parameters"), ("Vocabulary", "vocab"))
    ]
    return "## Size\n\n" + table(("", "teacher", "student", "share"), rows)


def text_seen(manifest: Mapping[str, Any]) -> str:
    """The section on the text."""
    facts = part_of(manifest, "distillation")
    tokens = part_of(facts, "language_tokens")
    rows = [(code(language), count(amount)) for language, amount in tokens.items()]
    return "## What it learnt from\n\n" + table(("Language", "tokens seen"), rows)


def making(manifest: Mapping[str, Any]) -> str:
    """The section on the run."""
    facts = part_of(manifest, "distillation")
    losses = part_of(facts, "losses")
    return how_it_was_made(
        manifest,
        {
            "Steps": count(facts.get("steps")),
            "Objectives": ", ".join(f"{code(name)} x {number(weight)}" for name, weight in losses.items())
            or UNKNOWN,
            "Precision": escape(facts.get("precision") or UNKNOWN),
            "Device": escape(facts.get("device") or UNKNOWN),
        },
    )


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"It was trained on {_languages(manifest)} alone: what it knew of other languages may have suffered."
        if part_of(manifest, "start")
        else f"It was made for {_languages(manifest)} and for nothing else: text in other languages falls to pieces.",
        "It has learnt no task yet. What the teacher has learnt, its biases among it, is still there: its own card "
        "applies as well.",
        *notes_of(manifest),
    ]
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)


def _languages(manifest: Mapping[str, Any]) -> str:
    return join(
        [escape(each.get("name") or each.get("code") or UNKNOWN) for each in language_entries(manifest)]
    )
