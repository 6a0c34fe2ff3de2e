from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from polycompress.errors import InputError
from polycompress.pipelines.extend_tokenizer import extend_tokenizer
from polycompress.pipelines.tokenizer import compare_tokenizers, train_tokenizer
from polycompress.pipelines.tokenizers.text import corpus_languages, read_checks
from polycompress.vocab.document import dump_document
from tests.vocab.extending.synthetic import OLD, old_tokenizer, sentences


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("texts")
    (root / "yo.txt").write_text("\n".join(sentences(1, 900)), encoding="utf-8")
    (root / "ig.txt").write_text("\n".join(sentences(2, 300)), encoding="utf-8")
    (root / "en.txt").write_text("\n".join(OLD), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("model")
    doc = old_tokenizer("unigram")
    # A mask behind the vocabulary, as some conversions have it.
    mask = doc["added_tokens"].pop()
    doc["model"]["vocab"].pop(mask["id"])
    doc["added_tokens"].append({**mask, "id": len(doc["model"]["vocab"])})
    (root / "tokenizer.json").write_bytes(dump_document(doc))
    settings = {"tokenizer_class": "XLMRobertaTokenizer", "mask_token": "<mask>", "model_max_length": 64}
    (root / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (root / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}), encoding="utf-8")
    return root


def test_extending_keeps_ids_and_reports(model: Path, texts: Path, tmp_path: Path) -> None:
    result = extend_tokenizer(
        model,
        langs="yo,ig",
        corpus=[f"yo={texts / 'yo.txt'}", f"ig={texts / 'ig.txt'}"],
        pieces=40,
        check=["en", f"en={texts / 'en.txt'}"],
        out=tmp_path / "tok",
    )
    old = Tokenizer.from_file(str(model / "tokenizer.json"))
    new = Tokenizer.from_file(str(tmp_path / "tok" / "tokenizer.json"))
    assert result.old_size == old.get_vocab_size()
    assert result.size == new.get_vocab_size() == result.old_size + 40
    assert [new.id_to_token(number) for number in range(result.old_size)] == [
        old.id_to_token(number) for number in range(result.old_size)
    ]
    assert new.token_to_id("<mask>") == old.token_to_id("<mask>") == result.old_size - 1
    assert new.encode("the<mask>").ids[-2] == result.old_size - 1
    for each in result.costs:
        assert each.before is not None
        assert each.after.fertility < 0.7 * each.before.fertility
        assert each.after.unknown == 0 < each.before.unknown
    words, lines = result.changes
    assert (words.source, lines.source) == ("built-in word frequencies", "texts")
    assert 0 <= words.as_dict()["words_changed"] < 0.2
    assert lines.as_dict()["texts"] == 3
    assert any("'<mask>'" in note for note in result.notes)
    manifest = json.loads((tmp_path / "tok" / "polycompress.json").read_text(encoding="utf-8"))
    assert manifest["tokenizer"]["old_size"] == result.old_size
    assert manifest["text"]["yor-Latn"]["times"] == 1.0 < manifest["text"]["ibo-Latn"]["times"]
    assert manifest["source"]["files"].keys() == {"tokenizer.json"}
    assert "Igbo" in (tmp_path / "tok" / "README.md").read_text(encoding="utf-8")


def test_a_dry_run_tells_the_same_and_writes_nothing(model: Path, texts: Path, tmp_path: Path) -> None:
    asked = {
        "langs": "yo",
        "corpus": [str(texts / "yo.txt")],
        "pieces": 20,
        "check": [f"en={texts / 'en.txt'}"],
    }
    (tmp_path / "there").mkdir()
    planned = extend_tokenizer(model, out=tmp_path / "there", dry_run=True, **asked)  # type: ignore[arg-type]
    assert planned.out is None and list(tmp_path.rglob("*")) == [tmp_path / "there"]
    done = extend_tokenizer(model, out=tmp_path / "tok", **asked)  # type: ignore[arg-type]
    assert planned.costs == done.costs and planned.changes == done.changes
    assert (planned.size, planned.old_size) == (done.size, done.old_size)
    with pytest.raises(InputError, match=r"no output directory.*--out, or look only with --dry-run"):
        extend_tokenizer(model, **asked)  # type: ignore[arg-type]


def test_the_directory_loads_in_transformers(model: Path, texts: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    extend_tokenizer(
        model, langs="yo", corpus=[str(texts / "yo.txt")], pieces=20, check=["en"], out=tmp_path / "tok"
    )
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "tok")
    line = sentences(7, 1)[0]
    assert (
        loaded(line)["input_ids"]
        == Tokenizer.from_file(str(tmp_path / "tok" / "tokenizer.json")).encode(line).ids
    )
    assert loaded.mask_token == "<mask>" and loaded.model_max_length == 64


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_a_new_tokenizer(kind: str, texts: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    corpus = [f"yo={texts / 'yo.txt'}", f"ig={texts / 'ig.txt'}"]
    result = train_tokenizer(corpus, size=150, kind=kind, out=tmp_path / "tok")
    assert (result.size, result.kind, result.old_size) == (150, kind, None)
    assert {each.language.code for each in result.costs} == {"yor-Latn", "ibo-Latn"}
    assert all(each.before is None and 1 < each.after.fertility < 4 for each in result.costs)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "tok")
    assert loaded.vocab_size == 150
    assert loaded.mask_token in ("<mask>", "[MASK]") and loaded.pad_token_id is not None
    assert ("token_type_ids" in loaded("ko")) == (kind == "wordpiece")
    assert (tmp_path / "tok" / "polycompress.json").is_file()


def test_comparing(model: Path, texts: Path, tmp_path: Path) -> None:
    corpus = [f"yo={texts / 'yo.txt'}"]
    extend_tokenizer(model, langs="yo", corpus=corpus, pieces=20, check=["en"], out=tmp_path / "tok")
    result = compare_tokenizers(model, tmp_path / "tok", corpus=corpus, check=[f"en={texts / 'en.txt'}"])
    assert result.out is None
    assert result.shared == result.old_size == result.size - 20
    assert result.costs[0].before is not None and result.costs[0].after.texts == 900
    same = compare_tokenizers(model, model, check=[f"yo={texts / 'yo.txt'}"])
    assert same.changes[0].as_dict()["texts_changed"] == 0
    with pytest.raises(InputError, match="no text was given to compare on"):
        compare_tokenizers(model, model)


def test_what_is_asked_for_must_make_sense(model: Path, texts: Path, tmp_path: Path) -> None:
    out, corpus = tmp_path / "tok", [f"yo={texts / 'yo.txt'}"]
    for fault, arguments in (
        ("--pieces is a number from 1 to", {"pieces": 0}),
        ("--exponent is a number from 0", {"pieces": 9, "exponent": 2.0}),
        (r"no text of 1 language. Zulu: --corpus zul-Latn", {"pieces": 9, "langs": "yo,zu"}),
    ):
        with pytest.raises(InputError, match=fault):
            extend_tokenizer(model, **{"langs": "yo", "corpus": corpus, "out": out, **arguments})  # type: ignore[arg-type]
    (tmp_path / "few.txt").write_text("ko ru\nmạ\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"too little text to find pieces in.*yor-Latn"):
        extend_tokenizer(model, langs="yo", corpus=[str(tmp_path / "few.txt")], pieces=3, out=out)
    with pytest.raises(InputError, match=r"--type 'words' is not known; there are unigram, bpe"):
        train_tokenizer(corpus, size=100, kind="words", out=out)
    with pytest.raises(InputError, match=r"--size is a number from 6 to"):
        train_tokenizer(corpus, size=5, out=out)
    with pytest.raises(InputError, match="does not say its language"):
        corpus_languages(["texts.txt"])
    with pytest.raises(InputError, match="no text was given"):
        corpus_languages([])
    with pytest.raises(InputError, match="no built-in word frequencies for Yoruba"):
        read_checks(["yo"])
    assert not out.exists()


def test_a_tokenizer_of_words_is_refused(model: Path, texts: Path, tmp_path: Path) -> None:
    doc = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    doc["model"] = {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}
    words = tmp_path / "words"
    words.mkdir()
    (words / "tokenizer.json").write_text(json.dumps(doc), encoding="utf-8")
    with pytest.raises(InputError, match=r"words: model.type is 'WordLevel'.*tokenizer train"):
        extend_tokenizer(words, langs="yo", corpus=[str(texts / "yo.txt")], pieces=3, out=tmp_path / "tok")
