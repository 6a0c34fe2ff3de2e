"""New tokens end to end on tiny models: identity, both sources of tokens, every way, ranks, padding, bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from polycompress.embeddings.initialising.registry import INITIALISERS
from polycompress.embeddings.word_vectors import of_one_language
from polycompress.errors import InputError
from polycompress.pipelines.dense_export import export_dense
from polycompress.pipelines.ofa import ofa
from polycompress.pipelines.tokenizer import train_tokenizer
from polycompress.pipelines.trim import trim
from tests.pipelines.initialising.worlds import make_vectors, write_corpora, write_vectors
from tests.tiny_models import make_tiny

TABLE = "roberta.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, texts and vectors of languages that it does not know, an extended and a new tokenizer."""
    root = tmp_path_factory.mktemp("world")
    make_tiny("xlm-roberta", "mlm", root / "model")
    write_vectors(root / "vectors")
    train_tokenizer(write_corpora(root), size=80, out=root / "tok")
    return root


@pytest.fixture(scope="module")
def corpora(world: Path) -> list[str]:
    return [f"yo={world / 'yor-Latn.txt'}", f"ig={world / 'ibo-Latn.txt'}"]


@pytest.fixture(scope="module")
def check(world: Path) -> list[str]:
    return [f"en={world / 'eng-Latn.txt'}"]


@pytest.fixture(scope="module")
def extended(world: Path, corpora: list[str], check: list[str]) -> Path:
    """The model with new pieces, by the paper's way."""
    ofa(
        world / "model",
        extend="yo,ig",
        corpus=corpora,
        pieces=60,
        vectors=world / "vectors",
        check=check,
        out=world / "extended",
    )
    return world / "extended"


def same_bits(one: Path, other: Path) -> bool:
    before, after = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return before.keys() == after.keys() and all(
        before[name].dtype == after[name].dtype and before[name].tobytes() == after[name].tobytes()
        for name in before
    )


def rows_of(path: Path, table: str = TABLE) -> Any:
    return load_file(path / "model.safetensors")[table]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_same_tokenizer_at_full_width_changes_no_bit(world: Path, dtype: str, tmp_path: Path) -> None:
    """Invariant 3, and that of a table padded past its tokenizer."""
    source = make_tiny("xlm-roberta", "mlm", tmp_path / "model", dtype=dtype, padding_rows=7)
    result = ofa(source, tokenizer=source, vectors=world / "vectors", rank=16, out=tmp_path / "out")
    assert (source / "model.safetensors").read_bytes() == (
        tmp_path / "out" / "model.safetensors"
    ).read_bytes()
    assert result.factorised is None
    assert result.plan.counts["kept"] == result.sizes["before"]["vocab"] == result.sizes["after"]["vocab"]
    assert any("table's width" in note for note in result.notes)
    before, after = (json.loads((each / "config.json").read_text()) for each in (source, tmp_path / "out"))
    assert before == after


@pytest.mark.parametrize(
    ("family", "head", "options"),
    [
        ("bert", "mlm", {"copies": True}),
        ("gpt2", "clm", {}),
        ("llama", "clm", {"tied": False}),
        ("mbart", "s2s", {"copies": True}),
        ("t5", "s2s", {"tied": False}),
        ("distilbert", "mlm", {"tied": False}),
    ],
)
def test_identity_of_other_families(family: str, head: str, options: dict[str, Any], tmp_path: Path) -> None:
    source = make_tiny(family, head, tmp_path / "model", **options)
    ofa(source, tokenizer=source, init="covariance", out=tmp_path / "out")
    assert same_bits(source, tmp_path / "out")


def test_an_extension_keeps_all_old_rows_and_averages_new_ones(world: Path, extended: Path) -> None:
    before, after = (
        load_file(world / "model" / "model.safetensors"),
        load_file(extended / "model.safetensors"),
    )
    manifest = json.loads((extended / "polycompress.json").read_text())
    rules = manifest["ofa"]["rules"]
    old = manifest["sizes"]["before"]["vocab"]
    assert manifest["ofa"]["keeps_ids"] is True
    assert rules["kept"] == old
    assert rules["averaged"] > 5
    assert sum(rules.values()) == manifest["ofa"]["tokens"] == manifest["sizes"]["after"]["vocab"]
    for name in before:
        grown = before[name].shape != after[name].shape
        mine = after[name][:old] if grown else after[name]
        theirs = before[name][:old] if grown else before[name]
        assert mine.tobytes() == theirs.tobytes(), name
        assert grown == (name in (TABLE, "lm_head.bias"))
    # A bias of an average is an average of biases; nothing is added to tokens of which nothing is known.
    assert np.ptp(after["lm_head.bias"][old:]) > 0
    assert np.isfinite(after[TABLE]).all()
    old_tokenizer = Tokenizer.from_file(str(world / "model" / "tokenizer.json"))
    new_tokenizer = Tokenizer.from_file(str(extended / "tokenizer.json"))
    assert old_tokenizer.encode("The quick brown fox").ids == new_tokenizer.encode("The quick brown fox").ids
    assert len(new_tokenizer.encode("ụlọnla nwako").ids) < len(old_tokenizer.encode("ụlọnla nwako").ids)


def test_the_record_and_the_card_tell_what_was_done(world: Path, extended: Path) -> None:
    manifest = json.loads((extended / "polycompress.json").read_text())
    facts = manifest["ofa"]
    assert {each["code"] for each in manifest["languages"]} == {"yor-Latn", "ibo-Latn"}
    assert facts["vectors"]["words"] == {"yor-Latn": 30, "ibo-Latn": 30, "eng-Latn": 13}
    assert all(len(digest) == 64 for digest in facts["vectors"]["files"].values())
    assert str(world / "vectors" / "vectors.json") in facts["vectors"]["files"]
    assert len(facts["tokenizer"]["sha256"]) == 64
    assert manifest["seed"] == 0
    assert manifest["config"]["neighbours"] == 10
    assert manifest["config"]["extend"] == ["yo", "ig"]
    assert facts["languages"]["yor-Latn"]["averaged"] > 0
    assert [each["language"] for each in facts["changes"]] == ["eng-Latn"]
    assert all(each["after"]["fertility"] < each["before"]["fertility"] for each in facts["costs"])
    card = (extended / "README.md").read_text()
    assert "extended for Yoruba and Igbo" in card
    assert "weighted average of similar source tokens" in card
    assert "Findings of NAACL 2024" in card


def test_plain_transformers_loads_an_extended_model(world: Path, extended: Path) -> None:
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    old, new = (AutoModelForMaskedLM.from_pretrained(each).eval() for each in (world / "model", extended))
    tokenizer = AutoTokenizer.from_pretrained(extended)
    assert tokenizer.model_max_length == 64
    batch = tokenizer("The quick brown fox", return_tensors="pt")
    with torch.no_grad():
        before, after = old(**batch).logits, new(**batch).logits
    known = json.loads((extended / "polycompress.json").read_text())["sizes"]["before"]["vocab"]
    assert torch.equal(before[..., :known], after[..., :known])
    assert after.shape[-1] == len(tokenizer) == new.config.vocab_size
    assert torch.isfinite(new(**tokenizer("ilénla ọmọko", return_tensors="pt")).logits).all()


@pytest.mark.parametrize("init", sorted(INITIALISERS))
def test_every_way_makes_every_row(
    world: Path, corpora: list[str], check: list[str], init: str, tmp_path: Path
) -> None:
    result = ofa(
        world / "model",
        extend="yo,ig",
        corpus=corpora,
        pieces=60,
        vectors=world / "vectors",
        check=check,
        init=init,
        out=tmp_path / "out",
    )
    made = rows_of(tmp_path / "out")
    old = result.sizes["before"]["vocab"]
    assert np.isfinite(made).all()
    assert (np.abs(made[old:]).max(axis=1) > 0).all()
    assert len(np.unique(made[old:], axis=0)) > 1
    assert sum(result.plan.counts.values()) == len(made)
    expected = {"pieces": "pieces", "random": "sampled", "covariance": "sampled"}.get(init, "averaged")
    assert result.plan.counts[expected] > 5
    assert result.plan.way is INITIALISERS[init]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
    world: Path, corpora: list[str], tmp_path: Path
) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        ofa(world / "model", tokenizer=world / "tok", init="covariance", seed=seed, out=tmp_path / name)
    assert same_bits(tmp_path / "one", tmp_path / "again")
    assert not same_bits(tmp_path / "one", tmp_path / "other")


def test_a_new_tokenizer_takes_over_what_it_shares(world: Path, corpora: list[str], tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    result = ofa(
        world / "model",
        tokenizer=world / "tok",
        corpus=corpora,
        vectors=world / "vectors",
        out=tmp_path / "out",
    )
    old = json.loads((world / "model" / "tokenizer.json").read_text())["model"]["vocab"]
    new = json.loads((world / "tok" / "tokenizer.json").read_text())["model"]["vocab"]
    before, after = rows_of(world / "model"), rows_of(tmp_path / "out")
    places = {piece: number for number, (piece, _) in enumerate(old)}
    shared = [
        (number, places[piece])
        for number, (piece, _) in enumerate(new)
        if piece in places and piece[0] != "<"
    ]
    assert len(shared) > 5
    for number, source in shared:
        assert after[number].tobytes() == before[source].tobytes()
    assert result.plan.keeps_ids is False
    assert result.plan.counts["role"] == 5
    assert len(after) == len(new) == AutoConfig.from_pretrained(tmp_path / "out").vocab_size
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    assert model.config.pad_token_id == tokenizer.pad_token_id == 1
    assert tokenizer.model_max_length == 64
    assert model(**tokenizer("ilénla", return_tensors="pt")).logits.shape[-1] == len(new)
    assert not (tmp_path / "out" / "special_tokens_map.json").exists()


def test_special_tokens_of_another_kind_of_tokenizer_go_by_their_roles(
    world: Path, corpora: list[str], tmp_path: Path
) -> None:
    source = make_tiny("bert", "mlm", tmp_path / "model")
    ofa(source, tokenizer=world / "tok", init="random", out=tmp_path / "out")
    names = {"<s>": "[CLS]", "<pad>": "[PAD]", "</s>": "[SEP]", "<unk>": "[UNK]", "<mask>": "[MASK]"}
    old = Tokenizer.from_file(str(source / "tokenizer.json"))
    new = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    table = "bert.embeddings.word_embeddings.weight"
    before, after = rows_of(source, table), rows_of(tmp_path / "out", table)
    for mine, theirs in names.items():
        assert after[new.token_to_id(mine)].tobytes() == before[old.token_to_id(theirs)].tobytes(), mine
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["pad_token_id"] == new.token_to_id("<pad>")


@pytest.mark.parametrize("split", ["balanced", "paper"])
def test_a_factorised_model_is_the_dense_one_of_lower_rank(
    world: Path, corpora: list[str], extended: Path, split: str, tmp_path: Path
) -> None:
    """Invariants 2, 7 and 10: copied rows are the source's of that rank, nothing is stored twice, export agrees."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    import polycompress.auto  # noqa: F401

    result = ofa(
        world / "model",
        tokenizer=extended,
        vectors=world / "vectors",
        rank=6,
        split=split,  # type: ignore[arg-type]
        out=tmp_path / "out",
    )
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    stem = TABLE.removesuffix("weight")
    coordinates, primitives = tensors[f"{stem}coordinates"], tensors[f"{stem}primitives"]
    assert TABLE not in tensors
    assert coordinates.shape == (result.plan.size, 6)
    assert primitives.shape == (6, 16)
    source = rows_of(world / "model")
    u, s, v = np.linalg.svd(source.astype(np.float64), full_matrices=False)
    truncated = (u[:, :6] * s[:6]) @ v[:6]
    old = result.sizes["before"]["vocab"]
    assert np.allclose((coordinates @ primitives)[:old], truncated[:old], atol=1e-5)
    after = result.sizes["after"]
    assert after["parameters"] == sum(each.size for each in tensors.values())
    assert after["bytes"] == sum(each.nbytes for each in tensors.values())
    assert result.factorised is not None
    assert set(result.factorised.languages) == {"yor-Latn", "ibo-Latn", "eng-Latn"}
    export_dense(tmp_path / "out", out=tmp_path / "plain")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = tokenizer(["ilénla ọmọko quick", "The"], padding=True, return_tensors="pt")
    with torch.no_grad():
        one, other = (
            AutoModelForMaskedLM.from_pretrained(each).eval()(**batch).logits
            for each in (tmp_path / "out", tmp_path / "plain")
        )
    assert torch.allclose(one, other, atol=1e-5 * float(one.abs().max()))


def test_a_factorised_model_can_be_extended_as_it_is(
    world: Path, corpora: list[str], check: list[str], tmp_path: Path
) -> None:
    ofa(world / "model", tokenizer=world / "model", init="pieces", rank=6, out=tmp_path / "small")
    result = ofa(
        tmp_path / "small",
        extend="yo",
        corpus=corpora[0],
        pieces=20,
        init="pieces",
        check=check,
        out=tmp_path / "out",
    )
    stem = TABLE.removesuffix("weight")
    before, after = (load_file(tmp_path / each / "model.safetensors") for each in ("small", "out"))
    old = result.sizes["before"]["vocab"]
    assert after[f"{stem}primitives"].tobytes() == before[f"{stem}primitives"].tobytes()
    assert after[f"{stem}coordinates"][:old].tobytes() == before[f"{stem}coordinates"][:old].tobytes()
    assert len(after[f"{stem}coordinates"]) == result.plan.size > old
    assert json.loads((tmp_path / "out" / "config.json").read_text())["factorised_rank"] == 6
    with pytest.raises(InputError, match="factorised already"):
        ofa(tmp_path / "small", tokenizer=world / "tok", init="pieces", rank=4, dry_run=True)


def test_new_tokens_take_the_rows_of_padding(
    world: Path, corpora: list[str], check: list[str], tmp_path: Path
) -> None:
    source = make_tiny("xlm-roberta", "mlm", tmp_path / "model", padding_rows=40)
    result = ofa(
        source, extend="yo", corpus=corpora[0], pieces=10, init="pieces", check=check, out=tmp_path / "out"
    )
    before, after = rows_of(source), rows_of(tmp_path / "out")
    old, new = result.sizes["before"]["vocab"], result.sizes["after"]["vocab"]
    assert old < new < len(before) == len(after) == result.plan.size
    assert after[:old].tobytes() == before[:old].tobytes()
    assert after[new:].tobytes() == before[new:].tobytes()
    assert (after[old:new] != before[old:new]).any(axis=1).all()


def test_a_trimmed_model_is_extended(
    world: Path, corpora: list[str], check: list[str], tmp_path: Path
) -> None:
    trim(world / "model", langs="en,de", coverage=0.99, pad_to_multiple_of=8, out=tmp_path / "small")
    result = ofa(
        tmp_path / "small",
        extend="yo,ig",
        corpus=corpora,
        pieces=60,
        vectors=world / "vectors",
        check=check,
        out=tmp_path / "out",
    )
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    manifest = json.loads((tmp_path / "out" / "polycompress.json").read_text())
    assert [each["code"] for each in manifest["languages"]] == [
        "eng-Latn",
        "deu-Latn",
        "yor-Latn",
        "ibo-Latn",
    ]
    assert "kept_ids" not in manifest
    assert result.plan.counts["averaged"] > 5
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    AutoModelForMaskedLM.from_pretrained(tmp_path / "out")(**tokenizer("ilénla", return_tensors="pt"))


def test_a_dry_run_writes_nothing_and_says_all(
    world: Path, corpora: list[str], check: list[str], tmp_path: Path
) -> None:
    request: dict[str, Any] = {
        "extend": "yo", "corpus": corpora[0], "pieces": 20, "vectors": world / "vectors", "check": check, "rank": 4,
        "out": tmp_path / "out",
    }  # fmt: skip
    result = ofa(world / "model", **request, dry_run=True)
    assert not list(tmp_path.iterdir())
    found = json.loads(json.dumps(result.as_dict()))
    assert found["out"] is None
    done = json.loads(json.dumps(ofa(world / "model", **request).as_dict()))
    assert found == {**done, "out": None}
    names = json.loads((world / "tok" / "tokenizer.json").read_text())["model"]["vocab"]
    drawn = ofa(world / "model", tokenizer=world / "tok", init="random", dry_run=True)
    examples = drawn.fallen_examples(3)
    assert len(examples) == 3
    assert set(examples) <= {piece for piece, _ in names}
    assert not any(example.startswith("<") for example in examples)
    assert found["factorisation"]["rank"] == 4
    assert found["sizes"]["after"]["parameters"] > 0


def test_a_language_without_vectors_is_counted_and_refused(
    world: Path, corpora: list[str], check: list[str], tmp_path: Path
) -> None:
    write_vectors(tmp_path / "vectors", make_vectors(languages=("yor-Latn", "eng-Latn")))
    request: dict[str, Any] = {
        "extend": "yo,ig", "corpus": corpora, "pieces": 200, "vectors": tmp_path / "vectors", "check": check,
    }  # fmt: skip
    with pytest.raises(
        InputError, match=r"ibo-Latn: \d+ of its \d+ new tokens fall back .*no vectors of ibo-Latn"
    ):
        ofa(world / "model", **request, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = ofa(world / "model", **request, force=True, out=tmp_path / "out")
    assert any(note.startswith("ibo-Latn: ") for note in result.notes)
    fallen, new = result.plan.fallen_by_language({"ibo-Latn": result.target.used["ibo-Latn"]})["ibo-Latn"]
    assert new >= fallen > new / 2


def test_vectors_that_were_not_aligned_are_refused(world: Path, tmp_path: Path) -> None:
    write_vectors(tmp_path / "vectors", to=None)
    with pytest.raises(InputError, match="were not brought to one space"):
        ofa(world / "model", tokenizer=world / "tok", vectors=tmp_path / "vectors", dry_run=True)


def test_vectors_without_overlap_are_refused(world: Path, tmp_path: Path) -> None:
    words = ["\U00010330\U00010331", "\U00010332"]  # Gothic: only unknown tokens
    odd = of_one_language("eng-Latn", words, np.eye(2, dtype=np.float32))
    write_vectors(tmp_path / "vectors", odd)
    with pytest.raises(InputError, match="nothing in common with the tokens of the model's tokenizer"):
        ofa(world / "model", tokenizer=world / "tok", vectors=tmp_path / "vectors", dry_run=True)


def test_broken_vectors_are_refused_with_their_place(world: Path, tmp_path: Path) -> None:
    cases = {
        "a 1 2 3\nb 1 2\n": "line 2",
        "a 1 2\nb nan 2\n": "line 2",
        "a 1 2\nb 1 2\na 3 4\n": r"line.? 1.*line.? 3|1 and.* 3",
    }
    for text, told in cases.items():
        path = tmp_path / "words.vec"
        path.write_text(text)
        with pytest.raises(InputError, match=told):
            ofa(world / "model", tokenizer=world / "tok", vectors=f"yo={path}", dry_run=True)
    (tmp_path / "narrow.vec").write_text("a 1 2\n")
    (tmp_path / "wide.vec").write_text("a 1 2 3\n")
    with pytest.raises(InputError, match="different widths"):
        ofa(
            world / "model",
            tokenizer=world / "tok",
            vectors=[f"yo={tmp_path / 'narrow.vec'}", f"en={tmp_path / 'wide.vec'}"],
            dry_run=True,
        )


def test_a_rank_above_the_width_is_refused(world: Path) -> None:
    with pytest.raises(InputError, match="is 16 wide, so the rank can be from 1 to 16"):
        ofa(world / "model", tokenizer=world / "tok", init="pieces", rank=17, dry_run=True)


def test_a_tokenizer_that_cannot_be_extended_says_what_to_do(
    world: Path, corpora: list[str], tmp_path: Path
) -> None:
    shutil.copytree(world / "model", tmp_path / "model")
    document = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    document["model"] = {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"'WordLevel'.*cannot be extended.*polycompress tokenizer train"):
        ofa(tmp_path / "model", extend="yo", corpus=corpora[0], init="pieces", dry_run=True)


def test_positions_do_not_move(world: Path, corpora: list[str], tmp_path: Path) -> None:
    train_tokenizer(corpora, size=90, kind="wordpiece", out=tmp_path / "tok")
    with pytest.raises(InputError, match=r"count positions from .* padding token, 1; .* has it at 0"):
        ofa(world / "model", tokenizer=tmp_path / "tok", init="pieces", dry_run=True)


def test_outputs_over_their_sources_are_refused(world: Path) -> None:
    for place in ("model", "tok"):
        with pytest.raises(InputError):
            ofa(world / "model", tokenizer=world / "tok", init="pieces", out=world / place, overwrite=True)
    assert (world / "tok" / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("family", "head"),
    [("gpt2", "clm"), ("bert", "mlm"), ("llama", "clm"), ("qwen2", "clm"), ("roberta", "mlm")],
)
def test_tokenizers_of_every_type_are_extended(
    world: Path, family: str, head: str, corpora: list[str], check: list[str], tmp_path: Path
) -> None:
    source = make_tiny(family, head, tmp_path / "model", padding_rows=0)
    # BERT's pieces know hardly a letter of these languages, so that other pieces say nothing of new ones.
    init = "ofa" if family == "bert" else "pieces"
    result = ofa(
        source,
        extend="yo,ig",
        corpus=corpora,
        pieces=40,
        vectors=world / "vectors",
        init=init,
        check=check,
        out=tmp_path / "out",
    )
    before, after = load_file(source / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    old = result.sizes["before"]["vocab"]
    assert result.plan.counts["kept"] == old
    assert result.plan.counts["averaged" if init == "ofa" else "pieces"] > 5
    grown = [name for name in before if before[name].shape != after[name].shape]
    assert grown
    for name in before:
        mine = after[name][:old] if name in grown else after[name]
        assert mine.tobytes() == before[name].tobytes(), name
    cut = [
        len(Tokenizer.from_file(str(each / "tokenizer.json")).encode("ilénla ọmọko").ids)
        for each in (source, tmp_path / "out")
    ]
    assert cut[1] < cut[0] or family == "bert"  # WordPiece read what it did not know as one unknown token


def test_frequent_rows_lose_less_where_counts_say_so(world: Path, corpora: list[str], tmp_path: Path) -> None:
    from polycompress.pipelines.count import count_files

    count_files(world / "model", "yo", [corpora[0]], tmp_path / "yo.npz")
    errors = {}
    for name, weights in (("plain", ()), ("weighted", (tmp_path / "yo.npz",))):
        result = ofa(
            world / "model", tokenizer=world / "model", init="random", rank=4, weights=weights, dry_run=True
        )
        assert result.factorised is not None
        errors[name] = result.factorised
    assert set(errors["weighted"].languages) == {"yor-Latn"}
    assert errors["weighted"].overall.relative > errors["plain"].overall.relative


def test_words_of_frequency_alone(world: Path) -> None:
    request: dict[str, Any] = {"tokenizer": world / "tok", "vectors": world / "vectors", "dry_run": True}
    every, few = ofa(world / "model", **request), ofa(world / "model", **request, words=2, force=True)
    assert every.plan.covered is not None
    assert few.plan.covered is not None
    assert few.plan.covered["target"] < every.plan.covered["target"]
    assert few.plan.counts["sampled"] > every.plan.counts["sampled"]
