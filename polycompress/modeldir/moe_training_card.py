"""The card of a model with experts of language families that was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polycompress.modeldir.card_making import how_to_load_experts, notes_of
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.distilling_card import making, text_seen
from polycompress.modeldir.figures import UNKNOWN, count, items_of, join, number, parameters, part_of, share
from polycompress.modeldir.markdown import code, escape, front_matter, table


def render_trained_experts_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a model with experts that learnt of a teacher.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    metadata = card_metadata(
        manifest,
        library="transformers",
        tags=["mixture-of-experts", "language-family", "distillation"],
        task=None,
    )
    sections = [
        _summary(manifest),
        _sizes(manifest),
        _experts(manifest),
        text_seen(manifest),
        *_shares(manifest),
        how_to_load_experts(str(part_of(manifest, "distillation").get("loader") or "AutoModel")),
        making(manifest),
        _limits(manifest),
    ]
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _moe(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    return part_of(part_of(manifest, "experts"), "moe")


def _summary(manifest: Mapping[str, Any]) -> str:
    start, moe = part_of(manifest, "start"), _moe(manifest)
    layers = [count(layer) for layer in items_of(moe, "layers")]
    own = f"; {escape(start['left_out'])}" if "left_out" in start else ""
    return (
        f"# {escape(start.get('name') or UNKNOWN)}, its experts trained\n\n"
        f"A model with {count(moe.get('experts'))} experts of language families in layer"
        f"{'' if len(layers) == 1 else 's'} {join(layers)} (counted from 0), of which a router chooses "
        f"{count(moe.get('top_k'))} for each token. It learnt to do what "
        f"**{escape(part_of(manifest, 'source').get('name') or UNKNOWN)}** does with text of all their languages{own}."
    )


def _sizes(manifest: Mapping[str, Any]) -> str:
    sizes = part_of(manifest, "sizes")
    before, after = part_of(sizes, "before"), part_of(sizes, "after")
    met = after.get("active_parameters")
    rows = [
        ("Parameters", parameters(before.get("parameters")), parameters(after.get("parameters"))),
        ("that one token meets", parameters(before.get("parameters")), parameters(met)),
        ("Vocabulary", count(before.get("vocab")), count(after.get("vocab"))),
    ]
    return "## Size\n\n" + table(("", "teacher", "this model"), rows)


def _experts(manifest: Mapping[str, Any]) -> str:
    moe = _moe(manifest)
    languages = part_of(moe, "languages")
    rows = [
        (
            escape(family),
            escape(", ".join(map(str, experts)) if isinstance(experts, list) else UNKNOWN),
            ", ".join(code(language) for language, own in languages.items() if own == family),
        )
        for family, experts in part_of(moe, "families").items()
    ]
    return "## Its experts\n\n" + table(("Family", "experts", "languages"), rows)


def _shares(manifest: Mapping[str, Any]) -> list[str]:
    """The last shares of the languages and what they come from, where they were reweighed."""
    facts = part_of(manifest, "distillation")
    shares, ratios = part_of(facts, "language_shares"), part_of(facts, "language_ratios")
    if not ratios:
        return []
    rows = [
        (code(language), share(value, 1), number(ratios.get(language))) for language, value in shares.items()
    ]
    return [
        "Languages that lagged behind the teacher got more of the run. At its end:\n\n"
        + table(("Language", "share of tokens", "ratio to the teacher, or to the start"), rows)
    ]


def _limits(manifest: Mapping[str, Any]) -> str:
    routing = part_of(part_of(manifest, "config"), "routing")
    told = (
        "While it was trained a token had an expert of its family among its own; at inference the router alone "
        "chooses, unless config.json says `forced` and languages are given. `polycompress moe routes` shows what it "
        "does."
        if routing.get("routing") == "forced"
        else "`polycompress moe routes` shows which experts the tokens of each language reach."
    )
    lines = [
        told,
        "It has learnt no task yet. What the teacher has learnt, its biases among it, is still there: its own card "
        "applies as well.",
        *notes_of(manifest),
    ]
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)
