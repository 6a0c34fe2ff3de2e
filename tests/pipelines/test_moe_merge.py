from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from polycompress.errors import InputError
from polycompress.modeldir.directory import read_json
from polycompress.modeldir.manifest import MANIFEST_FILE, read_manifest
from polycompress.pipelines.experts.request import ExpertSettings
from polycompress.pipelines.moe_extract import moe_extract
from polycompress.pipelines.moe_merge import moe_merge
from polycompress.pipelines.moe_upcycle import moe_upcycle
from tests.tampering import change, drop, edit, put, shards, variant
from tests.tiny_models import make_tiny

LAYER = "model.layers.1.mlp."
PARTS = {"gate": "gate_proj.weight", "up": "up_proj.weight", "down": "down_proj.weight"}
NAMED = ("Germanic=de,nl", "Romance=fr", "Bantu=sw")
SETTINGS = ExpertSettings(layers=1)


def student(base: Path, out: Path, seed: int, codes: tuple[str, ...] = ()) -> Path:
    """A model like another, every weight moved a little, whose manifest names languages."""
    shutil.copytree(base, out)
    draws = torch.Generator().manual_seed(seed)
    tensors = {
        name: (each.float() + 0.05 * torch.randn(each.shape, generator=draws)).to(each.dtype)
        for name, each in load_file(base / "model.safetensors").items()
    }
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    put(MANIFEST_FILE, json.dumps({"schema": 1, "languages": [{"code": code} for code in codes]}))(out)
    return out


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("students")
    base = make_tiny("qwen3", "clm", root / "base", vocab_size=350)
    languages = (("deu-Latn", "nld-Latn"), ("fra-Latn",), ("swh-Latn",))
    return [student(base, root / f"s{place}", place, codes) for place, codes in enumerate(languages)]


def weights(root: Path) -> dict[str, torch.Tensor]:
    return load_file(root / "model.safetensors")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_networks_become_experts_and_all_else_the_mean(dtype: str, tmp_path: Path) -> None:
    base = make_tiny("qwen3", "clm", tmp_path / "base", vocab_size=350, dtype=dtype)
    models = [student(base, tmp_path / f"s{seed}", seed) for seed in range(3)]
    moe_merge(models, out=tmp_path / "moe", family=NAMED, settings=SETTINGS)
    own, found = [weights(each) for each in models], weights(tmp_path / "moe")
    for new, old in PARTS.items():
        assert torch.equal(
            found.pop(f"{LAYER}experts.{new}"), torch.stack([each[LAYER + old] for each in own])
        )
    assert found.pop(f"{LAYER}router.weight").dtype is torch.float32
    assert found.keys() == own[0].keys() - {LAYER + old for old in PARTS.values()}
    assert "model.layers.0.mlp.up_proj.weight" in found
    for name, each in found.items():
        wanted = (own[0][name].double() + own[1][name].double() + own[2][name].double()) / 3
        assert torch.equal(each, wanted.to(each.dtype)), name


def test_what_all_share_is_kept_bit_for_bit(students: list[Path], tmp_path: Path) -> None:
    moe_merge([students[0]] * 2, out=tmp_path / "moe", family=["A=de", "B=fr"], settings=SETTINGS)
    before, after = weights(students[0]), weights(tmp_path / "moe")
    assert all(torch.equal(after[name], before[name]) for name in before.keys() & after.keys())


@pytest.mark.parametrize("shared", ["path", "romance"])
def test_one_model_s_weights_are_shared_where_it_is_named(
    shared: str, students: list[Path], tmp_path: Path
) -> None:
    given = str(students[1]) if shared == "path" else shared
    result = moe_merge(students, out=tmp_path / "moe", shared=given, settings=SETTINGS)
    assert result.shared == "s1"
    moe_extract(tmp_path / "moe", family="Romance", out=tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (
        students[1] / "model.safetensors"
    ).read_bytes()
    assert read_json(tmp_path / "back", "config.json") == read_json(students[1], "config.json")
    moe_extract(tmp_path / "moe", family="Germanic", out=tmp_path / "other")
    found, german, french = (weights(each) for each in (tmp_path / "other", students[0], students[1]))
    for name, each in found.items():
        assert torch.equal(each, (german if name.startswith(LAYER) else french)[name]), name


def test_families_come_from_manifests(students: list[Path], tmp_path: Path) -> None:
    result = moe_merge(students, out=tmp_path / "moe", settings=SETTINGS)
    assert result.moe.families == {"Germanic": (0,), "Romance": (1,), "Narrow Bantu": (2,)}
    assert result.moe.languages["nld-Latn"] == "Germanic" and result.moe.preset == "glottolog-branch"
    manifest = read_manifest(tmp_path / "moe") or {}
    assert [each["name"] for each in manifest["sources"]] == ["s0", "s1", "s2"]
    assert (
        manifest["sources"][2]["family"] == "Narrow Bantu"
        and manifest["sources"][2]["files"]["model.safetensors"]
    )
    assert manifest["experts"]["shared"] == "mean"
    values = sum(each.numel() for each in weights(tmp_path / "moe").values())
    assert manifest["sizes"]["after"]["parameters"] == values
    card = (tmp_path / "moe" / "README.md").read_text()
    assert "# 3 models merged" in card and "| s1 | Romance | fra-Latn |" in card
    again = moe_merge(students, settings=SETTINGS, dry_run=True)
    assert again.as_dict() == {**result.as_dict(), "out": None}


def test_models_of_one_family_are_several_experts_of_it(students: list[Path]) -> None:
    names = ["North=de", "South=fr", "North=sv"]
    result = moe_merge(students, family=names, settings=SETTINGS, dry_run=True)
    assert result.moe.families == {"North": (0, 2), "South": (1,)}
    assert result.moe.preset is None


def test_names_may_take_the_manifests_languages(students: list[Path]) -> None:
    result = moe_merge(students, family=["A", "B", "C=zu"], settings=SETTINGS, dry_run=True)
    assert result.moe.languages == {"deu-Latn": "A", "nld-Latn": "A", "fra-Latn": "B", "zul-Latn": "C"}


def test_the_first_model_s_shards_stay(students: list[Path], tmp_path: Path) -> None:
    cut = variant(students[0], tmp_path / "cut", shards)
    moe_merge([cut, *students[1:]], out=tmp_path / "parts", family=NAMED, settings=SETTINGS)
    moe_merge(students, out=tmp_path / "whole", family=NAMED, settings=SETTINGS)
    parts = {
        name: each
        for file in (tmp_path / "parts").glob("*.safetensors")
        for name, each in load_file(file).items()
    }
    whole = weights(tmp_path / "whole")
    assert parts.keys() == whole.keys() and all(torch.equal(parts[name], whole[name]) for name in whole)


def test_a_tuning_that_is_not_all_models_is_not_named(students: list[Path], tmp_path: Path) -> None:
    tuned = [
        variant(each, tmp_path / each.name, edit(MANIFEST_FILE, finetuning={"task": "xnli"}))
        for each in students
    ]
    moe_merge(tuned, out=tmp_path / "same", settings=SETTINGS)
    assert (read_manifest(tmp_path / "same") or {})["finetuning"] == {"task": "xnli"}
    moe_merge([*tuned[:2], students[2]], out=tmp_path / "mixed", settings=SETTINGS)
    assert "finetuning" not in (read_manifest(tmp_path / "mixed") or {})


def test_models_of_other_shapes_or_tokenizers_are_refused(students: list[Path], tmp_path: Path) -> None:
    wide = make_tiny("qwen3", "clm", tmp_path / "wide", vocab_size=340, intermediate_size=28)
    with pytest.raises(InputError) as caught:
        moe_merge([students[0], wide], out=tmp_path / "x", family=["A=de", "B=fr"])
    message = str(caught.value)
    assert f"{students[0]} and {wide} differ:" in message
    assert "field 'intermediate_size' of config.json is 24 and 28" in message
    assert "field 'vocab_size' of config.json is 355 and 345" in message
    assert "mlp.down_proj.weight' is F32 [16, 24] and F32 [16, 28]" in message
    assert "their tokenizers have 350 and 340 tokens" in message or "and 2 more" in message
    assert not (tmp_path / "x").exists()


def test_what_differs_in_tokenizers_is_said(students: list[Path], tmp_path: Path) -> None:
    def swap(document: Any) -> None:
        vocab = document["model"]["vocab"]
        first, second = (next(each for each in vocab if vocab[each] == number) for number in (40, 41))
        vocab[first], vocab[second] = 41, 40

    swapped = variant(students[1], tmp_path / "a", change("tokenizer.json", swap))
    with pytest.raises(InputError, match=r"2 of 350 tokens differ, for example 40: '.' and '.'"):
        moe_merge([students[0], swapped], out=tmp_path / "x", settings=SETTINGS)
    other = variant(students[1], tmp_path / "b", edit("tokenizer.json", normalizer=None))
    with pytest.raises(InputError, match="their tokenizers differ in normalizer"):
        moe_merge([students[0], other], out=tmp_path / "x", settings=SETTINGS)
    padded = variant(
        students[1], tmp_path / "c", change("tokenizer.json", lambda each: each.update(truncation=None))
    )
    put("tokenizer.json", json.dumps(read_json(padded, "tokenizer.json"), indent=3))(padded)
    moe_merge([students[0], padded], out=tmp_path / "x", settings=SETTINGS)  # the same in another layout


def test_types_and_tensors_have_to_agree(students: list[Path], tmp_path: Path) -> None:
    tensors = weights(students[1])
    tensors["model.norm.weight"] = tensors["model.norm.weight"].half()
    tensors["model.extra"] = torch.zeros(1)
    odd = variant(students[1], tmp_path / "odd")
    save_file(tensors, odd / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError) as caught:
        moe_merge([students[0], odd], out=tmp_path / "x")
    assert "only the second has the tensor 'model.extra'" in str(caught.value)
    assert "tensor 'model.norm.weight' is F32 [16] and F16 [16]" in str(caught.value)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"family": ["A=de"]}, r"--family was given 1 times for 3 models"),
        (
            {"family": ["A=de", "B=de", "C=sw"]},
            r"German \(deu-Latn\) is in two families, A and B\. Say which",
        ),
        (
            {"family": ["A=xx", "B=fr", "=sw"]},
            r"s0: Unknown language 'xx'(.|\n)*s2: --family '=sw': has no name",
        ),
        (
            {"shared": "first"},
            r"--shared 'first': no such model or family\. Give mean, a model \(.*s0, .*family",
        ),
        (
            {"family": ["A=de", "A=nl", "B=sw"], "shared": "a"},
            "--shared 'a': several models are of that family",
        ),
        ({"settings": ExpertSettings(top_k=4)}, "--top-k 4: there are 3 experts"),
        ({"settings": ExpertSettings(layers=9)}, "--layers 9: the model has 2 layers"),
        ({"families": "nothing"}, "--families 'nothing': neither a preset nor a file"),
        ({"families": "apollo"}, "s0: In no family of the preset apollo: Dutch"),
        ({"out": None}, "no output directory was given"),
    ],
)
def test_a_wrong_request_leaves_nothing(
    request_: dict[str, Any], message: str, students: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        moe_merge(students, **{"out": tmp_path / "x", **request_})
    assert not list(tmp_path.iterdir())


def test_manifests_that_do_not_say_a_family(students: list[Path], tmp_path: Path) -> None:
    silent = variant(students[0], tmp_path / "silent", drop(MANIFEST_FILE))
    two = variant(
        students[0], tmp_path / "two",
        edit(MANIFEST_FILE, languages=[{"code": "eng-Latn"}, {"code": "swh-Latn"}]),
    )  # fmt: skip
    with pytest.raises(InputError) as caught:
        moe_merge([silent, two, students[2]], out=tmp_path / "x")
    assert f"{silent}: its manifest names no languages." in str(caught.value)
    assert f"{two}: its manifest names languages of several families: eng-Latn, swh-Latn (Ger" in str(
        caught.value
    )
    with pytest.raises(InputError) as caught:
        moe_merge([two, two], out=tmp_path / "x")
    assert str(caught.value).count("names languages of several families") == 1


def test_models_that_cannot_be_merged(students: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="One model makes no mixture"):
        moe_merge(students[:1], out=tmp_path / "x")
    moe_upcycle(students[0], out=tmp_path / "moe", langs="de,fr")
    with pytest.raises(InputError, match="has experts already"):
        moe_merge([students[1], tmp_path / "moe"], out=tmp_path / "x", family=["A=fr", "B=de"])
    with pytest.raises(InputError, match="is or holds the model it is to be made from"):
        moe_merge(students, out=students[2], overwrite=True)
