"""The cards of a model with experts of language families, and of one family's model taken out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from polycompress.modeldir.card_making import (
    how_it_was_made,
    how_to_load,
    how_to_load_experts,
    notes_of,
    sizes,
)
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.factorised_card import loader_of
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
from polycompress.modeldir.markdown import escape, front_matter, table

_SIZES: Final = {"parameters": "Parameters", "active_parameters": "that one token meets", "bytes": "Weights"}


def render_upcycled_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a plain model that was given experts.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    facts = part_of(manifest, "experts")
    moe = part_of(facts, "moe")
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    noise = facts.get("noise")
    copies = (
        "bit for bit"
        if noise == 0
        else f"with normal noise of {number(noise)} times each tensor's standard deviation"
    )
    summary = (
        f"# {name}, with {count(moe.get('experts'))} experts of language families\n\n"
        f"This is **{name}** with {count(moe.get('experts'))} experts in place of the feed-forward network of "
        f"{_layers(moe)}; each begins as a copy of that network, {copies}. Nothing was trained: routers are drawn at "
        "random. Every other weight, the vocabulary and the tokenizer are the source's, bit for bit."
    )
    lines = [
        "Its experts do not know their families before it is trained; until then it does what its source does, at a "
        "higher cost.",
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    return _expert_card(manifest, summary, lines)


def render_merged_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a model whose experts are several models' networks.

    Args:
        manifest: The facts. Whatever is missing is called unknown.
    """
    facts = part_of(manifest, "experts")
    moe = part_of(facts, "moe")
    shared = facts.get("shared")
    how = "the mean of theirs" if shared == "mean" else f"that of {escape(shared or UNKNOWN)} alone"
    summary = (
        f"# {count(moe.get('experts'))} models merged as experts of language families\n\n"
        f"Each expert in {_layers(moe)} is the feed-forward network of one model, bit for bit. Everything else is "
        f"{how}. Nothing was trained: routers are drawn at random."
    )
    rows = []
    for each in items_of(manifest, "sources"):
        model = each if isinstance(each, Mapping) else {}
        rows.append(
            (
                escape(model.get("name") or UNKNOWN),
                escape(model.get("family") or UNKNOWN),
                escape(", ".join(map(str, items_of(model, "languages"))) or UNKNOWN),
            )
        )
    lines = [
        "Its routers have learnt nothing and its shared weights never worked together: train it before use.",
        "What the models have learnt, their biases among it, is still there: their own cards apply as well.",
        *notes_of(manifest),
    ]
    return _expert_card(
        manifest, summary, lines, "## What it is made of\n\n" + table(("Model", "family", "languages"), rows)
    )


def render_extracted_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of one family's model, taken out of one with experts.

    Args:
        manifest: The facts. Whatever is missing is called unknown.
    """
    facts = part_of(manifest, "extraction")
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    family = escape(facts.get("family") or UNKNOWN)
    languages = join(
        [escape(each.get("name") or each.get("code") or UNKNOWN) for each in language_entries(manifest)]
    )
    summary = (
        f"# {name}, its {family} expert\n\n"
        f"This is **{name}** with expert {count(facts.get('expert'))} as the only feed-forward network of "
        f"{_layers(facts)}: a plain model for {languages} that computes what the source does where every token goes to "
        "that expert alone. Every weight is the source's, bit for bit; nothing was trained."
    )
    lines = [
        "The source gave a token several experts' outputs, weighted; this model has one. Measure before use.",
        f"In languages other than {languages} expect worse results than the source's.",
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    more = {"Family": family, "Expert": count(facts.get("expert"))}
    sections = [
        summary,
        sizes(manifest, _SIZES, "of it"),
        how_to_load(loader_of(manifest)),
        how_it_was_made(manifest, more),
        _limits(lines),
    ]
    return _joined(manifest, ["language-family"], sections)


def _expert_card(manifest: Mapping[str, Any], summary: str, lines: Sequence[str], more: str = "") -> str:
    facts = part_of(manifest, "experts")
    moe = part_of(facts, "moe")
    sections = [
        summary,
        sizes(manifest, _SIZES, "of it"),
        _families(facts, moe),
        more,
        how_to_load_experts(loader_of(manifest)),
        how_it_was_made(manifest, {"Preset of families": escape(moe.get("preset") or "one of its own")}),
        _limits(lines),
    ]
    return _joined(manifest, ["mixture-of-experts", "language-family"], [each for each in sections if each])


def _families(facts: Mapping[str, Any], moe: Mapping[str, Any]) -> str:
    rows = []
    for each in items_of(part_of(facts, "plan"), "experts"):
        expert = each if isinstance(each, Mapping) else {}
        rows.append(
            (
                count(expert.get("expert")),
                escape(", ".join(map(str, items_of(expert, "families"))) or UNKNOWN),
                escape(", ".join(map(str, items_of(expert, "languages"))) or UNKNOWN),
                share(expert.get("share"), 1),
            )
        )
    scaled = "scaled to sum to 1" if moe.get("normalise") is True else "those of the softmax over all"
    known = (
        "; where the language is given, one of its family's is always among them"
        if moe.get("routing") == "forced"
        else ""
    )
    return (
        "## Its experts\n\n"
        f"A token goes to {count(moe.get('top_k'))} of {count(moe.get('experts'))} experts in each of {_layers(moe)}, "
        f"chosen by a router{known}. Their weights are {scaled}. Tokens are the shares that the plan reckoned with.\n\n"
        + table(("Expert", "families", "languages", "tokens"), rows)
    )


def _layers(facts: Mapping[str, Any]) -> str:
    layers = items_of(facts, "layers")
    shown = join([count(layer) for layer in layers])
    return f"layer{'' if len(layers) == 1 else 's'} {shown} (counted from 0)"


def _limits(lines: Sequence[str]) -> str:
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)


def _joined(manifest: Mapping[str, Any], tags: list[str], sections: Sequence[str]) -> str:
    metadata = card_metadata(manifest, library="transformers", tags=tags, task=None)
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"
