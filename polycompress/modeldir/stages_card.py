"""The model card of a student that was distilled in stages, made from its manifest and from nothing else."""

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

_KINDS: Final[Mapping[str, str]] = {
    "distil": "the student learns of a teacher",
    "tune": "a teacher learns the task",
    "mlm": "the student is pretrained",
}


def render_stages_card(manifest: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    loader, task = _use(manifest)
    metadata = card_metadata(manifest, library="transformers", tags=["distillation"], task=task)
    sections = [
        _summary(manifest),
        _sizes(manifest),
        _stages(manifest),
        how_to_load(loader, items_of(manifest, "architectures")),
        how_it_was_made(manifest, {"Recipe": escape(manifest.get("recipe") or UNKNOWN)}),
        _limits(manifest),
    ]
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _use(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """The class that loads it, and the hub's name of what it does."""
    tuning = part_of(manifest, "finetuning")
    if tuning:
        kind = str(tuning.get("kind") or "")
        return str(tuning.get("loader") or "AutoModel"), kind.replace(
            "pair-", "text-"
        ) or "text-classification"
    if part_of(manifest, "training"):
        return "AutoModelForMaskedLM", "fill-mask"
    loader = part_of(manifest, "distillation").get("loader")
    if loader:
        return str(loader), "text-generation" if loader == "AutoModelForCausalLM" else "fill-mask"
    return "AutoModel", "feature-extraction"


def _summary(manifest: Mapping[str, Any]) -> str:
    layers = manifest.get("layers")
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    shown = join([count(layer) for layer in layers]) if isinstance(layers, list) else UNKNOWN
    text = (
        f"# {name}, distilled in {len(items_of(manifest, 'stages')) or UNKNOWN} stages for {_languages(manifest)}\n\n"
        f"A student of {len(layers) if isinstance(layers, list) else UNKNOWN} layers of **{name}**; they stand for the "
        f"teacher's layers {shown} (counted from 0)."
    )
    tuning = part_of(manifest, "finetuning")
    labels = items_of(tuning, "labels")
    if tuning:
        text += f" It has a head for {escape(tuning.get('name') or UNKNOWN)} ({code(tuning.get('task') or UNKNOWN)})"
        text += (": " + ", ".join(code(label) for label in labels) + ".") if labels else "."
    return text


def _sizes(manifest: Mapping[str, Any]) -> str:
    sizes = part_of(manifest, "sizes")
    before, after = part_of(sizes, "before"), part_of(sizes, "after")
    rows = [
        (label, count(before.get(key)), count(after.get(key)), share(after.get(key), before.get(key)))
        for label, key in (("Parameters", "parameters"), ("Vocabulary", "vocab"))
    ]
    return "## Size\n\n" + table(("", "teacher", "student", "share"), rows)


def _stages(manifest: Mapping[str, Any]) -> str:
    rows = []
    for stage in items_of(manifest, "stages"):
        if not isinstance(stage, Mapping):
            continue
        losses = part_of(stage, "losses")
        data = code(stage["task"]) if stage.get("task") else escape(stage.get("data") or UNKNOWN)
        rows.append(
            (
                escape(f"{stage.get('number')} {stage.get('name')}"),
                escape(_KINDS.get(str(stage.get("kind")), UNKNOWN)),
                data,
                escape(stage.get("teacher") or "none"),
                ", ".join(f"{code(name)} x {number(weight)}" for name, weight in losses.items()) or "its own",
                count(stage.get("steps")),
                number(stage["dev_score"]) if "dev_score" in stage else "",
            )
        )
    head = ("Stage", "what", "data", "teacher", "objectives", "steps", "score on development examples")
    return "## Stages\n\n" + table(head, rows)


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"It was made for {_languages(manifest)}. Measure before use, in every language that it is to serve.",
        "What the teacher has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)


def _languages(manifest: Mapping[str, Any]) -> str:
    return join(
        [escape(each.get("name") or each.get("code") or UNKNOWN) for each in language_entries(manifest)]
    )
