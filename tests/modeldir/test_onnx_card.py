from __future__ import annotations

from typing import Any

import pytest
import yaml

from polycompress.modeldir.onnx_card import render_onnx_card

AGREEMENT = {
    "texts": 65, "tokens": 1866, "largest_difference": 2.5e-6, "largest_output": 1.25, "mean_cosine": None,
    "least_cosine": None, "predictions": 1866, "equal_predictions": 0.75,
}  # fmt: skip
MANIFEST: dict[str, Any] = {
    "tool": {"name": "polycompress", "version": "1"},
    "command": ["polycompress", "export", "m", "--onnx"],
    "source": {"name": "owner/name", "license": "mit", "files": {"config.json": "ab"}},
    "architectures": ["XLMRobertaForTokenClassification"],
    "languages": [{"code": "swh-Latn"}],
    "sizes": {
        "before": {"parameters": 1000, "bytes": 4_000_000},
        "after": {"parameters": 1000, "bytes": 1_000_000},
    },
    "export": {
        "graph": "model.onnx", "inputs": ["input_ids", "attention_mask"], "outputs": ["logits"],
        "texts": "lines of <b>text</b>", "fp32": AGREEMENT, "int8": {**AGREEMENT, "equal_predictions": 0.5},
        "quantised": {
            "matrices": 13, "tables": 3, "left": 4, "bits": 8, "bytes_before": 4_000_000, "bytes_after": 1_000_000,
        },
        "scores": {
            "task": "ner-wikiann", "metric": "span-f1", "split": "test",
            "parts": [{"language": "swh-Latn", "subset": None, "examples": 1000, "before": 0.5, "after": 0.48}, 7],
        },
        "versions": {"torch": "2", "onnxruntime": "1"},
        "machine": {"processor": "a <processor>"},
    },
    "notes": ["something <b>odd</b>"],
}  # fmt: skip


def test_a_card_from_its_manifest() -> None:
    card = render_onnx_card(MANIFEST)
    head = yaml.safe_load(card.split("---")[1])
    assert (head["base_model"], head["language"]) == ("owner/name", ["swh"])
    assert (head["library_name"], head["pipeline_tag"]) == ("onnx", "token-classification")
    assert head["tags"] == ["polycompress", "onnx", "int8"]
    for part in (
        "# owner/name as an ONNX graph", "It gives `logits`", "13 matrices to 8 bits and 3 tables to 8",
        "4.0 MB became 1.0 MB (25.0%)", "On 65 texts of 1,866 tokens",
        "| the graph in fp32 | 2.5e-06 | 1.25 | 75.0% |", "| the graph in eight bits | 2.5e-06 | 1.25 | 50.0% |",
        "| swh-Latn | 1,000 | 0.5 | 0.48 |", "Exported with: torch 2, onnxruntime 1", "without VNNI",
    ):  # fmt: skip
        assert part in card, part
    assert "<b>" not in card and "<processor>" not in card
    assert "cosine" not in card and "token_type_ids" not in card and "sentence_embedding" not in card


def test_vectors_and_segments() -> None:
    vectors = {**AGREEMENT, "mean_cosine": 0.995, "least_cosine": 0.98, "equal_predictions": None}
    export = {
        **MANIFEST["export"], "fp32": vectors, "int8": None, "scores": None,
        "inputs": ["input_ids", "attention_mask", "token_type_ids"],
        "outputs": ["last_hidden_state", "sentence_embedding"],
        "quantised": {**MANIFEST["export"]["quantised"], "bits": 7},
    }  # fmt: skip
    card = render_onnx_card({**MANIFEST, "architectures": ["BertModel"], "export": export})
    for part in (
        "| 0.99500 | 0.98000 |",
        '"token_type_ids": np.array',
        "`sentence_embedding` is pooled",
        "feature-ext",
    ):
        assert part in card, part
    assert "equal predictions" not in card and "VNNI" not in card and "Scores" not in card


@pytest.mark.parametrize("manifest", [{}, {"export": 3}, {"export": {"fp32": 1, "scores": {"parts": 9}}}])
def test_what_is_missing_is_unknown(manifest: dict[str, Any]) -> None:
    card = render_onnx_card(manifest)
    assert "This is **unknown**" in card
    assert "On unknown texts of unknown tokens (unknown)" in card
