"""Parts that several cards share: sizes, how to load a model, how it was made, what was noted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from polycompress.modeldir.figures import (
    UNKNOWN,
    count,
    items_of,
    parameters,
    part_of,
    share,
    size_exact,
)
from polycompress.modeldir.markdown import block, code, escape, table

PARAMETERS: Final[Mapping[str, str]] = {
    "parameters": "Parameters",
    "embedding_parameters": "of them embeddings",
    "bytes": "Weights",
}
"""Sizes that most cards show, and what they are called there."""
_SHOWN: Final = {
    "parameters": parameters,
    "active_parameters": parameters,
    "embedding_parameters": parameters,
    "bytes": size_exact,
}


def sizes(manifest: Mapping[str, Any], shown: Mapping[str, str], left: str = "left") -> str:
    """The section that compares a model's sizes with its source's.

    Args:
        manifest: The facts.
        shown: Keys of its sizes, and what they are called.
        left: Over the column that says how much of it there is.
    """
    both = part_of(manifest, "sizes")
    before, after = part_of(both, "before"), part_of(both, "after")
    rows = [
        (
            label,
            *(_SHOWN.get(key, count)(each.get(key)) for each in (before, after)),
            share(after.get(key), before.get(key)),
        )
        for key, label in shown.items()
    ]
    return "## Sizes\n\n" + table(("", "before", "after", left), rows)


def how_to_load(loader: str, architectures: Sequence[object] = ()) -> str:
    """The section that shows how.

    Args:
        loader: Class of transformers.
        architectures: Names of the model's own class; one of ours needs polycompress.
    """
    if any(str(name).startswith("Factorised") for name in architectures):
        return how_to_load_factorised(loader)
    if any(str(name).startswith("Moe") for name in architectures):
        return how_to_load_experts(loader)
    return "## How to load it\n\nAs any model, without polycompress:\n\n" + _loading(loader)


def how_to_load_factorised(loader: str) -> str:
    """The section that shows how, of a model with a factorised table.

    Args:
        loader: Class of transformers.
    """
    return (
        "## How to load it\n\nWith polycompress (extra `train`) and transformers 5:\n\n"
        + _loading(loader, "import polycompress.auto  # lets the Auto classes know factorised models")
        + "\n\nFor plain transformers, write the table out:\n\n"
        + block("polycompress ofa export path/to/this/directory --dense --out plain", "sh")
    )


def how_to_load_experts(loader: str) -> str:
    """The section that shows how, of a model with experts of language families.

    Args:
        loader: Class of transformers.
    """
    return (
        "## How to load it\n\nWith polycompress (extra `train`) and transformers 5:\n\n"
        + _loading(loader, "import polycompress.auto  # lets the Auto classes know models with experts")
        + "\n\nFor plain transformers, take one family's model out of it:\n\n"
        + block("polycompress moe extract path/to/this/directory --family NAME --out plain", "sh")
    )


def how_it_was_made(manifest: Mapping[str, Any], more: Mapping[str, str]) -> str:
    """The section with the command, the facts and the source's files.

    Args:
        manifest: The facts.
        more: Further ones, ready for Markdown.
    """
    source, tool = part_of(manifest, "source"), part_of(manifest, "tool")
    command = [str(word) for word in items_of(manifest, "command")]
    facts = {
        "Tool": escape(f"{tool.get('name') or UNKNOWN} {tool.get('version') or UNKNOWN}"),
        "Date": escape(manifest.get("created") or UNKNOWN),
        "Source": escape(source.get("spec") or source.get("name") or UNKNOWN),
        "Revision of the source": code(source["revision"]) if source.get("revision") else UNKNOWN,
        "Licence of the source": escape(source.get("license") or UNKNOWN),
        "Model type": escape(source.get("model_type") or UNKNOWN),
        "Parameters": parameters(part_of(part_of(manifest, "sizes"), "after").get("parameters")),
        "Seed": escape(manifest.get("seed") if manifest.get("seed") is not None else UNKNOWN),
        **more,
    }
    parts = [
        "## How it was made",
        block(shlex.join(command), "sh") if command else f"Command: {UNKNOWN}",
        "\n".join(f"- {label}: {value}" for label, value in facts.items()),
    ]
    if files := part_of(source, "files"):
        parts += [
            "Files of the source that were read, and their SHA-256:",
            "\n".join(f"- {code(name)}: {code(digest)}" for name, digest in files.items()),
        ]
    return "\n\n".join([*parts, "`polycompress.json` has the full record, with every setting."])


def notes_of(manifest: Mapping[str, Any]) -> list[str]:
    """The manifest's notes as sentences."""
    return [_sentence(escape(note)) for note in items_of(manifest, "notes")]


def _loading(loader: str, *first: str) -> str:
    example = [
        *first,
        f"from transformers import {', '.join(sorted([loader, 'AutoTokenizer']))}",
        "",
        'directory = "path/to/this/directory"',
        "tokenizer = AutoTokenizer.from_pretrained(directory)",
        f"model = {loader}.from_pretrained(directory)",
    ]
    return block("\n".join(example), "python")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
