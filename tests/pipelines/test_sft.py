from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from polycompress.distill.sft import load_diff
from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.modeldir.tensors import open_checkpoint
from polycompress.pipelines.sft import apply_sft, diff_models, show_diff
from tests.modeldir.helpers import load_raw
from tests.tampering import shards
from tests.tiny_models import make_tiny

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, two models tuned from it, and one in bf16 with its own base."""
    root = tmp_path_factory.mktemp("models")
    base = make_tiny("xlm-roberta", "mlm", root / "base", vocab_size=350)
    (base / "sentencepiece.bpe.model").write_bytes(b"pieces")
    for seed, name in ((1, "one"), (2, "two")):
        shutil.copytree(base, root / name)
        _tune(root / name, seed)
    make_tiny("xlm-roberta", "mlm", root / "half", vocab_size=350, dtype="bfloat16")
    shutil.copytree(root / "half", root / "half-tuned")
    raw = bytearray((root / "half-tuned" / WEIGHTS).read_bytes())
    for info in open_checkpoint(root / "half").tensors.values():
        for place in range(info.begin, info.end, 58):
            raw[place] ^= 0x15  # low bits of a value in bf16: whatever they become, it is finite
    (root / "half-tuned" / WEIGHTS).write_bytes(raw)
    for name, tuned in (("one", "one"), ("two", "two")):
        diff_models(base, root / tuned, out=root / f"{name}.diff")
    return root


def _tune(folder: Path, seed: int) -> None:
    """Change some weights of every tensor, to values of every kind."""
    random = np.random.default_rng(seed)
    tensors = load_file(folder / WEIGHTS)
    for tensor in tensors.values():
        flat = tensor.reshape(-1)
        places = random.permutation(len(flat))[: max(1, len(flat) // 10)]
        flat[places] += random.normal(size=len(places)).astype(np.float32) * 0.01
        flat[places[0]] = random.choice([-0.0, 1e-30, 1e20])
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize(("base", "tuned"), [("base", "one"), ("half", "half-tuned")])
def test_the_base_and_the_difference_give_the_other_bit_by_bit(
    base: str, tuned: str, models: Path, tmp_path: Path
) -> None:
    taken = diff_models(models / base, models / tuned, out=tmp_path / "x.diff")
    assert 0 < taken.diff.density < 0.2
    apply_sft([tmp_path / "x.diff"], to=models / base, out=tmp_path / "out")
    assert load_raw(tmp_path / "out" / WEIGHTS) == load_raw(models / tuned / WEIGHTS)


def test_what_is_written_is_a_model_directory(models: Path, tmp_path: Path) -> None:
    command = ["polycompress", "sft", "apply", "one.diff"]
    done = apply_sft([models / "one.diff"], to=models / "base", out=tmp_path / "out", command=command)
    copied = {each.name for each in (models / "base").iterdir()} - {WEIGHTS}
    assert {"config.json", "tokenizer.json", "sentencepiece.bpe.model"} <= copied
    for name in copied:
        assert (tmp_path / "out" / name).read_bytes() == (models / "base" / name).read_bytes()
    assert {each.name for each in (tmp_path / "out").iterdir()} == copied | {
        WEIGHTS,
        "polycompress.json",
        "README.md",
    }
    manifest = read_manifest(tmp_path / "out") or {}
    assert manifest["command"] == command
    assert set(manifest["source"]["files"]) == {"config.json", "tokenizer.json", WEIGHTS}
    (part,) = manifest["sparse"]["diffs"]
    assert (part["file"], part["digest"], part["k"]) == ("one.diff", done.diff.digest, done.diff.k)
    assert manifest["sizes"]["before"] == manifest["sizes"]["after"]
    assert manifest["sizes"]["after"]["bytes"] == sum(
        len(raw) for _, _, raw in load_raw(tmp_path / "out" / WEIGHTS).values()
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert "with sparse differences" in card and "one.diff" in card and done.diff.digest[:16] in card
    assert "AutoModelForMaskedLM.from_pretrained(directory)" in card


def test_the_order_of_naming_does_not_matter(models: Path, tmp_path: Path) -> None:
    diffs = [models / "one.diff", models / "two.diff"]
    apply_sft(diffs, to=models / "base", out=tmp_path / "a")
    apply_sft(diffs[::-1], to=models / "base", out=tmp_path / "b")
    both = load_raw(tmp_path / "a" / WEIGHTS)
    assert both == load_raw(tmp_path / "b" / WEIGHTS)
    assert both != load_raw(models / "one" / WEIGHTS)
    base, one, two = (load_file(models / name / WEIGHTS) for name in ("base", "one", "two"))
    for name, found in load_file(tmp_path / "a" / WEIGHTS).items():
        wide = [each[name].astype(np.float64) for each in (base, one, two)]
        expected = (wide[1] + wide[2] - wide[0]).astype(np.float32)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(wide[1]).max())


def test_shards_are_kept_and_what_nothing_touches_is_copied(models: Path, tmp_path: Path) -> None:
    base = shutil.copytree(models / "base", tmp_path / "base")
    tuned = shutil.copytree(models / "base", tmp_path / "tuned")
    tensors = load_file(tuned / WEIGHTS)
    name = sorted(tensors)[0]
    tensors[name].reshape(-1)[0] += 1
    save_file(tensors, tuned / WEIGHTS, metadata={"format": "pt"})
    shards(base)
    diff_models(base, tuned, out=tmp_path / "x.diff")
    apply_sft([tmp_path / "x.diff"], to=base, out=tmp_path / "out")
    found = open_checkpoint(tmp_path / "out")
    assert found.files == open_checkpoint(base).files
    changed = found.tensors[name].file
    assert [
        file for file in found.files if (base / file).read_bytes() != (tmp_path / "out" / file).read_bytes()
    ] == [changed]
    assert {
        n: each for file in found.files for n, each in load_raw(tmp_path / "out" / file).items()
    } == load_raw(tuned / WEIGHTS)
    assert found.index is not None
    old = open_checkpoint(base).index
    assert (
        old is not None
        and found.index["weight_map"] == old["weight_map"]
        and found.index["metadata"] == old["metadata"]
    )


def test_a_model_that_got_a_head(models: Path, tmp_path: Path) -> None:
    """Names get a prefix, a head is added, another one dropped, and the result loads as the tuned one does."""
    import torch
    import transformers

    base = make_tiny("xlm-roberta", "base", tmp_path / "base", vocab_size=350)
    tuned = tmp_path / "tuned"
    shutil.copytree(base, tuned)
    labels = {"num_labels": 3, "id2label": {0: "a", 1: "b", 2: "ç"}, "label2id": {"a": 0, "b": 1, "ç": 2}}
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, **labels)
    with torch.no_grad():
        model.base_model.encoder.layer[0].output.dense.weight[0] += 0.5
    model.save_pretrained(tuned)
    taken = diff_models(base, tuned, out=tmp_path / "task.diff").diff
    assert taken.info.prefix == "roberta."
    assert all(name.startswith("classifier.") for name in taken.dense) and len(taken.dense) == 4
    assert all(name.startswith("pooler.") for name in taken.info.dropped) and len(taken.info.dropped) == 2
    assert list(taken.tensors) == ["encoder.layer.0.output.dense.weight"]
    apply_sft([tmp_path / "task.diff"], to=base, out=tmp_path / "out")
    assert load_raw(tmp_path / "out" / WEIGHTS) == load_raw(tuned / WEIGHTS)
    loaded, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert loaded.config.id2label == {0: "a", 1: "b", 2: "ç"}
    wanted = model.state_dict()
    assert loaded.state_dict().keys() == wanted.keys()
    assert all(torch.equal(each, wanted[name]) for name, each in loaded.state_dict().items())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["XLMRobertaForSequenceClassification"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "AutoModelForSequenceClassification.from_pretrained(directory)" in card
    # A language's difference of the same base goes along with the task's.
    language = shutil.copytree(base, tmp_path / "language")
    _tune(language, 3)
    diff_models(base, language, out=tmp_path / "language.diff")
    apply_sft([tmp_path / "language.diff", tmp_path / "task.diff"], to=base, out=tmp_path / "both")
    assert load_raw(tmp_path / "both" / WEIGHTS).keys() == load_raw(tuned / WEIGHTS).keys()


def test_another_base_model_is_refused_and_its_tensors_are_named(models: Path, tmp_path: Path) -> None:
    other = shutil.copytree(models / "base", tmp_path / "other")
    tensors = load_file(other / WEIGHTS)
    names = sorted(tensors)[1:3]
    for name in names:
        tensors[name].reshape(-1)[-1] += 1
    save_file(tensors, other / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(InputError) as caught:
        apply_sft([models / "one.diff", models / "two.diff"], to=other, out=tmp_path / "out")
    total = len(tensors)
    for file in ("one", "two"):
        assert f"{models / file}.diff: 2 of {total} tensors differ in values: {', '.join(names)}" in str(
            caught.value
        )
    with pytest.raises(InputError, match=r"tensors differ in name, type or shape: .* and \d+ more"):
        apply_sft([models / "one.diff"], to=models / "half", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_values_are_not_read_for_another_base(models: Path, tmp_path: Path) -> None:
    """A file of the wrong base is refused on its header, however damaged its values are."""
    raw = bytearray((models / "one.diff").read_bytes())
    raw[-8:] = b"\xff" * 8
    (tmp_path / "x.diff").write_bytes(raw)
    with pytest.raises(InputError, match="is not the model that these differences were made for"):
        apply_sft([tmp_path / "x.diff"], to=models / "half", out=tmp_path / "out")
    with pytest.raises(InputError, match="no sound difference"):
        apply_sft([tmp_path / "x.diff"], to=models / "base", out=tmp_path / "out")


def test_the_same_difference_twice(models: Path, tmp_path: Path) -> None:
    again = shutil.copy(models / "one.diff", tmp_path / "again.diff")
    with pytest.raises(InputError, match=r"again\.diff: holds the same difference as .*one\.diff"):
        apply_sft([models / "one.diff", again], to=models / "base", out=tmp_path / "out")
    with pytest.raises(InputError, match="No difference was given"):
        apply_sft([], to=models / "base", out=tmp_path / "out")


def test_outputs_are_guarded(models: Path, tmp_path: Path) -> None:
    base = shutil.copytree(models / "base", tmp_path / "base")
    with pytest.raises(InputError, match="already exists"):
        apply_sft([models / "one.diff"], to=base, out=base)
    with pytest.raises(InputError, match="is or holds the model it is to be made from"):
        apply_sft([models / "one.diff"], to=base, out=base, overwrite=True)
    (tmp_path / "x.diff").write_bytes(b"")
    with pytest.raises(InputError, match=r"x\.diff: already exists"):
        diff_models(base, models / "one", out=tmp_path / "x.diff")
    assert diff_models(base, models / "one", out=tmp_path / "x.diff", overwrite=True).diff.k > 0


def test_models_that_are_not_one_before_and_after(models: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        diff_models(models / "base", models / "half", out=tmp_path / "x.diff")
    assert "is F32" in str(caught.value) and "and BF16" in str(caught.value)
    smaller = make_tiny("xlm-roberta", "mlm", tmp_path / "smaller", vocab_size=350, num_hidden_layers=1)
    with pytest.raises(InputError, match=r"field 'num_hidden_layers' of config.json is \d and 1"):
        diff_models(models / "base", smaller, out=tmp_path / "x.diff")
    other = make_tiny("bert", "mlm", tmp_path / "bert", vocab_size=350)
    with pytest.raises(InputError) as caught:
        diff_models(models / "base", other, out=tmp_path / "x.diff")
    assert "field 'model_type' of config.json is 'xlm-roberta' and 'bert'" in str(caught.value)
    assert not (tmp_path / "x.diff").exists()


def test_types_without_differences_are_kept_whole(tmp_path: Path) -> None:
    states: dict[str, dict[str, Any]] = {
        name: {"w": np.ones(3, np.float32), "ids": np.arange(3) + shift}
        for name, shift in (("a", 0), ("b", 1))
    }
    for name, tensors in states.items():
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / WEIGHTS)
        (tmp_path / name / "config.json").write_text("{}")
    diff = diff_models(tmp_path / "a", tmp_path / "b", out=tmp_path / "x.diff", notes=["why"]).diff
    assert (diff.k, set(diff.dense)) == (0, {"ids"})
    apply_sft([tmp_path / "x.diff"], to=tmp_path / "a", out=tmp_path / "out")
    assert load_raw(tmp_path / "out" / WEIGHTS) == load_raw(tmp_path / "b" / WEIGHTS)
    assert load_diff(tmp_path / "x.diff").info.notes == ("why",)


def test_what_a_file_says(models: Path) -> None:
    found = show_diff(models / "one.diff")
    assert found["k"] == sum(each["entries"] for each in found["tensors"].values())
    assert found["base_tensors"] == len(open_checkpoint(models / "base").tensors)
    assert found["density"] == pytest.approx(found["k"] / found["base_parameters"])
    assert found["pinned"] > 0, "-0.0 and 1e-30 cannot be reached by a sum"
    json.dumps(found)


def test_exactly_the_places_of_a_mask(models: Path, tmp_path: Path) -> None:
    """Also where nothing changed; what the mask does not name is a head, and kept whole."""
    tuned = shutil.copytree(models / "base", tmp_path / "tuned")
    tensors = load_file(tuned / WEIGHTS)
    head, name, still = (
        "lm_head.dense.weight",
        "roberta.embeddings.word_embeddings.weight",
        "lm_head.layer_norm.bias",
    )
    tensors[name].reshape(-1)[[3, 10]] += 1
    tensors[head] += 1
    save_file(tensors, tuned / WEIGHTS, metadata={"format": "pt"})
    mask = {
        name: np.array([3, 7, 10]),
        still: np.array([0]),
        "roberta.embeddings.LayerNorm.bias": np.zeros(0, np.int64),
    }
    diff = diff_models(models / "base", tuned, out=tmp_path / "x.diff", mask=mask).diff
    assert (diff.k, set(diff.dense)) == (4, {head})
    assert diff.tensors[name].indices.tolist() == [3, 7, 10]
    apply_sft([tmp_path / "x.diff"], to=models / "base", out=tmp_path / "out")
    assert load_raw(tmp_path / "out" / WEIGHTS) == load_raw(tuned / WEIGHTS)
    with pytest.raises(InputError) as caught:
        diff_models(
            models / "base", tuned, out=tmp_path / "y.diff", mask={name: np.array([3]), "none": np.array([0])}
        )
    assert "tensor 'none' of the mask is not in both models" in str(caught.value)
    assert f"tensor '{name}': 1 values outside of the mask changed, first 10" in str(caught.value)
    assert not (tmp_path / "y.diff").exists()
