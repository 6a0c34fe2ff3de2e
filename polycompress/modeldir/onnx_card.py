"""The model card of an exported graph: how it is run, how it compares with its source, what eight bits changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from polycompress.modeldir.card_making import how_it_was_made, notes_of, sizes
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.figures import UNKNOWN, count, items_of, number, part_of, share, size
from polycompress.modeldir.markdown import block, code, escape, front_matter, table

_SIZES: Final = {"parameters": "Parameters", "bytes": "Weights, graph"}
_HUB_TASKS: Final[tuple[tuple[str, str], ...]] = (
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForMaskedLM", "fill-mask"),
    ("Model", "feature-extraction"),
)
"""How an architecture's name ends, and what the hub calls what it does."""
_SHOWN: Final = (("fp32", "the graph in fp32"), ("int8", "the graph in eight bits"))


def render_onnx_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of an exported graph.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    export = part_of(manifest, "export")
    names = [str(each) for each in items_of(manifest, "architectures")]
    task = next((task for end, task in _HUB_TASKS if any(name.endswith(end) for name in names)), None)
    tags = ["onnx", *(["int8"] if part_of(export, "quantised") else [])]
    metadata = card_metadata(manifest, library="onnx", tags=tags, task=task)
    sections = [
        _summary(manifest, export),
        sizes(manifest, _SIZES),
        _running(export),
        _agreement(export),
        *_scores(part_of(export, "scores")),
        how_it_was_made(manifest, _versions(export)),
        _limits(manifest, export),
    ]
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _summary(manifest: Mapping[str, Any], export: Mapping[str, Any]) -> str:
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    outputs = ", ".join(code(each) for each in items_of(export, "outputs")) or UNKNOWN
    text = (
        f"# {name} as an ONNX graph\n\nThis is **{name}** as a graph ({code(export.get('graph') or UNKNOWN)}) for "
        f"onnxruntime and other programs that run ONNX. It gives {outputs}, for batches and texts of any length that "
        "the model has positions for. Vocabulary and tokenizer are the source's."
    )
    done = part_of(export, "quantised")
    if done:
        text += (
            f" Dynamic quantisation brought {count(done.get('matrices'))} matrices to {count(done.get('bits'))} bits "
            f"and {count(done.get('tables'))} tables to 8: {size(done.get('bytes_before'))} became "
            f"{size(done.get('bytes_after'))} ({share(done.get('bytes_after'), done.get('bytes_before'))})."
        )
    return text


def _running(export: Mapping[str, Any]) -> str:
    """The section that shows how; with the tokenizers library alone."""
    inputs = items_of(export, "inputs")
    feed = [
        '    "input_ids": np.array([encoding.ids]),',
        '    "attention_mask": np.array([encoding.attention_mask]),',
        *(['    "token_type_ids": np.array([encoding.type_ids]),'] if "token_type_ids" in inputs else []),
    ]
    example = [
        "import numpy as np",
        "from onnxruntime import InferenceSession",
        "from tokenizers import Tokenizer",
        "",
        'directory = "path/to/this/directory"',
        'tokenizer = Tokenizer.from_file(f"{directory}/tokenizer.json")',
        'session = InferenceSession(f"{directory}/model.onnx")',
        'encoding = tokenizer.encode("...")',
        "inputs = {",
        *feed,
        "}",
        "outputs = dict(zip([each.name for each in session.get_outputs()], session.run(None, inputs)))",
    ]
    text = "## How to run it\n\nWith onnxruntime and tokenizers, without torch:\n\n" + block(
        "\n".join(example), "python"
    )
    if "sentence_embedding" in items_of(export, "outputs"):
        text += (
            "\n\n`sentence_embedding` is pooled as the files of sentence-transformers in this directory say. A prompt "
            "that `config_sentence_transformers.json` names has to be put before the text."
        )
    return text


def _agreement(export: Mapping[str, Any]) -> str:
    rows = [(label, part_of(export, key)) for key, label in _SHOWN if part_of(export, key)]
    first = rows[0][1] if rows else {}
    shown: dict[str, tuple[str, Callable[[object], str]]] = {
        "largest difference of an output": ("largest_difference", number),
        "largest output": ("largest_output", number),
    }
    if first.get("mean_cosine") is not None:
        shown |= {"cosine, mean": ("mean_cosine", _cosine), "cosine, least": ("least_cosine", _cosine)}
    if first.get("equal_predictions") is not None:
        shown["equal predictions"] = ("equal_predictions", _share)
    cells = [(label, *(show(found.get(key)) for key, show in shown.values())) for label, found in rows]
    return (
        "## How it compares with its source\n\n"
        f"On {count(first.get('texts'))} texts of {count(first.get('tokens'))} tokens "
        f"({escape(export.get('texts') or UNKNOWN)}), padding left out; on the processor, the source in fp32.\n\n"
        + table(("", *shown), cells)
    )


def _cosine(value: object) -> str:
    return f"{value:.5f}" if isinstance(value, float) else UNKNOWN


def _share(value: object) -> str:
    return share(value, 1)


def _scores(scores: Mapping[str, Any]) -> list[str]:
    if not scores:
        return []
    rows = [
        (
            escape(f"{part.get('language')} {part.get('subset') or ''}"),
            count(part.get("examples")),
            number(part.get("before")),
            number(part.get("after")),
        )
        for part in items_of(scores, "parts")
        if isinstance(part, Mapping)
    ]
    return [
        f"## Scores before and after\n\n{code(scores.get('task') or UNKNOWN)}, "
        f"{escape(scores.get('split') or UNKNOWN)}: {escape(scores.get('metric') or UNKNOWN)} of the source in "
        "fp32 and of this graph.\n\n" + table(("", "examples", "source", "graph"), rows)
    ]


def _versions(export: Mapping[str, Any]) -> dict[str, str]:
    versions, machine = part_of(export, "versions"), part_of(export, "machine")
    used = [f"{name} {versions[name]}" for name in ("torch", "onnx", "onnxruntime") if name in versions]
    return {
        "Exported with": escape(", ".join(used) or UNKNOWN),
        "Compared on": escape(machine.get("processor") or UNKNOWN),
    }


def _limits(manifest: Mapping[str, Any], export: Mapping[str, Any]) -> str:
    lines = [
        "A graph runs as it is: it cannot be trained, trimmed or changed. Keep the source for that.",
        *notes_of(manifest),
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
    ]
    done = part_of(export, "quantised")
    if done:
        lines.insert(
            0,
            "Eight bits change outputs, by how much is told above; on other texts and in other languages it may be "
            "more. Measure before use.",
        )
    if done.get("bits") == 8:
        lines.insert(
            1,
            "On processors of the x86 kind with AVX2 or AVX-512 but without VNNI, sums of products can overflow "
            "sixteen bits, and outputs differ from those above. For these, export with `--reduce-range`.",
        )
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)
