"""The card of a tokenizer's directory: README.md in Markdown."""

from __future__ import annotations

from polycompress.modeldir.markdown import escape, front_matter, table
from polycompress.pipelines.tokenizers.result import TokenizerResult


def trained_card(result: TokenizerResult) -> str:
    """The card of a new tokenizer."""
    return _card(
        result,
        f"# A {result.kind} tokenizer of {result.size:,} tokens",
        "Trained by polycompress on the languages below. It belongs to no model yet.",
    )


def extended_card(result: TokenizerResult, source: str) -> str:
    """The card of a tokenizer with new pieces."""
    assert result.old_size is not None
    new = result.size - result.old_size
    return _card(
        result,
        f"# The tokenizer of {escape(source)} with {new:,} new pieces",
        f"Ids below {result.old_size:,} are those of the source, unchanged. The model needs rows for the new ones "
        f"({result.old_size:,} to {result.size - 1:,}) before it can use this tokenizer.",
    )


def _card(result: TokenizerResult, title: str, about: str) -> str:
    codes = sorted({each.language.code.partition("-")[0] for each in result.costs})
    parts = [front_matter({"language": codes, "tags": ["polycompress", "tokenizer"]}), title, about]
    rows = [
        [
            escape(each.language.name),
            "" if each.before is None else f"{each.before.fertility:.3f}",
            f"{each.after.fertility:.3f}",
            f"{each.after.words:,}",
        ]
        for each in result.costs
    ]
    parts += ["Tokens per word on held-out text:", table(["language", "before", "after", "words"], rows)]
    if result.changes:
        parts.append("Texts of other languages that are cut otherwise than before:")
        rows = [
            [
                escape(each.language.name),
                each.source,
                f"{100 * each.as_dict()['texts_changed']:.2f} %",
                f"{100 * each.as_dict()['words_changed']:.2f} %",
            ]
            for each in result.changes
        ]
        parts.append(table(["language", "of", "texts", "running words"], rows))
    if result.notes:
        parts.append("\n".join(f"- {escape(note)}" for note in result.notes))
    return "\n\n".join(parts) + "\n"
