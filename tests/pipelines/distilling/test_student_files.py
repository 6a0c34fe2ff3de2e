"""Students written to the disk: the right tensors, bit for bit, in a directory that transformers loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from polycompress.distill.layer_map import LayerMap, bottom, every_nth
from polycompress.distill.layers import plan_layers
from polycompress.errors import InputError
from polycompress.modeldir.checkpoint import INDEX_FILE, open_checkpoint
from polycompress.modeldir.manifest import pack_ids, read_manifest, unpack_ids
from polycompress.pipelines.distilling.student_files import write_student
from tests.command_line import tree
from tests.tiny_models import make_tiny

RECORD = {"command": ["polycompress", "bistil", "general"], "config": {"layers": 2}, "seed": 3}
FAMILIES = {
    "bert": {"num_hidden_layers": 4},
    "xlm-roberta": {"num_hidden_layers": 4},
    "distilbert": {"n_layers": 4},
    "mpnet": {"num_hidden_layers": 4},
    "modernbert": {"num_hidden_layers": 4, "local_attention": 4},
    "deberta-v2": {"num_hidden_layers": 4, "conv_kernel_size": 3},
    "llama": {"num_hidden_layers": 4},
    "qwen3": {
        "num_hidden_layers": 4,
        "use_sliding_window": True,
        "sliding_window": 4,
        "max_window_layers": 2,
    },
    "gpt2": {"n_layer": 4},
}


@pytest.fixture(scope="module", params=FAMILIES)
def teacher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    family: str = request.param
    head = "clm" if family in ("llama", "qwen3", "gpt2") else "mlm"
    return make_tiny(family, head, tmp_path_factory.mktemp(family) / "teacher", **FAMILIES[family])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("bert", "mlm", tmp_path_factory.mktemp("plain") / "teacher", num_hidden_layers=4)


def states(path: Path) -> tuple[Any, tuple[torch.Tensor, ...]]:
    model, info = transformers.AutoModel.from_pretrained(path, output_loading_info=True)
    assert all("pooler" in name for name in info["missing_keys"])
    ids = torch.arange(5, 45).reshape(2, 20)
    with torch.no_grad():
        return model.eval(), model.eval()(input_ids=ids, output_hidden_states=True).hidden_states


def last_norm(model: Any) -> Any:
    """What decoders put after their last layer, and so into their last hidden state."""
    return next(
        (getattr(model, name) for name in ("norm", "ln_f", "final_norm") if hasattr(model, name)), None
    )


def test_the_first_layers_compute_what_they_did(teacher: Path, tmp_path: Path) -> None:
    write_student(teacher, bottom(4, 3), tmp_path / "student", RECORD)
    _, taught = states(teacher)
    student, own = states(tmp_path / "student")
    assert len(own) == 4
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(own[:3], taught[:3], strict=True))
    norm = last_norm(student)
    assert torch.equal(own[3], taught[3] if norm is None else norm(taught[3]))


def test_every_second_layer_is_the_teachers_bit_for_bit(teacher: Path, tmp_path: Path) -> None:
    manifest = write_student(teacher, every_nth(4, 2), tmp_path / "student", RECORD)
    before, after = (load_file(path / "model.safetensors") for path in (teacher, tmp_path / "student"))
    config = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    plan = plan_layers(config, before, every_nth(4, 2))
    assert after.keys() == plan.renamed.keys()
    assert all(torch.equal(after[new], before[old]) for new, old in plan.renamed.items())
    layered = [old for new, old in plan.renamed.items() if new != old]
    assert layered
    assert all(".1." in old or ".3." in old for old in layered)
    states(tmp_path / "student")
    assert manifest["student"]["layers"] == [1, 3]
    assert manifest["sizes"]["after"]["parameters"] == sum(each.numel() for each in after.values())


def test_all_layers_give_the_teacher(teacher: Path, tmp_path: Path) -> None:
    write_student(teacher, bottom(4, 4), tmp_path / "student", RECORD)
    before, after = (load_file(path / "model.safetensors") for path in (teacher, tmp_path / "student"))
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        first, second = (
            json.loads((path / name).read_text("utf-8")) for path in (teacher, tmp_path / "student")
        )
        assert first == second


def test_each_layer_goes_on_seeing_what_it_saw(tmp_path: Path) -> None:
    make_tiny(
        "modernbert", "base", tmp_path / "teacher", num_hidden_layers=4, local_attention=4,
        global_attn_every_n_layers=2,
    )  # fmt: skip
    write_student(tmp_path / "teacher", LayerMap((0, 1, 3), 4), tmp_path / "student", RECORD)
    student = transformers.AutoModel.from_pretrained(tmp_path / "student")
    assert student.config.layer_types == ["full_attention", "sliding_attention", "sliding_attention"]


def sharded(source: Path, out: Path) -> Path:
    model = transformers.AutoModelForMaskedLM.from_pretrained(source)
    model.save_pretrained(out, max_shard_size="8KB")
    assert (out / INDEX_FILE).exists()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (out / name).write_bytes((source / name).read_bytes())
    return out


def test_shards_are_read_and_written_one_by_one(plain: Path, tmp_path: Path) -> None:
    source = sharded(plain, tmp_path / "sharded")
    write_student(source, LayerMap((3,), 4), tmp_path / "student", RECORD)
    write_student(plain, LayerMap((3,), 4), tmp_path / "single", RECORD)
    checkpoint = open_checkpoint(tmp_path / "student")
    assert 1 < len(checkpoint.files) < len(open_checkpoint(source).files)
    assert checkpoint.index is not None
    assert checkpoint.index["metadata"]["total_size"] == sum(
        info.nbytes for info in checkpoint.tensors.values()
    )
    _, first = states(tmp_path / "student")
    _, second = states(tmp_path / "single")
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_half_precision_and_odd_sizes_are_copied_as_they_are(plain: Path, tmp_path: Path) -> None:
    source = tmp_path / "teacher"
    make_tiny("bert", "mlm", source, num_hidden_layers=2, dtype="bfloat16")
    tensors = load_file(source / "model.safetensors")
    save_file({**tensors, "a.odd": torch.arange(3, dtype=torch.uint8)}, source / "model.safetensors")
    write_student(source, bottom(2, 1), tmp_path / "student", RECORD)
    after = load_file(tmp_path / "student" / "model.safetensors")
    assert after["a.odd"].tolist() == [0, 1, 2]
    assert {each.dtype for name, each in after.items() if name != "a.odd"} == {torch.bfloat16}


def test_manifest_and_card_say_where_it_comes_from(plain: Path, tmp_path: Path) -> None:
    written = write_student(plain, every_nth(4, 2), tmp_path / "student", RECORD, name="owner/name")
    manifest = read_manifest(tmp_path / "student")
    assert manifest is not None
    assert manifest["command"] == RECORD["command"]
    assert manifest["seed"] == 3
    assert manifest["source"]["name"] == "owner/name"
    assert set(manifest["source"]["files"]) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert "kept_ids" not in manifest
    assert written["student"] == manifest["student"] == {
        "layers": [1, 3], "teacher_layers": 4, "dropped_tensors": 32,
    }  # fmt: skip
    card = (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
    assert "# owner/name, 2 of its 4 layers" in card
    assert "AutoModelForMaskedLM.from_pretrained" in card
    assert "| 1 | 3 |" in card


def test_kept_ids_of_a_trimmed_teacher_are_passed_on(tmp_path: Path) -> None:
    source = make_tiny("bert", "base", tmp_path / "teacher")
    packed = pack_ids(torch.tensor([0, 1, 5]).numpy())
    facts = {"schema": 1, "source": {"name": "big"}, "kept_ids": packed, "languages": [{"code": "swh-Latn"}]}
    (source / "polycompress.json").write_text(json.dumps(facts), encoding="utf-8")
    write_student(source, bottom(2, 1), tmp_path / "student", RECORD)
    manifest = read_manifest(tmp_path / "student")
    assert manifest is not None
    assert unpack_ids(manifest["kept_ids"]).tolist() == [0, 1, 5]
    assert manifest["kept_ids_of"] == "big"
    assert manifest["languages"] == [{"code": "swh-Latn"}]
    write_student(tmp_path / "student", bottom(1, 1), tmp_path / "again", RECORD)
    again = read_manifest(tmp_path / "again")
    assert again is not None
    assert again["kept_ids_of"] == "big"


def test_other_files_come_along(plain: Path, tmp_path: Path) -> None:
    source = tmp_path / "teacher"
    source.mkdir()
    for file in plain.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    (source / "vocab.txt").write_text("a\nb\n", encoding="utf-8")
    (source / "LICENSE").write_text("free", encoding="utf-8")
    (source / "code.py").write_text("raise SystemExit", encoding="utf-8")
    write_student(source, bottom(4, 1), tmp_path / "student", RECORD)
    copied = {path.name for path in (tmp_path / "student").iterdir()}
    assert {"vocab.txt", "LICENSE", "tokenizer.json"} <= copied
    assert "code.py" not in copied


@pytest.mark.parametrize(
    ("family", "fields", "layer_map", "message"),
    [
        ("bert", {}, bottom(4, 2), "teacher of 4 layers, but config.json says 2"),
        ("albert", {}, bottom(2, 1), "share one set of weights"),
    ],
)
def test_what_cannot_be_cut_leaves_nothing_behind(
    family: str, fields: dict[str, Any], layer_map: LayerMap, message: str, tmp_path: Path
) -> None:
    source = make_tiny(family, "base", tmp_path / "teacher", **fields)
    before = tree(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        write_student(source, layer_map, tmp_path / "student", RECORD)
    assert str(source) in str(caught.value)
    assert tree(tmp_path) == before


def test_the_teacher_is_never_overwritten(plain: Path) -> None:
    with pytest.raises(InputError, match="would be lost"):
        write_student(plain, bottom(4, 1), plain, RECORD, overwrite=True)


def test_torch_is_not_needed() -> None:
    import subprocess
    import sys

    script = (
        "import sys, polycompress.pipelines.distilling.student_files\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
