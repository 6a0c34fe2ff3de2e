"""Every family with every head: slice a tiny model, load it back strictly, compare it with its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polycompress.modeldir.axes import VocabAxes, find_vocab_axes, parameter_parts
from polycompress.modeldir.ids import remap_config, remap_generation_config, required_ids
from polycompress.modeldir.tensors import RowSlice, compare_rows, open_checkpoint, write_sliced
from tests.tiny_models import HEADS, RECIPES, make_tiny, token_ids

torch = pytest.importorskip("torch", reason="the families are loaded back with torch and transformers")
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()

pytestmark = pytest.mark.integration

CASES = [(family, head) for family, recipe in RECIPES.items() for head in recipe.heads]
UNTIED = [
    ("bert", "mlm"),
    ("xlm-roberta", "mlm"),
    ("distilbert", "mlm"),
    ("electra", "mlm"),
    ("albert", "mlm"),
    ("deberta-v2", "mlm"),
    ("modernbert", "mlm"),
    ("mpnet", "mlm"),
    ("t5", "s2s"),
    ("mt5", "s2s"),
    ("umt5", "s2s"),
    ("bart", "s2s"),
    ("mbart", "s2s"),
    ("m2m_100", "s2s"),
    ("xglm", "clm"),
    ("bloom", "clm"),
    ("gpt2", "clm"),
    ("gemma", "clm"),
    ("qwen3", "clm"),
]
TIED_DECODERS = [("llama", "clm"), ("mistral", "clm"), ("qwen2", "clm"), ("gpt_neox", "clm"), ("phi3", "clm")]
COPIES = [
    ("bert", "mlm"),
    ("xlm-roberta", "mlm"),
    ("distilbert", "mlm"),
    ("deberta-v2", "mlm"),
    ("t5", "s2s"),
    ("bart", "s2s"),
    ("mbart", "s2s"),
    ("m2m_100", "s2s"),
    ("gpt2", "clm"),
    ("gemma", "clm"),
]


@pytest.mark.parametrize(("family", "head"), CASES)
def test_every_family_behaves_the_same(family: str, head: str, tmp_path: Path) -> None:
    check(make_tiny(family, head, tmp_path / "source"), head, tmp_path / "trimmed")


@pytest.mark.parametrize(("family", "head"), UNTIED)
def test_an_untied_head_stays_untied(family: str, head: str, tmp_path: Path) -> None:
    axes = check(make_tiny(family, head, tmp_path / "source", tied=False), head, tmp_path / "trimmed")
    assert not axes.tied
    trimmed = open_checkpoint(tmp_path / "trimmed")
    table, output = (torch.tensor(_read(trimmed.root, name)) for name in (axes.embedding, axes.heads[0]))
    assert not torch.equal(table, output)


@pytest.mark.parametrize(("family", "head"), TIED_DECODERS)
def test_a_tied_head_stays_tied(family: str, head: str, tmp_path: Path) -> None:
    axes = check(make_tiny(family, head, tmp_path / "source", tied=True), head, tmp_path / "trimmed")
    assert axes.tied and axes.heads == ()


@pytest.mark.parametrize(("family", "head"), COPIES)
def test_redundant_copies_are_sliced_too(family: str, head: str, tmp_path: Path) -> None:
    axes = check(make_tiny(family, head, tmp_path / "source", copies=True), head, tmp_path / "trimmed")
    assert len(axes.axes) > len(find_axes(make_tiny(family, head, tmp_path / "plain")).axes)


def test_added_rows_are_never_generated_where_a_bias_masks_them(tmp_path: Path) -> None:
    source = make_tiny("mbart", "s2s", tmp_path / "source")
    axes = find_axes(source)
    config = read(source, "config.json")
    keep = np.union1d(np.arange(0, axes.rows, 3), list(required_ids(config, axes.rows))).astype(np.int64)
    rows = len(keep) + 5
    (tmp_path / "trimmed").mkdir()
    write_sliced(
        open_checkpoint(source),
        tmp_path / "trimmed",
        {
            n: RowSlice(a, keep, pad=5, fill=-1e4 if n in axes.biases else 0.0)
            for n, (a,) in axes.axes.items()
        },
    )
    new, _ = remap_config(config, {int(old): i for i, old in enumerate(keep)}, rows)
    (tmp_path / "trimmed" / "config.json").write_text(json.dumps(new), encoding="utf-8")
    model = load("s2s", tmp_path / "trimmed")
    assert model.config.vocab_size == rows
    generated = model.generate(torch.arange(4, 12)[None], max_new_tokens=20, do_sample=True)
    assert int(generated.max()) < len(keep)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(dtype: str, tmp_path: Path) -> None:
    check(make_tiny("mbart", "s2s", tmp_path / "source", dtype=dtype), "s2s", tmp_path / "trimmed")


def test_a_padding_id_that_is_not_the_first(tmp_path: Path) -> None:
    """XLM-R counts positions from the padding id; moving that id would shift every position."""
    source = make_tiny("xlm-roberta", "mlm", tmp_path / "source", pad_token_id=7, max_position_embeddings=80)
    assert set(range(8)) <= set(required_ids(read(source, "config.json"), 100))
    check(source, "mlm", tmp_path / "trimmed")


@pytest.mark.parametrize(
    ("family", "head"), [("bert", "mlm"), ("llama", "clm"), ("mt5", "s2s"), ("bart", "qa")]
)
def test_parts_add_up_to_the_models_parameters(family: str, head: str, tmp_path: Path) -> None:
    source = make_tiny(family, head, tmp_path / "source")
    model = load(head, source)
    checkpoint = open_checkpoint(source)
    axes = find_axes(source)
    parts = parameter_parts(read(source, "config.json"), checkpoint.tensors, axes)
    stored_bias = model.state_dict().get("final_logits_bias")  # a buffer to torch, trained nowhere
    extra = stored_bias.numel() if stored_bias is not None else 0
    assert sum(parts.values()) == sum(p.numel() for p in model.parameters()) + extra
    assert parts["embeddings"] == np.prod(checkpoint.tensors[axes.embedding].shape)


def check(source: Path, head: str, trimmed: Path) -> VocabAxes:
    """Slice ``source`` to a random half of its rows and compare the two models."""
    config = read(source, "config.json")
    axes = find_axes(source)
    generator = np.random.default_rng(len(config) + axes.rows)
    needed = np.array(sorted(required_ids(config, axes.rows)), dtype=np.int64)
    chosen = generator.choice(axes.rows, axes.rows // 2, replace=False)
    keep = np.union1d(chosen, needed).astype(np.int64)
    write_trimmed(source, trimmed, axes, keep)
    if config["dtype"] == "float32":
        compare_behaviour(source, trimmed, head, keep, generator)
    else:
        load(head, trimmed)
    return axes


def write_trimmed(source: Path, trimmed: Path, axes: VocabAxes, keep: NDArray[np.int64]) -> None:
    trimmed.mkdir()
    checkpoint = open_checkpoint(source)
    slices = {name: RowSlice(axis, keep) for name, (axis,) in axes.axes.items()}
    write_sliced(checkpoint, trimmed, slices)
    assert all(check.passed for check in _rows(checkpoint, trimmed, slices))
    mapping = {int(old): new for new, old in enumerate(keep)}
    new, notes = remap_config(read(source, "config.json"), mapping, len(keep))
    assert notes == []
    (trimmed / "config.json").write_text(json.dumps(new), encoding="utf-8")
    if (source / "generation_config.json").is_file():
        new, notes = remap_generation_config(read(source, "generation_config.json"), mapping)
        assert notes == []
        (trimmed / "generation_config.json").write_text(json.dumps(new), encoding="utf-8")


def compare_behaviour(
    source: Path, trimmed: Path, head: str, keep: NDArray[np.int64], generator: np.random.Generator
) -> None:
    before, after = load(head, source), load(head, trimmed)
    config = before.config
    banned = {getattr(config, f"{role}_token_id", None) for role in ("pad", "eos", "bos")}
    words = np.array([int(old) for old in keep if old not in banned])
    old = torch.tensor(generator.choice(words, size=(2, 9)))
    if head == "sequence" and config.is_encoder_decoder:
        old[:, -1] = config.eos_token_id  # these classes read the vector of the last end of sequence
    to_new = torch.full((int(keep.max()) + 1,), -1)
    to_new[torch.tensor(keep)] = torch.arange(len(keep))
    with torch.no_grad():
        expected = before(**inputs(head, config, old))
        actual = after(**inputs(head, after.config, to_new[old]))
    for key in ("hidden_states", "encoder_hidden_states", "decoder_hidden_states"):
        for left, right in zip(expected.get(key) or (), actual.get(key) or (), strict=True):
            assert torch.equal(left, right), key
    compared = [key for key in expected if key.endswith("logits") or key == "last_hidden_state"]
    assert compared
    for key in compared:
        left = expected[key]
        if left.shape[-1] == config.vocab_size:
            torch.testing.assert_close(actual[key], left[..., torch.tensor(keep)], rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(actual[key], left), key
    if head in ("clm", "s2s") and after.can_generate():
        compare_generation(before, after, old, to_new, keep)


def compare_generation(before: Any, after: Any, old: Any, to_new: Any, keep: NDArray[np.int64]) -> None:
    """Greedy generation is the source's with all other logits masked."""
    allowed = torch.tensor(keep)

    def mask(_: Any, scores: Any) -> Any:
        masked = torch.full_like(scores, -torch.inf)
        masked[:, allowed] = scores[:, allowed]
        return masked

    settings = {"max_new_tokens": 8, "do_sample": False}
    mask_of = torch.ones_like(old)
    expected = before.generate(
        old, attention_mask=mask_of, logits_processor=transformers.LogitsProcessorList([mask]), **settings
    )
    actual = after.generate(to_new[old], attention_mask=mask_of, **settings)
    assert torch.equal(to_new[expected], actual)


def inputs(head: str, config: Any, ids: Any) -> dict[str, Any]:
    fields = {"input_ids": ids, "output_hidden_states": True}
    # BART-like models, and T5's classifiers, shift the input themselves, with the configured ids.
    shifts = config.model_type in ("bart", "mbart") or head in ("sequence", "qa")
    if config.is_encoder_decoder and not shifts:
        fields["decoder_input_ids"] = ids[:, :5]
    return fields


def load(head: str, directory: Path) -> Any:
    """Load strictly: nothing missing, unexpected or of another size."""
    model, report = getattr(transformers, HEADS[head]).from_pretrained(directory, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not report[kind], f"{kind}: {report[kind]}"
    return model.eval()


def find_axes(directory: Path) -> VocabAxes:
    size = max(token_ids(read(directory, "tokenizer.json")).values()) + 1
    return find_vocab_axes(read(directory, "config.json"), open_checkpoint(directory).tensors, size)


def read(directory: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / name).read_text(encoding="utf-8"))
    return document


def _read(directory: Path, name: str) -> Any:
    from safetensors.numpy import load_file

    return load_file(directory / "model.safetensors")[name]


def _rows(checkpoint: Any, trimmed: Path, slices: Any) -> Any:
    return compare_rows(checkpoint, open_checkpoint(trimmed), slices)
