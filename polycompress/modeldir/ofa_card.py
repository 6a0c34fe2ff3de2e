"""The card of a model with new tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polycompress.modeldir.card_making import (
    PARAMETERS,
    how_it_was_made,
    how_to_load,
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
    ratio,
    share,
)
from polycompress.modeldir.markdown import code, escape, front_matter, table

RULES: Final[Mapping[str, str]] = {
    "kept": "kept: the source's own token, at its id",
    "role": "copied: a special token of the same role",
    "exact": "copied: the source has the same token",
    "folded": "copied: the source's differs in upper and lower case only",
    "unspaced": "copied: the source's differs in a leading space only",
    "averaged": "weighted average of similar source tokens",
    "pieces": "mean of the pieces that the source cuts it into",
    "sampled": "drawn at random: nothing is known of it",
}
"""Rule -> what it does, in words."""


def render_ofa_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a model with new tokens.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    facts, factors = part_of(manifest, "ofa"), part_of(manifest, "factorisation")
    tags = ["ofa", *(["factorised-embeddings"] if factors else [])]
    metadata = card_metadata(manifest, library="transformers", tags=tags, task=None)
    sections = [
        _summary(manifest, facts, factors),
        sizes(manifest, {"vocab": "Tokens", **PARAMETERS}, "of it"),
        _rules(facts),
        *_segmentation(facts),
        *_errors(factors),
        _loading(manifest, factors),
        how_it_was_made(manifest, _more(facts, factors)),
        _limits(manifest, factors),
    ]
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _summary(manifest: Mapping[str, Any], facts: Mapping[str, Any], factors: Mapping[str, Any]) -> str:
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    tokenizer = part_of(facts, "tokenizer")
    names = join([escape(each.get("name") or UNKNOWN) for each in language_entries(manifest)])
    whose = (
        f"its own tokenizer extended for {names}"
        if tokenizer.get("extended")
        else f"the tokenizer {escape(tokenizer.get('name') or UNKNOWN)}"
    )
    rank = f", and its table factorised at rank {count(factors.get('rank'))}" if factors else ""
    return (
        f"# {name} with other tokens\n\n"
        f"This is **{name}** with {whose}: {count(facts.get('tokens'))} tokens{rank}. Rows of tokens that the source "
        "has are copied, rows of the others are made of the source's; nothing was trained. Every other weight is the "
        "source's, bit for bit."
    )


def _rules(facts: Mapping[str, Any]) -> str:
    counts, languages = part_of(facts, "rules"), part_of(facts, "languages")
    present = [rule for rule in RULES if counts.get(rule)]
    parts = [
        "## What each token's row is made of",
        table(
            ("Row", "tokens", "of all"),
            [
                (RULES[rule], count(counts[rule]), share(counts[rule], facts.get("tokens")))
                for rule in present
            ],
        ),
    ]
    if languages:
        own = [(each, found if isinstance(found, Mapping) else {}) for each, found in languages.items()]
        parts += [
            "By the languages whose text or words hold the tokens; many languages may hold one token.",
            table(
                ("Language", *present),
                [(escape(each), *(count(found.get(rule, 0)) for rule in present)) for each, found in own],
            ),
        ]
    return "\n\n".join(parts)


def _segmentation(facts: Mapping[str, Any]) -> list[str]:
    costs = [
        (
            escape(each.get("language") or UNKNOWN),
            ratio(part_of(each, "before").get("fertility")),
            ratio(part_of(each, "after").get("fertility")),
        )
        for each in items_of(facts, "costs")
        if isinstance(each, Mapping)
    ]
    changes = [
        (
            escape(each.get("language") or UNKNOWN),
            escape(each.get("source") or UNKNOWN),
            share(each.get("texts_changed"), 1),
            share(each.get("words_changed"), 1),
        )
        for each in items_of(facts, "changes")
        if isinstance(each, Mapping)
    ]
    parts = []
    if costs:
        parts.append(
            "## Tokens per word\n\nOn text that no piece was found in or chosen by.\n\n"
            + table(("Language", "before", "after"), costs)
        )
    if changes:
        parts.append(
            "## What other languages notice\n\nThe share of texts and of running words that are cut otherwise than "
            "before, because a new piece stands in them.\n\n"
            + table(("Language", "measured on", "texts", "words"), changes)
        )
    return parts


def _errors(factors: Mapping[str, Any]) -> list[str]:
    if not factors:
        return []
    rows = [("all tokens alike", factors), *part_of(factors, "languages").items()]
    return [
        "## What the factors miss of the source's table\n\n"
        "Relative errors are square roots: the share of the table's squared length that is lost. In a language's row "
        "tokens count by how often its words hold them.\n\n"
        + table(
            ("Tokens", "relative error", "mean cosine"),
            [
                (escape(name), number(found.get("relative_error")), number(found.get("mean_cosine")))
                for name, found in rows
                if isinstance(found, Mapping)
            ],
        )
    ]


def _loading(manifest: Mapping[str, Any], factors: Mapping[str, Any]) -> str:
    return how_to_load(
        loader_of(manifest), ["Factorised"] if factors else items_of(manifest, "architectures")
    )


def _more(facts: Mapping[str, Any], factors: Mapping[str, Any]) -> dict[str, str]:
    tokenizer, vectors = part_of(facts, "tokenizer"), part_of(facts, "vectors")
    more = {
        "Initialisation": escape(facts.get("init") or UNKNOWN),
        "Described in": escape(facts.get("paper") or "no paper"),
        "Tokenizer": f"{escape(tokenizer.get('type') or UNKNOWN)}, {code(tokenizer.get('sha256') or UNKNOWN)}",
    }
    if vectors:
        words = ", ".join(f"{escape(each)} {count(n)}" for each, n in part_of(vectors, "words").items())
        more["Word vectors"] = f"{count(vectors.get('width'))} wide; words: {words}"
    if factors:
        more["Rank"] = count(factors.get("rank"))
        more["Split"] = escape(factors.get("split") or UNKNOWN)
    return more


def _limits(manifest: Mapping[str, Any], factors: Mapping[str, Any]) -> str:
    lines = [
        "Rows that were made are a start for training and no more than that. Measure before use, in every language "
        "that the model is to serve, those of the source among them.",
        *(["What the factors miss of the table was not made up for by training."] if factors else []),
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)
