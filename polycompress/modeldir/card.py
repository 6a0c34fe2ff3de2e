"""The model card of a trimmed model, made from its manifest and from nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from polycompress.modeldir.card_certificate import certificate_section
from polycompress.modeldir.card_making import PARAMETERS, how_to_load, notes_of, sizes
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.figures import (
    UNKNOWN,
    count,
    items_of,
    join,
    language_entries,
    part_of,
    size,
)
from polycompress.modeldir.markdown import block, code, escape, front_matter, table

_HEADS: Final[Mapping[str, tuple[str, str]]] = {
    "MaskedLM": ("AutoModelForMaskedLM", "fill-mask"),
    "CausalLM": ("AutoModelForCausalLM", "text-generation"),
    "LMHeadModel": ("AutoModelForCausalLM", "text-generation"),
    "ConditionalGeneration": ("AutoModelForSeq2SeqLM", "text2text-generation"),
    "SequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
    "TokenClassification": ("AutoModelForTokenClassification", "token-classification"),
    "QuestionAnswering": ("AutoModelForQuestionAnswering", "question-answering"),
}
"""How an architecture's name ends: the class that loads it, and the hub's word for what it does."""


def render_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a trimmed model.

    Args:
        manifest: The facts, as `write_manifest` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    sections = [
        _summary(manifest),
        _sizes(manifest),
        certificate_section(manifest),
        _loading(manifest),
        _making(manifest),
        _not_copied(manifest),
        _limits(manifest),
    ]
    return front_matter(_metadata(manifest)) + "\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def _metadata(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return card_metadata(
        manifest,
        library="sentence-transformers" if _has_modules(manifest) else "transformers",
        tags=["vocabulary-trimming"],
        task="sentence-similarity" if _has_modules(manifest) else loader_of(manifest)[1],
    )


def _summary(manifest: Mapping[str, Any]) -> str:
    before, after = (part_of(part_of(manifest, "sizes"), when) for when in ("before", "after"))
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    named = _language_names(manifest)
    return (
        f"# {name}, trimmed to {named}\n\n"
        f"This is **{name}** with its vocabulary cut from {count(before.get('vocab'))} to "
        f"{count(after.get('vocab'))} entries, chosen for {named}. Its weights take "
        f"{size(after.get('bytes'))} instead of {size(before.get('bytes'))}. Nothing was trained and "
        "nothing approximated: every weight that is left is the source's, bit for bit."
    )


def _sizes(manifest: Mapping[str, Any]) -> str:
    text = sizes(manifest, {"vocab": "Vocabulary entries", **PARAMETERS})
    padded = manifest.get("pad_rows")
    if isinstance(padded, int) and padded > 0:
        text += f"\n\nThe tables have {count(padded)} further rows, added as padding, which no token reaches."
    return text


def _loading(manifest: Mapping[str, Any]) -> str:
    text = how_to_load(loader_of(manifest)[0], items_of(part_of(manifest, "source"), "architectures"))
    if _has_modules(manifest):
        example = [
            "from sentence_transformers import SentenceTransformer",
            "",
            'model = SentenceTransformer("path/to/this/directory")',
        ]
        text += "\n\nor as a sentence encoder, with the pooling of the source:\n\n"
        text += block("\n".join(example), "python")
    return text


def _making(manifest: Mapping[str, Any]) -> str:
    source, tool = part_of(manifest, "source"), part_of(manifest, "tool")
    command = [str(word) for word in items_of(manifest, "command")]
    made = escape(f"{tool.get('name') or UNKNOWN} {tool.get('version') or UNKNOWN}")
    seed = manifest.get("seed")
    facts = {
        "Tool": made,
        "Date": escape(manifest.get("created") or UNKNOWN),
        "Source": escape(source.get("spec") or source.get("name") or UNKNOWN),
        "Revision of the source": code(source["revision"]) if source.get("revision") else UNKNOWN,
        "Licence of the source": escape(source.get("license") or UNKNOWN),
        "Model type": escape(source.get("model_type") or UNKNOWN),
        "Seed": "none, nothing is left to chance" if seed is None else escape(seed),
    }
    parts = [
        "## How it was made",
        block(shlex.join(command), "sh") if command else f"Command: {UNKNOWN}",
        "\n".join(f"- {label}: {value}" for label, value in facts.items()),
    ]
    if rules := part_of(manifest, "kept_by"):
        parts += [
            "Which rules kept the entries:",
            table(("Rule", "entries"), [(escape(rule), count(total)) for rule, total in rules.items()]),
        ]
    if files := part_of(source, "files"):
        parts += [
            "Files of the source that were read, and their SHA-256:",
            "\n".join(f"- {code(name)}: {code(digest)}" for name, digest in files.items()),
        ]
    return "\n\n".join([*parts, "`polycompress.json` has the full record, with the old id of each new one."])


def _not_copied(manifest: Mapping[str, Any]) -> str:
    names = items_of(manifest, "not_copied")
    if not names:
        return ""
    return (
        "## What was left behind\n\n"
        "These tokenizer files of the source describe the old vocabulary and would contradict "
        "`tokenizer.json`, "
        "which holds all that a tokenizer needs:\n\n" + "\n".join(f"- {code(name)}" for name in names)
    )


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"Text in languages other than {_language_names(manifest)} is cut into more and shorter tokens than "
        "by the source, or into unknown ones; expect worse results there.",
        "Trimming changes neither what the source has learnt nor its biases: its own card applies as well.",
        *notes_of(manifest),
    ]
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)


def _language_names(manifest: Mapping[str, Any]) -> str:
    return join(
        [escape(each.get("name") or each.get("code") or UNKNOWN) for each in language_entries(manifest)]
    )


def _has_modules(manifest: Mapping[str, Any]) -> bool:
    """Whether the model is a sentence-transformers directory."""
    return "modules.json" in (*items_of(manifest, "copied"), *part_of(part_of(manifest, "source"), "files"))


def loader_of(manifest: Mapping[str, Any]) -> tuple[str, str | None]:
    """The Auto class that loads a model, and the hub's word for its task, if it has a head."""
    for architecture in items_of(part_of(manifest, "source"), "architectures"):
        for ending, (loader, task) in _HEADS.items():
            if str(architecture).endswith(ending):
                return loader, task
    return "AutoModel", None
