"""The model card of a model that was pretrained further, made from its manifest and from nothing else."""

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

_LOADERS: Final[Mapping[str, tuple[str, str]]] = {
    "masked": ("AutoModelForMaskedLM", "fill-mask"),
    "causal": ("AutoModelForCausalLM", "text-generation"),
}
_OBJECTIVES: Final[Mapping[str, str]] = {
    "masked": "masked language modelling",
    "causal": "causal language modelling",
}


def render_training_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a trained language model.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    sections = [
        _summary(manifest),
        _head(manifest),
        _text(manifest),
        _loading(manifest),
        _making(manifest),
        _limits(manifest),
    ]
    return front_matter(_metadata(manifest)) + "\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def _metadata(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return card_metadata(
        manifest,
        library="transformers",
        tags=["continued-pretraining"],
        task=_loader(manifest)[1],
    )


def _summary(manifest: Mapping[str, Any]) -> str:
    training = part_of(manifest, "training")
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    objective = _OBJECTIVES.get(str(training.get("kind")), f"an objective that is {UNKNOWN}")
    named = join(
        [escape(each.get("name") or each.get("code") or UNKNOWN) for each in language_entries(manifest)]
    )
    return (
        f"# {name}, pretrained further on {named}\n\n"
        f"This is **{name}**, trained for {count(training.get('steps'))} more steps by {objective} on "
        f"{count(training.get('tokens'))} tokens of {named}. Vocabulary and tokenizer are the source's."
    )


def _head(manifest: Mapping[str, Any]) -> str:
    names = items_of(manifest, "fresh_parameters")
    if not names:
        return ""
    tied = (
        "Its output table is tied to the input table; the"
        if part_of(manifest, "training").get("tied")
        else "The"
    )
    return (
        "## Its head is new\n\n"
        f"The source has no language-modelling head, so one was made and trained from random values. {tied} new "
        "parameters are "
        + ", ".join(code(name) for name in names)
        + ". After few steps such a head predicts "
        "poorly, however good the encoder under it is."
    )


def _text(manifest: Mapping[str, Any]) -> str:
    training = part_of(manifest, "training")
    tokens = part_of(training, "language_tokens")
    total = sum(value for value in tokens.values() if isinstance(value, int))
    names = {str(each.get("code")): each.get("name") for each in language_entries(manifest)}
    rows = [
        (escape(names.get(str(language)) or language), count(value), share(value, total))
        for language, value in tokens.items()
    ]
    text = "## What it was trained on\n\n" + table(("Language", "tokens", "share"), rows)
    if "held_out_loss" in training:
        text += f"\n\nLoss on held-out text after the last evaluation: {number(training['held_out_loss'])}."
    return text


def _loading(manifest: Mapping[str, Any]) -> str:
    return how_to_load(_loader(manifest)[0], items_of(manifest, "architectures"))


def _making(manifest: Mapping[str, Any]) -> str:
    training = part_of(manifest, "training")
    return how_it_was_made(
        manifest,
        {
            "Softmax": escape(training.get("loss") or UNKNOWN),
            "Precision": escape(training.get("precision") or UNKNOWN),
            "Device": escape(training.get("device") or UNKNOWN),
        },
    )


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = [
        "Training further on some languages can cost quality in the others, and whatever else the source was good at: "
        "measure before use.",
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)


def _loader(manifest: Mapping[str, Any]) -> tuple[str, str | None]:
    return _LOADERS.get(str(part_of(manifest, "training").get("kind")), ("AutoModel", None))
