from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification

from polycompress.errors import CertificateError, InputError
from polycompress.modeldir.directory import read_json
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines import moe_extract as pipeline
from polycompress.pipelines.experts.request import ExpertSettings
from polycompress.pipelines.moe_extract import moe_extract
from polycompress.pipelines.moe_upcycle import moe_upcycle
from polycompress.pipelines.trim import trim
from tests.tampering import change, shards, variant
from tests.tiny_models import make_tiny

LANGS = "de,nl,en,fr,sw"
MODELS = {
    "mlm": AutoModelForMaskedLM,
    "clm": AutoModelForCausalLM,
    "sequence": AutoModelForSequenceClassification,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "plain", vocab_size=350)


@pytest.fixture(scope="module")
def source(plain: Path) -> Path:
    """Four experts that differ: two of Germanic, one of Romance, one of Bantu."""
    settings = ExpertSettings(layers=1)
    moe_upcycle(plain, out=plain.parent / "moe", langs=LANGS, experts=4, noise=0.5, settings=settings)
    return plain.parent / "moe"


@pytest.mark.parametrize(
    ("family", "head", "dtype", "parted"),
    [
        ("bert", "sequence", "float32", False),
        ("bert", "sequence", "float32", True),
        ("roberta", "mlm", "float16", False),
        ("xlm-roberta", "mlm", "bfloat16", False),
        ("xlm-roberta", "mlm", "float32", True),
        ("camembert", "mlm", "float32", False),
        ("llama", "sequence", "float16", False),
        ("mistral", "clm", "float32", True),
        ("qwen2", "clm", "bfloat16", False),
        ("qwen3", "sequence", "float32", False),
    ],
)
def test_what_was_put_in_comes_out_bit_for_bit(
    family: str, head: str, dtype: str, parted: bool, tmp_path: Path
) -> None:
    plain = make_tiny(family, head, tmp_path / "plain", vocab_size=350, dtype=dtype)
    if parted:
        shards(plain)
    moe_upcycle(plain, out=tmp_path / "moe", langs=LANGS, noise=0.0)
    result = moe_extract(tmp_path / "moe", family="Germanic", out=tmp_path / "back")
    assert (tmp_path / "back" / "config.json").read_bytes() == (plain / "config.json").read_bytes()
    files = sorted(each.name for each in plain.glob("*.safetensors"))
    assert files == sorted(each.name for each in (tmp_path / "back").glob("*.safetensors"))
    for name in files:
        assert (tmp_path / "back" / name).read_bytes() == (plain / name).read_bytes()
    _, report = MODELS[head].from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(report.values()), report
    assert (
        result.sizes["after"]["parameters"]
        == (read_manifest(tmp_path / "moe") or {})["sizes"]["before"]["parameters"]
    )


def test_one_expert_is_the_network(plain: Path, source: Path, tmp_path: Path) -> None:
    result = moe_extract(source, family="Bantu", out=tmp_path / "bantu")
    assert (result.family, result.expert, result.layers) == ("Narrow Bantu", 3, (1,))
    moe, found, before = (
        load_file(each / "model.safetensors") for each in (source, tmp_path / "bantu", plain)
    )
    start = "roberta.encoder.layer.1."
    for old, new in (("intermediate.dense.weight", "up"), ("intermediate.dense.bias", "up_bias"),
                     ("output.dense.weight", "down"), ("output.dense.bias", "down_bias")):  # fmt: skip
        assert torch.equal(found[start + old], moe[f"{start}moe.experts.{new}"][3])
        assert not torch.equal(found[start + old], before[start + old]) or "bias" in old
    assert found.keys() == before.keys()
    others = [
        name for name in before if not name.startswith((f"{start}intermediate", f"{start}output.dense"))
    ]
    assert all(torch.equal(found[name], before[name]) for name in others)
    manifest = read_manifest(tmp_path / "bantu") or {}
    assert manifest["extraction"] == {
        "family": "Narrow Bantu", "expert": 3, "layers": [1], "languages": ["swh-Latn"],
    }  # fmt: skip
    assert manifest["languages"] == [{"code": "swh-Latn", "name": "Swahili"}]
    assert "# moe, its Narrow Bantu expert" in (tmp_path / "bantu" / "README.md").read_text()


@pytest.mark.parametrize(("kind", "head"), [("bert", "sequence"), ("xlm-roberta", "mlm"), ("llama", "clm")])
def test_it_computes_what_the_source_does_where_all_tokens_go_to_its_expert(
    kind: str, head: str, tmp_path: Path
) -> None:
    import polycompress.auto  # noqa: F401  the classes of models with experts

    plain = make_tiny(kind, head, tmp_path / "plain", vocab_size=350)
    settings = ExpertSettings(top_k=1, routing="forced")  # one expert of weight 1, that of the language
    moe_upcycle(plain, out=tmp_path / "moe", langs="de,fr,sw", noise=2.0 / 3, settings=settings)
    moe = MODELS[head].from_pretrained(tmp_path / "moe").eval()
    ids = torch.randint(10, 200, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    found = []
    for family, code in (("Germanic", "deu-Latn"), ("Romance", "fra-Latn"), ("Bantu", "swh-Latn")):
        moe_extract(tmp_path / "moe", family=family, out=tmp_path / family)
        one = MODELS[head].from_pretrained(tmp_path / family).eval()
        language = ["deu-Latn", "fra-Latn", "swh-Latn"].index(code)  # ids are in the order of codes
        with torch.no_grad():
            ours = one(input_ids=ids, attention_mask=mask).logits
            theirs = moe(input_ids=ids, attention_mask=mask, language_ids=torch.full((2,), language)).logits
        kept = mask.bool() if ours.ndim == 3 else slice(None)
        torch.testing.assert_close(theirs[kept], ours[kept], rtol=1e-5, atol=1e-5)
        found.append(ours[kept])
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_a_family_of_several_experts_needs_a_choice(source: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"the family Germanic has 2 experts \(0, 1\).*choose with --expert N"
    ):
        moe_extract(source, family="Germanic", out=tmp_path / "x")
    with pytest.raises(InputError, match=r"--expert 3: is none of the family Germanic, which has 0, 1\."):
        moe_extract(source, family="Germanic", expert=3, out=tmp_path / "x")
    assert not list(tmp_path.iterdir())
    assert moe_extract(source, family="Germanic", expert=1, dry_run=True).expert == 1


def test_an_expert_of_several_families_says_so(plain: Path, tmp_path: Path) -> None:
    moe_upcycle(plain, out=tmp_path / "moe", langs=LANGS, experts=2)
    result = moe_extract(tmp_path / "moe", family="romance", out=tmp_path / "x")
    assert result.notes == ("the source's expert 0 serves other families as well: Germanic",)
    assert "serves other families as well: Germanic" in (tmp_path / "x" / "README.md").read_text()


def test_an_unknown_family_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        moe_extract(source, family="Germanik", out=tmp_path / "x")
    assert str(caught.value) == (
        f"{source}: Unknown family 'Germanik'. Did you mean Germanic? Its families: Germanic, Narrow Bantu, Romance."
    )
    assert not list(tmp_path.iterdir())


def test_models_without_sound_experts_are_refused(plain: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"has no experts \(model_type 'xlm-roberta'\)\. Give it some: polycompress"
    ):
        moe_extract(plain, family="Romance", out=tmp_path / "x")
    odd = variant(
        source, tmp_path / "a", change("config.json", lambda each: each["moe"].update(layers=[7], top_k=9))
    )
    with pytest.raises(
        InputError, match=r"config\.json: moe: .*\n.*names layer 7, but.*\n.*'top_k' is 9, more than"
    ):
        moe_extract(odd, family="Romance", out=tmp_path / "x")
    lost = variant(source, tmp_path / "b")
    tensors = load_file(source / "model.safetensors")
    del tensors["roberta.encoder.layer.1.moe.router.weight"]
    tensors["roberta.encoder.layer.1.moe.experts.up"] = tensors["roberta.encoder.layer.1.moe.experts.up"][
        :2
    ].clone()
    save_file(tensors, lost / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"router\.weight is missing; .*experts\.up is \[2, 24, 16\] instead of \[4,"
    ):
        moe_extract(lost, family="Romance", out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"out": None}, "no output directory was given"),
        ({"corpus": "de=x.txt"}, "--corpus says what the vocabulary is trimmed to: add --trim"),
        (
            {"corpus": "de=x.txt", "trim": True},
            r"is German \(deu-Latn\), which was not asked for: add it to the family",
        ),
    ],
)
def test_a_wrong_request_leaves_nothing(
    request_: dict[str, Any], message: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        moe_extract(source, **{"family": "Romance", "out": tmp_path / "x", **request_})
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_refused_or_replaced(source: Path, tmp_path: Path) -> None:
    moe_extract(source, family="Romance", out=tmp_path / "x")
    with pytest.raises(InputError, match="already exists"):
        moe_extract(source, family="Bantu", out=tmp_path / "x")
    moe_extract(source, family="Germanic", expert=1, out=tmp_path / "x", overwrite=True, trim=True)
    assert (read_manifest(tmp_path / "x") or {})["extraction"]["family"] == "Germanic"
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_a_trimmed_extract(source: Path, tmp_path: Path) -> None:
    planned = moe_extract(source, family="Romance", trim=True, dry_run=True)
    result = moe_extract(source, family="Romance", trim=True, out=tmp_path / "a" / "x")
    assert [each.name for each in tmp_path.rglob("*") if each.name.startswith(".")] == []
    assert planned.trim is not None and result.trim is not None and result.trim.certificate is not None
    assert planned.trim.plan.as_dict() == result.trim.plan.as_dict()
    assert result.trim.certificate.passed
    manifest = read_manifest(tmp_path / "a" / "x") or {}
    assert manifest["source"]["spec"] == str(source)
    assert manifest["source"]["files"].keys() == {"config.json", "tokenizer.json", "model.safetensors"}
    assert manifest["extraction"]["sizes"] == json.loads(json.dumps(result.as_dict()["sizes"]))
    assert manifest["sizes"]["after"]["vocab"] < manifest["sizes"]["before"]["vocab"]
    assert "# moe, its Romance expert, trimmed to French" in (tmp_path / "a" / "x" / "README.md").read_text()
    _, report = AutoModelForMaskedLM.from_pretrained(tmp_path / "a" / "x", output_loading_info=True)
    assert not any(report.values()), report


def test_trimming_and_extracting_go_in_either_order(source: Path, tmp_path: Path) -> None:
    text = tmp_path / "fr.txt"
    text.write_text("Le petit prince habitait une planète.\n" * 50)
    corpus = f"fr={text}"
    moe_extract(source, family="Romance", trim=True, corpus=corpus, out=tmp_path / "one")
    trim(source, langs="fr", corpus=corpus, out=tmp_path / "small")
    assert (read_json(tmp_path / "small", "config.json") or {})["moe"] == (
        read_json(source, "config.json") or {}
    )["moe"]
    moe_extract(tmp_path / "small", family="Romance", out=tmp_path / "other")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_language_without_words_or_text_leaves_nothing(plain: Path, tmp_path: Path) -> None:
    moe_upcycle(plain, out=tmp_path / "moe", langs="fr,yo")
    with pytest.raises(InputError, match="Yoruba"):
        moe_extract(tmp_path / "moe", family="Defoid", trim=True, out=tmp_path / "x")
    assert [each.name for each in tmp_path.iterdir()] == ["moe"]


def test_a_failed_certificate_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any, **options: Any) -> None:
        raise CertificateError("it differs")

    monkeypatch.setattr(pipeline, "trim_opened", failing)
    with pytest.raises(CertificateError):
        moe_extract(source, family="Romance", trim=True, out=tmp_path / "x")
    assert not list(tmp_path.iterdir())
