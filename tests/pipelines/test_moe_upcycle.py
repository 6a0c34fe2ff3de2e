from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from polycompress.errors import InputError
from polycompress.modeldir.directory import read_json
from polycompress.modeldir.manifest import read_manifest
from polycompress.modeldir.tensors import open_checkpoint
from polycompress.moe.config import MoeConfig
from polycompress.pipelines.experts.request import ExpertSettings
from polycompress.pipelines.factorise import factorise_model
from polycompress.pipelines.moe_upcycle import moe_upcycle
from polycompress.pipelines.trimming.loading import open_model
from polycompress.vocab.counts import Counts, LanguageCounts, save_counts
from tests.tampering import change, edit, put, shards, variant
from tests.tiny_models import make_tiny

LANGS = "de,nl,fr,sw"
UP = "roberta.encoder.layer.1.intermediate.dense.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "plain", vocab_size=350)


@pytest.fixture(scope="module")
def upcycled(source: Path) -> Path:
    out = source.parent / "moe"
    settings = ExpertSettings(layers=1, seed=4)
    moe_upcycle(source, out=out, langs=LANGS, settings=settings, command=["polycompress", "moe", "upcycle"])
    return out


def weights(root: Path) -> dict[str, torch.Tensor]:
    return {
        name: each for file in sorted(root.glob("*.safetensors")) for name, each in load_file(file).items()
    }


def replaced(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """The tensor of experts in the place of each that is gone, by the order in which the method note lists them."""
    parts = {
        "intermediate.dense.weight": "moe.experts.up", "intermediate.dense.bias": "moe.experts.up_bias",
        "output.dense.weight": "moe.experts.down", "output.dense.bias": "moe.experts.down_bias",
        "mlp.gate_proj.weight": "mlp.experts.gate", "mlp.up_proj.weight": "mlp.experts.up",
        "mlp.down_proj.weight": "mlp.experts.down",
    }  # fmt: skip
    gone = before.keys() - after.keys()
    return {name: name.replace(old, new) for name in gone for old, new in parts.items() if name.endswith(old)}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("family", "head"), [("bert", "sequence"), ("xlm-roberta", "mlm"), ("qwen3", "clm")])
def test_experts_are_copies_and_all_else_stays(family: str, head: str, dtype: str, tmp_path: Path) -> None:
    source = make_tiny(family, head, tmp_path / "plain", vocab_size=350, dtype=dtype)
    result = moe_upcycle(
        source, out=tmp_path / "moe", langs=LANGS, noise=0.0, settings=ExpertSettings(layers=1)
    )
    before, after = weights(source), weights(tmp_path / "moe")
    pairs = replaced(before, after)
    assert len(pairs) == (3 if family == "qwen3" else 4)
    routers = [name for name in after if name.endswith("router.weight")]
    assert len(routers) == 1 and after[routers[0]].dtype is torch.float32
    assert after.keys() == (before.keys() - pairs.keys()) | {*pairs.values(), *routers}
    for old, new in pairs.items():
        assert ".1." in old and torch.equal(after[new], before[old].expand(3, *before[old].shape))
    assert all(torch.equal(after[name], before[name]) for name in before.keys() & after.keys())
    assert (tmp_path / "moe" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert "the router's gradient is exactly 0" in result.notes[0]


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize(("kind", "head"), [("roberta", "base"), ("qwen2", "base")])
def test_it_begins_as_what_it_was_made_of(kind: str, head: str, noise: float, tmp_path: Path) -> None:
    import polycompress.auto  # noqa: F401  the classes of models with experts

    source = make_tiny(kind, head, tmp_path / "plain", vocab_size=350)
    moe_upcycle(source, out=tmp_path / "moe", langs=LANGS, noise=noise)
    ids = torch.randint(10, 200, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = [
            AutoModel.from_pretrained(each).eval()(input_ids=ids).last_hidden_state
            for each in (source, tmp_path / "moe")
        ]
    gap = float((states[0] - states[1]).abs().max())
    assert gap < 1e-5 if noise == 0 else 1e-5 < gap < 0.1


def test_the_configuration_keeps_every_field(source: Path, upcycled: Path) -> None:
    old, new = (read_json(each, "config.json") or {} for each in (source, upcycled))
    moe = MoeConfig(
        layers=(1,), experts=3, top_k=2, preset="glottolog-branch",
        families={"Germanic": (0,), "Romance": (1,), "Narrow Bantu": (2,)},
        languages={
            "deu-Latn": "Germanic", "nld-Latn": "Germanic", "fra-Latn": "Romance", "swh-Latn": "Narrow Bantu",
        },
    )  # fmt: skip
    changed = {"model_type": "moe-xlm-roberta", "architectures": ["MoeXLMRobertaForMaskedLM"]}
    assert new == {**old, **changed, "moe": moe.as_dict()}


def test_sizes_are_those_of_the_files_and_of_the_formula(source: Path, upcycled: Path) -> None:
    sizes = (read_manifest(upcycled) or {})["sizes"]
    before, after = (weights(each) for each in (source, upcycled))
    values = sum(each.numel() for each in after.values()) - sum(each.numel() for each in before.values())
    width, inner, layers, experts = 16, 24, 1, 3
    network = 2 * width * inner + width + inner
    assert values == layers * ((experts - 1) * network + experts * width)
    assert sizes["after"]["parameters"] == sizes["before"]["parameters"] + values
    assert sizes["after"]["active_parameters"] == sizes["after"]["parameters"] - layers * network
    assert sizes["before"]["active_parameters"] == sizes["before"]["parameters"]
    assert sizes["after"]["bytes"] == sum(each.nbytes for each in after.values())


def test_a_plan_has_the_sizes_of_the_result(source: Path, upcycled: Path, tmp_path: Path) -> None:
    settings = ExpertSettings(layers=1, seed=4)
    result = moe_upcycle(source, out=tmp_path / "x", langs=LANGS, settings=settings, dry_run=True)
    found = read_manifest(upcycled) or {}
    assert result.out is None and not list(tmp_path.iterdir())
    assert {when: dict(each) for when, each in result.sizes.items()} == found["sizes"]
    assert json.loads(json.dumps(result.facts())) == found["experts"]


def test_one_expert_is_the_model_and_a_router(source: Path, tmp_path: Path) -> None:
    result = moe_upcycle(source, out=tmp_path / "moe", langs="de,nl", noise=0.0)
    assert (result.moe.experts, result.moe.top_k, result.notes) == (1, 1, ())
    grown = result.sizes["after"]["parameters"] - result.sizes["before"]["parameters"]
    assert grown == 2 * 16
    assert result.sizes["after"]["active_parameters"] == result.sizes["after"]["parameters"]


def test_the_manifest_and_the_card_tell_all(source: Path, upcycled: Path) -> None:
    found = read_manifest(upcycled) or {}
    assert found["seed"] == 4 and found["config"]["noise"] == 0.01 and found["config"]["layers"] == 1
    assert [each["code"] for each in found["languages"]] == ["deu-Latn", "nld-Latn", "fra-Latn", "swh-Latn"]
    assert found["source"]["files"].keys() == {"config.json", "tokenizer.json", "model.safetensors"}
    card = (upcycled / "README.md").read_text()
    assert "# plain, with 3 experts of language families" in card and "layer 1 (counted from 0)" in card
    assert "| 0 | Germanic | deu-Latn, nld-Latn | 50.0% |" in card


def test_noise_makes_experts_differ_and_a_seed_repeats_them(
    source: Path, upcycled: Path, tmp_path: Path
) -> None:
    base, found = (
        weights(source)[UP],
        weights(upcycled)[UP.replace("intermediate.dense.weight", "moe.experts.up")],
    )
    gaps = (found - base).flatten(1).double()
    assert gaps.std(dim=1).numpy() == pytest.approx(0.01 * float(base.double().std()), rel=0.2)
    assert len({each.numpy().tobytes() for each in gaps}) == 3
    for seed, same in ((4, True), (5, False)):
        again = tmp_path / str(seed)
        moe_upcycle(source, out=again, langs=LANGS, settings=ExpertSettings(layers=1, seed=seed))
        assert (
            (again / "model.safetensors").read_bytes() == (upcycled / "model.safetensors").read_bytes()
        ) is same


def test_shards_stay_shards(source: Path, upcycled: Path, tmp_path: Path) -> None:
    cut = variant(source, tmp_path / "cut", shards)
    moe_upcycle(cut, out=tmp_path / "moe", langs=LANGS, settings=ExpertSettings(layers=1, seed=4))
    index = read_json(tmp_path / "moe", "model.safetensors.index.json") or {}
    assert index["weight_map"].keys() == open_checkpoint(upcycled).tensors.keys()
    whole, parts = weights(upcycled), weights(tmp_path / "moe")
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    assert index["metadata"]["total_size"] == sum(each.nbytes for each in parts.values())


def test_sentence_transformers_keep_their_modules(source: Path, tmp_path: Path) -> None:
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    encoder = variant(source, tmp_path / "st", put("modules.json", json.dumps(modules)))
    (encoder / "1_Pooling").mkdir()
    (encoder / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 16}')
    moe_upcycle(encoder, out=tmp_path / "moe", langs=LANGS)
    for name in ("modules.json", "1_Pooling/config.json"):
        assert (tmp_path / "moe" / name).read_bytes() == (encoder / name).read_bytes()


def counted(source: Path, path: Path, tokens: Mapping[str, int]) -> Path:
    vocabulary = open_model(source).vocabulary
    languages = {
        code: LanguageCounts(
            ids=np.array([10, 11]),
            counts=np.array([total - 1, 1]),
            texts=1,
            characters=1,
            bytes=1,
            seen_once=1,
        )
        for code, total in tokens.items()
    }
    save_counts(
        Counts(tokenizer_sha256=vocabulary.sha256, vocab_size=vocabulary.size, languages=languages), path
    )
    return path


def test_counts_share_experts_out(source: Path, tmp_path: Path) -> None:
    first = counted(source, tmp_path / "a.npz", {"deu-Latn": 600, "nld-Latn": 200})
    second = counted(source, tmp_path / "b.npz", {"fra-Latn": 150, "swh-Latn": 50})
    result = moe_upcycle(source, langs=LANGS, experts=4, counts=[first, second], dry_run=True)
    assert result.plan.families == {"Germanic": (0, 1), "Romance": (2,), "Narrow Bantu": (3,)}
    assert result.plan.loads == pytest.approx((0.4, 0.4, 0.15, 0.05))
    with pytest.raises(
        InputError, match=r"how many tokens there are of French \(fra-Latn\), Swahili \(swh-Latn\)"
    ):
        moe_upcycle(source, langs=LANGS, experts=4, counts=first, dry_run=True)


def test_text_shares_experts_out(source: Path, tmp_path: Path) -> None:
    for code, lines in (("de", 40), ("nl", 40), ("fr", 10), ("sw", 10)):
        (tmp_path / f"{code}.txt").write_text("Der schnelle braune Fuchs springt.\n" * lines)
    corpus = [f"{code}={tmp_path / code}.txt" for code in LANGS.split(",")]
    result = moe_upcycle(source, langs=LANGS, experts=2, corpus=corpus, dry_run=True)
    assert result.plan.families == {"Germanic": (0,), "Romance": (0,), "Narrow Bantu": (1,)}
    assert result.plan.tokens["deu-Latn"] > 3 * result.plan.tokens["fra-Latn"]


def test_a_table_of_one_s_own(source: Path, tmp_path: Path) -> None:
    table = tmp_path / "own.tsv"
    table.write_text("language\tfamily\nde\tNorth\nfr\tSouth\nsw\tSouth\n")
    result = moe_upcycle(source, families=table, dry_run=True)
    assert result.moe.languages == {"deu-Latn": "North", "fra-Latn": "South", "swh-Latn": "South"}
    assert result.moe.preset is None
    placed = moe_upcycle(source, families=table, langs="de,it", unknown="south", dry_run=True)
    assert placed.moe.languages == {"deu-Latn": "North", "ita-Latn": "South"}
    with pytest.raises(InputError, match=r"In no family of .*own\.tsv: Italian \(ita-Latn\)"):
        moe_upcycle(source, families=table, langs="de,it", dry_run=True)
    table.write_text("de\tNorth\nfr\nde\tSouth\n")
    with pytest.raises(
        InputError, match=r"own\.tsv.*\n  line 2: has no tab.*\n  line 3: puts deu-Latn into 'South', bu"
    ):
        moe_upcycle(source, families=table, langs="de", dry_run=True)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"langs": ""}, "No language was given"),
        ({"langs": "de,xx"}, "Unknown language 'xx'"),
        (
            {"families": "apollo", "langs": "de,tr"},
            r"In no family of the preset apollo: Turkish \(tur-Latn\)",
        ),
        (
            {"families": "glottolog"},
            r"--families 'glottolog': neither a preset nor a file\. Did you mean glottolog-",
        ),
        ({"unknown": "Elvish"}, "Unknown language family 'Elvish'"),
        ({"noise": -0.1}, "--noise -0.1: give a share"),
        ({"noise": math.nan}, "--noise nan"),
        ({"experts": 0}, "--experts 0: give a number"),
        ({"corpus": "nothing-there.txt"}, "does not say its language"),
        ({"out": None}, "no output directory was given"),
    ],
)
def test_a_wrong_request_leaves_nothing(
    request_: dict[str, Any], message: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        moe_upcycle(source, **{"out": tmp_path / "x", "langs": LANGS, **request_})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 3}, r"--layers 3: the model has 2 layers"),
        ({"layer_list": (0, 5)}, r"--layer-list names layer 5, outside the model: it has the layers 0 to 1"),
        ({"layer_list": (0, 0)}, "names layer 0 twice"),
        ({"layers": 1, "layer_list": (0,)}, "cannot be combined"),
        ({"top_k": 4}, "--top-k 4: there are 3 experts"),
        ({"routing": "hard"}, "--routing 'hard': give one of plain, forced"),
        ({"seed": -1}, "--seed -1: give a number"),
    ],
)
def test_wrong_settings_leave_nothing(
    settings: dict[str, Any], message: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        moe_upcycle(source, out=tmp_path / "x", langs=LANGS, settings=ExpertSettings(**settings))
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_have_experts(source: Path, upcycled: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has experts already .*polycompress moe extract"):
        moe_upcycle(upcycled, out=tmp_path / "x", langs=LANGS)
    factorise_model(source, rank=4, out=tmp_path / "f")
    with pytest.raises(InputError, match=r"its table is factorised .*polycompress ofa export"):
        moe_upcycle(tmp_path / "f", out=tmp_path / "x", langs=LANGS)
    other = make_tiny("distilbert", "mlm", tmp_path / "d", vocab_size=300)
    with pytest.raises(InputError, match=r"model_type 'distilbert': it is not known where its feed-forward"):
        moe_upcycle(other, out=tmp_path / "x", langs=LANGS)
    with pytest.raises(InputError, match="already exists"):
        moe_upcycle(source, out=upcycled, langs=LANGS)
    with pytest.raises(InputError, match="is or holds the model it is to be made from"):
        moe_upcycle(source, out=source, langs=LANGS, overwrite=True)
    assert not (tmp_path / "x").exists()


def test_networks_that_are_not_understood_are_named(source: Path, tmp_path: Path) -> None:
    tensors = load_file(source / "model.safetensors")
    tensors["roberta.encoder.layer.1.intermediate.gate.weight"] = torch.zeros(2)
    del tensors["roberta.encoder.layer.1.output.dense.bias"]
    odd = variant(source, tmp_path / "odd")
    save_file(tensors, odd / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError) as caught:
        moe_upcycle(odd, out=tmp_path / "x", langs=LANGS)
    assert "layer.1.output.dense.bias is missing" in str(caught.value)
    assert "layer.1.intermediate.gate.weight [2] is not understood" in str(caught.value)
    assert str(odd) in str(caught.value) and not (tmp_path / "x").exists()
    wide = variant(source, tmp_path / "wide", edit("config.json", intermediate_size=25))
    with pytest.raises(InputError, match=r"intermediate\.dense\.weight is \[24, 16\] instead of \[25, 16\]"):
        moe_upcycle(wide, out=tmp_path / "x", langs=LANGS)


def test_noise_needs_floats_and_room(source: Path, tmp_path: Path) -> None:
    tensors = load_file(source / "model.safetensors")
    packed = {**tensors, UP: tensors[UP].to(torch.float8_e4m3fn)}
    odd = variant(source, tmp_path / "odd")
    save_file(packed, odd / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"Noise is added to the experts \(--noise 0 leaves it out\), but these .*F8_E4M3"
    ):
        moe_upcycle(odd, out=tmp_path / "x", langs=LANGS)
    moe_upcycle(odd, out=tmp_path / "x", langs=LANGS, noise=0.0)
    full = {**tensors, UP: torch.full_like(tensors[UP], 65504.0).half()}
    full[UP][0] = -65504.0
    save_file(full, odd / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"odd: tensor 'roberta.*': a value is larger than the type F16 holds"
    ):
        moe_upcycle(odd, out=tmp_path / "y", langs=LANGS, noise=1.0)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["odd", "x"]


def test_code_of_the_source_is_not_named(source: Path, tmp_path: Path) -> None:
    odd = variant(
        source, tmp_path / "odd", change("config.json", lambda each: each.update(auto_map={"A": "b.C"}))
    )
    moe_upcycle(odd, out=tmp_path / "moe", langs=LANGS)
    assert "auto_map" not in (read_json(tmp_path / "moe", "config.json") or {})


def test_torch_is_not_needed(source: Path, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom polycompress.pipelines.moe_upcycle import moe_upcycle\n"
        "import polycompress.pipelines.moe_extract, polycompress.pipelines.moe_merge\n"
        f"moe_upcycle({str(source)!r}, out={str(tmp_path / 'moe')!r}, langs='de,fr')\n"
        "print(sorted({'torch', 'transformers', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
