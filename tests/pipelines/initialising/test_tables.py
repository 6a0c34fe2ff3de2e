"""Tables: what becomes of each tensor over the vocabulary, in any type, and the sizes that were promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from polycompress.errors import InputError
from polycompress.pipelines.initialising.tables import check_tables
from polycompress.pipelines.ofa import ofa
from polycompress.pipelines.tokenizer import train_tokenizer
from polycompress.pipelines.trimming.loading import open_model
from tests.pipelines.initialising.worlds import write_corpora
from tests.tiny_models import make_tiny


@pytest.fixture(scope="module")
def tok(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tok")
    train_tokenizer(write_corpora(root), size=60, out=root / "tok")
    return root / "tok"


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


@pytest.mark.parametrize(
    ("family", "head", "options", "rank"),
    [
        ("xlm-roberta", "mlm", {"copies": True}, None),
        ("xlm-roberta", "mlm", {"copies": True}, 4),
        ("xlm-roberta", "mlm", {"dtype": "bfloat16"}, 4),
        ("mbart", "s2s", {"dtype": "float16"}, None),
        ("llama", "clm", {"tied": False, "dtype": "bfloat16"}, None),
        ("bert", "mlm", {"tied": False}, 5),
        ("xlm-roberta", "base", {}, 4),
    ],
)
def test_sizes_are_as_promised(
    tok: Path, family: str, head: str, options: dict[str, object], rank: int | None, tmp_path: Path
) -> None:
    source = make_tiny(family, head, tmp_path / "model", layout="fairseq", **options)  # type: ignore[arg-type]
    planned = ofa(source, tokenizer=tok, init="random", rank=rank, dry_run=True)
    result = ofa(source, tokenizer=tok, init="random", rank=rank, out=tmp_path / "out")
    assert planned.sizes == result.sizes
    made = tensors_of(tmp_path / "out")
    assert result.sizes["after"]["bytes"] == sum(each.nbytes for each in made.values())
    dtypes = {each.dtype for each in tensors_of(source).values()}
    assert {each.dtype for each in made.values()} == dtypes
    for name in open_model(source).axes.axes:
        if name in made:
            assert result.plan.size in made[name].shape


def test_every_table_and_bias_gets_the_same_plan(tok: Path, tmp_path: Path) -> None:
    source = make_tiny("xlm-roberta", "mlm", tmp_path / "model", copies=True)
    result = ofa(source, tokenizer=tok, init="covariance", out=tmp_path / "out")
    before, made = tensors_of(source), tensors_of(tmp_path / "out")
    table, bias = "roberta.embeddings.word_embeddings.weight", "lm_head.bias"
    assert torch.equal(made[table], made["lm_head.decoder.weight"])
    assert torch.equal(made[bias], made["lm_head.decoder.bias"])
    plan = result.plan.rows
    drawn = np.flatnonzero(plan.sources[:, 0] < 0)
    copied = np.flatnonzero(plan.sources[:, 0] >= 0)
    assert not made[bias][drawn].any()
    assert made[table][drawn].any(dim=1).all()
    assert torch.equal(made[bias][copied], before[bias][plan.sources[copied, 0]])


def test_a_head_of_its_own_stays_dense_beside_factors(tok: Path, tmp_path: Path) -> None:
    source = make_tiny("bert", "mlm", tmp_path / "model", layout="fairseq", tied=False)
    result = ofa(source, tokenizer=tok, init="random", rank=5, out=tmp_path / "out")
    made = tensors_of(tmp_path / "out")
    assert made["cls.predictions.decoder.weight"].shape == (result.plan.size, 16)
    assert made["bert.embeddings.word_embeddings.coordinates"].shape == (result.plan.size, 5)


def test_a_type_that_cannot_be_averaged_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    source = make_tiny("xlm-roberta", "mlm", tmp_path / "model")
    tensors = tensors_of(source)
    name = "roberta.embeddings.word_embeddings.weight"
    tensors[name] = tensors[name].to(torch.float8_e4m3fn)
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"is of type F8_E4M3; rows of F64, F32, F16, BF16 can be averaged"):
        check_tables(open_model(source), None)
