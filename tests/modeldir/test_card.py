from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from polycompress.modeldir.card import render_card
from polycompress.modeldir.markdown import block, code, escape, plain

COMMAND = ["polycompress", "trim", "owner/e5", "--corpus", "de=texts/de*.txt", "--out", "my model"]

MANIFEST: dict[str, Any] = {
    "schema": 1,
    "tool": {"name": "polycompress", "version": "0.1.0"},
    "command": COMMAND,
    "config": {},
    "seed": None,
    "created": "2026-11-21T10:00:00+00:00",
    "source": {
        "spec": "owner/e5",
        "name": "owner/e5",
        "revision": "0123abc",
        "model_type": "bert",
        "architectures": ["BertModel"],
        "license": "mit",
        "files": {"config.json": "ab" * 32},
    },
    "languages": [{"code": "deu-Latn", "name": "German"}, {"code": "srp-Cyrl", "name": "Serbian"}],
    "sizes": {
        "before": {
            "parameters": 117505920,
            "bytes": 470023680,
            "vocab": 250037,
            "embedding_parameters": 96014208,
        },
        "after": {
            "parameters": 36851712,
            "bytes": 147406848,
            "vocab": 40000,
            "embedding_parameters": 15360000,
        },
    },
    "kept_by": {"special": 5, "coverage": 39995},
    "pad_rows": 24,
    "certificate": {
        "passed": True,
        "rows": {"tensors": 2, "rows": 80000, "identical": 80000},
        "languages": {
            "deu-Latn": {
                "texts": 1000,
                "identical": 955,
                "kept_only": 955,
                "kept_only_identical": 955,
                "fertility_before": 1.5,
                "fertility_after": 1.524,
                "unknown_before": 0,
                "unknown_after": 3,
                "source": "held out of texts/de*.txt",
            }
        },
        "full": {"texts": 16, "hidden_max_abs": 0.0, "logits_max_abs": 1.25e-7, "logits_scale": 31.5},
    },
    "not_copied": ["sentencepiece.bpe.model"],
    "notes": ["the softmax sees padded rows"],
}


def front(card: str) -> tuple[dict[str, Any], str]:
    start, matter, body = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(matter), body


def test_the_front_matter_is_what_the_hub_reads() -> None:
    matter, _ = front(render_card(MANIFEST))
    assert matter == {
        "language": ["deu", "srp"],
        "license": "mit",
        "library_name": "transformers",
        "tags": ["polycompress", "vocabulary-trimming"],
        "base_model": "owner/e5",
    }


@pytest.mark.parametrize(
    "text",
    [
        "# owner/e5, trimmed to German and Serbian",
        "vocabulary cut from 250,037 to 40,000 entries",
        "147.4 MB instead of 470.0 MB",
        "| Vocabulary entries | 250,037 | 40,000 | 16.0% |",
        "| Parameters | 117.5 M (117,505,920) | 36.9 M (36,851,712) | 31.4% |",
        "| Weights | 470.0 MB (470,023,680 bytes) | 147.4 MB (147,406,848 bytes) | 31.4% |",
        "24 further rows",
        "80,000 of 80,000 kept rows (tables: 2) are equal",
        "on 16 texts the hidden states differ by at most 0, the logits by at most 1.25e-07 (the largest is 31.5).",
        "| German | 1,000 | 955 of 1,000 (95.5%) | 955 of 955 (100.0%) | 1.50 → 1.52 | 0 → 3 |",
        r"Texts: held out of texts/de\*.txt.",
        "from transformers import AutoModel, AutoTokenizer",
        "- Revision of the source: `0123abc`",
        "- Seed: none, nothing is left to chance",
        "| coverage | 39,995 |",
        f"- `config.json`: `{'ab' * 32}`",
        "- `sentencepiece.bpe.model`",
        "- the softmax sees padded rows.",
    ],
)
def test_every_fact_stands_in_the_card(text: str) -> None:
    assert text in render_card(MANIFEST)


def test_the_command_can_be_copied() -> None:
    body = render_card(MANIFEST)
    line = body.split("```sh\n")[1].split("\n```")[0]
    assert shlex.split(line) == COMMAND


@pytest.mark.parametrize(
    ("architecture", "loader", "task"),
    [
        ("XLMRobertaForMaskedLM", "AutoModelForMaskedLM", "fill-mask"),
        ("LlamaForCausalLM", "AutoModelForCausalLM", "text-generation"),
        ("GPT2LMHeadModel", "AutoModelForCausalLM", "text-generation"),
        ("MT5ForConditionalGeneration", "AutoModelForSeq2SeqLM", "text2text-generation"),
        ("BertForSequenceClassification", "AutoModelForSequenceClassification", "text-classification"),
        ("BertModel", "AutoModel", None),
    ],
)
def test_the_loader_fits_the_architecture(architecture: str, loader: str, task: str | None) -> None:
    source = {**MANIFEST["source"], "architectures": [architecture]}
    matter, body = front(render_card({**MANIFEST, "source": source}))
    assert matter.get("pipeline_tag") == task
    assert f"model = {loader}.from_pretrained(directory)" in body
    compile(body.split("```python\n")[1].split("```")[0], "example", "exec")


def test_sentence_encoders_are_called_so() -> None:
    assert "SentenceTransformer" not in render_card(MANIFEST)
    for manifest in (
        {**MANIFEST, "copied": ["modules.json"]},
        {**MANIFEST, "source": {**MANIFEST["source"], "files": {"modules.json": "0"}}},
    ):
        matter, body = front(render_card(manifest))
        assert (matter["library_name"], matter["pipeline_tag"]) == (
            "sentence-transformers",
            "sentence-similarity",
        )
        assert 'model = SentenceTransformer("path/to/this/directory")' in body


def test_what_is_unknown_is_called_so() -> None:
    matter, body = front(render_card({}))
    assert matter["license"] == "unknown"
    assert "base_model" not in matter
    assert "| Parameters | unknown | unknown | unknown |" in body
    assert "Unknown: it was not checked." in body
    assert "- Revision of the source: unknown" in body
    assert "Command: unknown" in body
    assert "left behind" not in body
    bare = render_card({**MANIFEST, "certificate": {"passed": False}})
    assert "**No: a check failed.**" in bare
    assert "- **Outputs**: not compared here" in bare
    assert "How texts are segmented was not measured." in bare


def test_no_texts_and_no_logits_are_told() -> None:
    entry = {**MANIFEST["certificate"]["languages"]["deu-Latn"], "kept_only": 0, "kept_only_identical": 0}
    full = {"texts": 1, "hidden_max_abs": 0.0, "logits_max_abs": None, "logits_scale": None}
    card = render_card({**MANIFEST, "certificate": {"languages": {"deu-Latn": entry}, "full": full}})
    assert "955 of 1,000 (95.5%) | none |" in card
    assert "logits" not in card


HOSTILE = "x\n---\n# big <script>alert(1)</script> | [a](http://evil) ![i](x) `c` *b* @me www.evil.com \x1b[31m\u202e"


def test_hostile_text_is_shown_not_obeyed() -> None:
    card = render_card(
        {
            **MANIFEST,
            "source": {**MANIFEST["source"], "name": HOSTILE, "spec": HOSTILE, "license": HOSTILE, "revision": HOSTILE,
                       "files": {HOSTILE: HOSTILE}, "architectures": [HOSTILE]},
            "languages": [{"code": HOSTILE, "name": HOSTILE}],
            "certificate": {"languages": {HOSTILE: {"source": HOSTILE}}},
            "kept_by": {HOSTILE: 1},
            "command": ["trim", "```\n# big", HOSTILE],
            "not_copied": [HOSTILE],
            "notes": [HOSTILE],
        }
    )  # fmt: skip
    matter, body = front(card)
    assert set(matter) == {"language", "license", "library_name", "tags"}
    assert matter["license"] == "unknown"
    outside = "\n".join(part for number, part in enumerate(body.split("````")) if number % 2 == 0)
    prose = [line for line in outside.splitlines() if "`" not in line.replace("\\`", "")]
    assert not [line for line in prose if "<script" in line.replace("\\<script", "")]
    assert not [line for line in prose if "http://" in line or "www." in line or "@me" in line]
    assert not [line for line in prose if "](" in line.replace("\\](", "")]
    assert "\x1b" not in card
    assert "\u202e" not in card
    assert body.count("\n# ") == 1 + body.count(
        "\n# big"
    )  # the one title; the other stands inside the code block
    rows = [line for line in outside.splitlines() if line.startswith("| x")]
    assert len(rows) == 2
    assert [line.replace("\\|", "").count("|") for line in rows] == [7, 3]


@given(st.text())
def test_escaped_text_stays_on_its_line(text: str) -> None:
    for shown in (plain(text), escape(text), code(text)):
        assert len(shown.splitlines()) <= 1
        shown.encode()
    assert "|" not in escape(text).replace("\\|", "")
    assert "<" not in escape(text).replace("\\<", "")


@given(st.text())
def test_code_cannot_be_left(text: str) -> None:
    lines = block(text).split("\n")
    assert lines[0] == lines[-1]
    assert all(lines[0] not in line for line in lines[1:-1])


@given(
    st.dictionaries(
        st.sampled_from(sorted(MANIFEST)), st.none() | st.integers() | st.text() | st.lists(st.text())
    )
)
def test_any_manifest_gives_a_card(manifest: dict[str, Any]) -> None:
    matter, _ = front(render_card({**MANIFEST, **manifest}))
    assert matter["tags"] == ["polycompress", "vocabulary-trimming"]
