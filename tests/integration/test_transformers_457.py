"""What we write loads in transformers 4.57 too, with the same outputs as here.

Needs a second Python that has transformers 4.57 and torch: POLYCOMPRESS_OLD_PYTHON=/path/to/bin/python.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polycompress.modeldir.axes import find_vocab_axes
from polycompress.modeldir.ids import (
    remap_config,
    remap_generation_config,
    remap_tokenizer_config,
    required_ids,
)
from polycompress.modeldir.tensors import RowSlice, open_checkpoint, write_sliced
from polycompress.vocab.document import special_ids
from polycompress.vocab.surgery import close_ids, dump_document, trim_document
from tests.tiny_models import HEADS, RECIPES, TEXTS, make_tiny, token_ids

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = [pytest.mark.slow, pytest.mark.integration]

CASES = [(family, head) for family, recipe in RECIPES.items() for head in recipe.heads[:3]]
UNTIED = [("mt5", "s2s"), ("bert", "mlm"), ("gpt2", "clm"), ("t5", "s2s")]
PROBES = [*TEXTS, " two  spaces ", "it's <s> [SEP] </s> <mask>, she said", "ÀÉÎ ß ﬁ ①"]

Trimmed = tuple[str, str, dict[str, Any], dict[str, Any]]

# Runs in the other interpreter: loads source and result strictly, and writes tokens and outputs.
LOADER = """
import json, sys
import numpy as np, torch, transformers
transformers.logging.set_verbosity_error()
work = json.load(open(sys.argv[1]))
assert transformers.__version__.startswith("4.57"), transformers.__version__
answers = {}
for name, (folder, auto, settings, old_settings) in work["models"].items():
    loads = []
    for place, inputs in ((folder.removesuffix("-trimmed"), old_settings), (folder, settings)):
        try:
            model, report = getattr(transformers, auto).from_pretrained(place, output_loading_info=True)
        except Exception as error:
            loads.append(type(error).__name__)
            continue
        loads.append({kind: sorted(keys) for kind, keys in report.items() if len(keys)})
        with torch.no_grad():
            out = model.eval()(**{key: torch.tensor(value) for key, value in inputs.items()})
        first = next(value for key, value in out.items() if key.endswith(("logits", "last_hidden_state")))
        np.save(place + "/output.npy", first.numpy())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    answers[name] = {
        "loads": loads,
        "tokens": [tokenizer(text)["input_ids"] for text in work["texts"]],
        "inputs": sorted(tokenizer("a", "b")),
        "roles": {r: getattr(tokenizer, r) for r in ("pad_token_id", "eos_token_id", "mask_token_id")},
        "size": len(tokenizer),
        "max": tokenizer.model_max_length,
    }
json.dump(answers, open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module")
def old_python() -> str:
    named = os.environ.get("POLYCOMPRESS_OLD_PYTHON")
    if not named:
        pytest.skip("POLYCOMPRESS_OLD_PYTHON names no Python with transformers 4.57")
    return named


def test_every_family_loads_and_computes_the_same(old_python: str, tmp_path: Path) -> None:
    models: dict[str, Trimmed] = {}
    for family, head in CASES:
        models[f"{family} {head}"] = trim(make_tiny(family, head, tmp_path / f"{family}-{head}"), head)
    for family, head in UNTIED:
        source = make_tiny(family, head, tmp_path / f"{family}-{head}-untied", tied=False)
        models[f"{family} {head} untied"] = trim(source, head)
    (tmp_path / "work.json").write_text(json.dumps({"models": models, "texts": PROBES}), encoding="utf-8")
    command = [old_python, "-c", LOADER, str(tmp_path / "work.json"), str(tmp_path / "answers.json")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    answers = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    assert set(answers) == set(models)
    # A source written by version 5 that version 4 cannot read: its experts have other names.
    unreadable = {name for name, answer in answers.items() if answer["loads"][0]}
    assert unreadable == {"qwen3_moe clm"}
    for name, (folder, *_) in models.items():
        compare_tokenizers(name, Path(folder), answers[name])
        if name not in unreadable:
            assert not answers[name]["loads"][1], name
            compare_outputs(name, Path(folder))


def trim(source: Path, head: str) -> Trimmed:
    """Trim a model with its tokenizer; return where it is, its class, and inputs in new and old ids."""
    config, document = read(source, "config.json"), read(source, "tokenizer.json")
    size = max(token_ids(document).values()) + 1
    checkpoint = open_checkpoint(source)
    axes = find_vocab_axes(config, checkpoint.tensors, size)
    generator = np.random.default_rng(0)
    chosen = generator.choice(size, size // 2, replace=False)
    needed = [*special_ids(document), *required_ids(config, size)]
    keep = close_ids(document, np.union1d(chosen, needed).astype(np.int64))
    mapping = {int(old): new for new, old in enumerate(keep)}
    folder = source.with_name(source.name + "-trimmed")
    folder.mkdir()
    write_sliced(checkpoint, folder, {name: RowSlice(axis, keep) for name, (axis,) in axes.axes.items()})
    small = trim_document(document, keep)
    (folder / "tokenizer.json").write_bytes(dump_document(small))
    new, _ = remap_config(config, mapping, len(keep))
    write(folder, "config.json", new)
    if (source / "generation_config.json").is_file():
        new, _ = remap_generation_config(read(source, "generation_config.json"), mapping)
        write(folder, "generation_config.json", new)
    new, _ = remap_tokenizer_config(read(source, "tokenizer_config.json"), small, model_config=config)
    write(folder, "tokenizer_config.json", new)
    plain = [int(old) for old in keep if old not in needed]
    words = generator.choice(plain, size=(2, 9)).tolist()
    old: dict[str, Any] = {"input_ids": words}
    if config.get("is_encoder_decoder") and head in ("sequence", "qa"):
        for row in words:
            row[-1] = config["eos_token_id"]  # whose vector these classes read
    elif config.get("is_encoder_decoder"):
        old["decoder_input_ids"] = [row[:5] for row in words]
    new = {key: [[mapping[word] for word in row] for row in rows] for key, rows in old.items()}
    np.save(folder / "keep.npy", keep)
    return str(folder), HEADS[head], new, old


def compare_outputs(name: str, folder: Path) -> None:
    """In version 4, the result computes what the source computes there."""
    source = folder.with_name(folder.name.removesuffix("-trimmed"))
    expected, actual = np.load(source / "output.npy"), np.load(folder / "output.npy")
    if expected.shape != actual.shape:
        expected = expected[..., np.load(folder / "keep.npy")]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5, err_msg=name)
    else:
        np.testing.assert_array_equal(actual, expected, err_msg=name)


def compare_tokenizers(name: str, folder: Path, answer: dict[str, Any]) -> None:
    """Version 4 loads the same tokenizer as this version."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert answer["tokens"] == [tokenizer(text)["input_ids"] for text in PROBES], name
    assert answer["inputs"] == sorted(tokenizer("a", "b")), name
    assert answer["roles"] == {role: getattr(tokenizer, role) for role in answer["roles"]}, name
    assert (answer["size"], answer["max"]) == (len(tokenizer), tokenizer.model_max_length), name


def read(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return document


def write(folder: Path, name: str, value: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(value), encoding="utf-8")
