"""Parts that the cards of trained models share: how to load one, how it was made, what was noted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from polycompress.modeldir.figures import UNKNOWN, items_of, parameters, part_of
from polycompress.modeldir.markdown import block, code, escape


def how_to_load(loader: str) -> str:
    """The section that shows how.

    Args:
        loader: Class of transformers.
    """
    example = [
        f"from transformers import {', '.join(sorted([loader, 'AutoTokenizer']))}",
        "",
        'directory = "path/to/this/directory"',
        "tokenizer = AutoTokenizer.from_pretrained(directory)",
        f"model = {loader}.from_pretrained(directory)",
    ]
    return "## How to load it\n\nAs any model, without polycompress:\n\n" + block(
        "\n".join(example), "python"
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


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
