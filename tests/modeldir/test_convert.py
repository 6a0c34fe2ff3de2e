"""Conversions are made from SentencePiece files trained here, and compared with sentencepiece."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polycompress.errors import InputError, MissingExtraError
from polycompress.modeldir.convert import (
    SAMPLES,
    build_tokenizer,
    convert_tokenizer,
    ensure_tokenizer_json,
)
from polycompress.modeldir.spm_layouts import LAYOUTS
from tests.tiny_models import TEXTS

spm = pytest.importorskip("sentencepiece", reason="conversions need sentencepiece and transformers")
transformers = pytest.importorskip("transformers")

# Most scripts of the samples are unknown to a file trained on these: that, too, has to come out the same.
CORPUS = [*TEXTS[:9], *SAMPLES[:8]]
SIZE = 220
FAIRSEQ_FILE: Mapping[str, Any] = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
T5_FILE: Mapping[str, Any] = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
DEBERTA_FILE: Mapping[str, Any] = {
    "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]", "bos_piece": "[CLS]",
    "eos_piece": "[SEP]", "unk_piece": "[UNK]",
}  # fmt: skip
CASES: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "t5": ("T5Tokenizer", T5_FILE, "spiece.model"),
    "xlm-roberta": ("XLMRobertaTokenizer", FAIRSEQ_FILE, "sentencepiece.bpe.model"),
    "xglm": ("XGLMTokenizer", FAIRSEQ_FILE, "sentencepiece.bpe.model"),
    "m2m_100": ("M2M100Tokenizer", FAIRSEQ_FILE, "sentencepiece.bpe.model"),
    "deberta-v2": ("DebertaV2Tokenizer", DEBERTA_FILE, "spm.model"),
}


def train(
    kind: str = "unigram", size: int = SIZE, *, corpus: Sequence[str] = CORPUS, **settings: Any
) -> bytes:
    stream = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus),
        model_writer=stream,
        model_type=kind,
        vocab_size=size,
        character_coverage=1.0,
        minloglevel=2,
        **settings,
    )
    return stream.getvalue()


def directory(root: Path, model_type: str, kind: str = "unigram", **settings: Any) -> tuple[Path, Any]:
    """A model directory with a SentencePiece file and no tokenizer.json."""
    from safetensors.numpy import save_file

    cls, options, name = CASES[model_type]
    raw = train(kind, **options)
    (root / name).write_bytes(raw)
    (root / "config.json").write_text(json.dumps({"model_type": model_type}))
    (root / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": cls, **settings}))
    save_file({"a": np.zeros(2, np.float32)}, root / "model.safetensors")
    processor = spm.SentencePieceProcessor(model_proto=raw)
    if model_type == "m2m_100":
        # M2M100's numbers are its own: every piece after the four special tokens, in another order here.
        pieces = [processor.id_to_piece(i) for i in range(3, processor.get_piece_size())]
        ids = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *reversed(pieces)])}
        (root / "vocab.json").write_text(json.dumps(ids))
    return root, processor


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("model_type", sorted(CASES))
def test_a_conversion_segments_as_sentencepiece_does(model_type: str, kind: str, tmp_path: Path) -> None:
    root, processor = directory(tmp_path, model_type, kind)
    tokenizer = build_tokenizer(root)
    longest = 0
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        tokens = [tokenizer.id_to_token(number) for number in ids]
        assert tokens == [processor.id_to_piece(i) for i in processor.encode(text)]
        longest = max(longest, *map(len, tokens))
    assert longest > 3


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_real_text_of_several_scripts(kind: str, tmp_path: Path, data_dir: Path) -> None:
    """A file of a few thousand pieces, trained on one half of the text and compared on the other."""
    lines = []
    for code in ("de", "fr", "tr", "ru", "hi", "zh"):
        with gzip.open(data_dir / "text" / f"{code}.txt.gz", "rt", encoding="utf-8") as stream:
            lines += [line.rstrip("\n") for line in itertools.islice(stream, 600)]
    root, _ = directory(tmp_path, "xlm-roberta")
    raw = train(kind, 6000, corpus=lines[::2], **FAIRSEQ_FILE)
    (root / "sentencepiece.bpe.model").write_bytes(raw)
    assert build_tokenizer(root, lines[1::2]).get_vocab_size() == 6002


NUMBERS = {
    # What the library's own classes give: special tokens and a language code or sentinel at the right places.
    "t5": {"<pad>": 0, "</s>": 1, "<unk>": 2, "<extra_id_0>": SIZE + 99, "<extra_id_99>": SIZE},
    "xlm-roberta": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": SIZE + 1},
    "xglm": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<madeupword0>": SIZE + 1},
    "m2m_100": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "__af__": SIZE + 1, "__de__": SIZE + 17},
    "deberta-v2": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "[MASK]": SIZE},
}


@pytest.mark.parametrize("model_type", sorted(CASES))
def test_special_tokens_have_the_numbers_of_the_original_class(model_type: str, tmp_path: Path) -> None:
    root, _ = directory(tmp_path, model_type)
    tokenizer = build_tokenizer(root)
    assert {token: tokenizer.token_to_id(token) for token in NUMBERS[model_type]} == NUMBERS[model_type]


def test_m2m100_agrees_with_the_librarys_slow_class(tmp_path: Path) -> None:
    root, _ = directory(tmp_path, "m2m_100", src_lang="de")
    slow = transformers.M2M100Tokenizer.from_pretrained(root, src_lang="de")
    tokenizer = build_tokenizer(root)
    for text in TEXTS:
        assert tokenizer.encode(text).ids == slow(text)["input_ids"]


@pytest.mark.parametrize(
    ("model_type", "single", "pair"),
    [
        ("t5", ["▁", "a", "</s>"], ["▁", "a", "</s>", "▁", "a", "</s>"]),
        ("xlm-roberta", ["<s>", "▁", "a", "</s>"], ["<s>", "▁", "a", "</s>", "</s>", "▁", "a", "</s>"]),
        ("xglm", ["</s>", "▁", "a"], ["</s>", "▁", "a", "</s>", "</s>", "▁", "a"]),
        ("deberta-v2", ["[CLS]", "▁", "a", "[SEP]"], ["[CLS]", "▁", "a", "[SEP]", "▁", "a", "[SEP]"]),
    ],
)
def test_templates(model_type: str, single: list[str], pair: list[str], tmp_path: Path) -> None:
    root, _ = directory(tmp_path, model_type)
    tokenizer = build_tokenizer(root)

    def split(tokens: list[str]) -> list[str]:
        return [part for token in tokens for part in (["▁", "a"] if token == "▁a" else [token])]

    assert split(tokenizer.encode("a").tokens) == single
    assert split(tokenizer.encode("a", "a").tokens) == pair


def test_the_number_of_sentinels(tmp_path: Path) -> None:
    root, _ = directory(tmp_path, "t5", extra_ids=0)
    assert build_tokenizer(root).token_to_id("<extra_id_0>") is None
    (root / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    (root / "config.json").write_text(json.dumps({"model_type": "mt5", "vocab_size": SIZE + 20}))
    assert build_tokenizer(root).get_vocab_size() == SIZE
    (root / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": -3})
    )
    with pytest.raises(InputError, match=r"extra_ids is -3"):
        build_tokenizer(root)


def test_a_whole_directory_is_written_and_loads(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    root, processor = directory(tmp_path / "source", "xlm-roberta", model_max_length=77)
    out = convert_tokenizer(root, tmp_path / "out")
    assert ensure_tokenizer_json(out) == out / "tokenizer.json"
    assert {"config.json", "model.safetensors"} <= {path.name for path in out.iterdir()}
    loaded = transformers.AutoTokenizer.from_pretrained(out)
    assert loaded.mask_token == "<mask>" and loaded.model_max_length == 77
    assert loaded.tokenize(TEXTS[0]) == [processor.id_to_piece(i) for i in processor.encode(TEXTS[0])]
    with pytest.raises(InputError, match=r"already has a tokenizer.json"):
        convert_tokenizer(out, tmp_path / "again")


def test_a_conversion_that_segments_differently_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lower-casing in the normaliser is what a wrong converter could do; the comparison must see it."""
    from tokenizers import normalizers
    from transformers.convert_slow_tokenizer import SpmConverter

    monkeypatch.setattr(SpmConverter, "normalizer", lambda self, proto: normalizers.Lowercase())
    root, _ = directory(tmp_path, "t5")
    with pytest.raises(InputError, match=r"segments 'Der schnelle .* in another way than sentencepiece"):
        convert_tokenizer(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_message_gives_the_command(tmp_path: Path) -> None:
    (tmp_path / "a model").mkdir()
    root, _ = directory(tmp_path / "a model", "xglm")
    with pytest.raises(
        InputError, match=r"only sentencepiece\.bpe\.model.*convert-tokenizer '.*a model' --out NEW"
    ):
        ensure_tokenizer_json(root)


def test_other_classes_are_refused_with_another_command(tmp_path: Path) -> None:
    root, _ = directory(tmp_path, "xglm")
    (root / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizerFast"}))
    with pytest.raises(InputError, match=r"does not convert.*AutoTokenizer.from_pretrained"):
        ensure_tokenizer_json(root)
    with pytest.raises(InputError, match=f"a LlamaTokenizer. Convertible are .*{', '.join(sorted(LAYOUTS))}"):
        build_tokenizer(root)


def test_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(InputError, match=r"has no tokenizer.json. Where transformers"):
        ensure_tokenizer_json(tmp_path)
    with pytest.raises(
        InputError, match=r"no SentencePiece file, and its tokenizer is a tokenizer of unknown class"
    ):
        build_tokenizer(tmp_path)


def test_two_files(tmp_path: Path) -> None:
    root, _ = directory(tmp_path, "t5")
    (root / "target.spm").write_bytes(b"x")
    with pytest.raises(InputError, match=r"it has spiece.model, target.spm"):
        build_tokenizer(root)


def test_damaged_and_unsuitable_files(tmp_path: Path) -> None:
    root, _ = directory(tmp_path, "t5")
    name = root / "spiece.model"
    name.write_bytes(b"not a model")
    with pytest.raises(InputError, match=r"is not a SentencePiece file|holds no Unigram or BPE"):
        build_tokenizer(root)
    name.write_bytes(train("char", **T5_FILE))
    with pytest.raises(InputError, match=r"holds no Unigram or BPE model"):
        build_tokenizer(root)
    name.write_bytes(train("bpe", SIZE + 256, byte_fallback=True, **T5_FILE))
    with pytest.raises(InputError, match=r"byte fallback"):
        build_tokenizer(root)
    name.write_bytes(train(remove_extra_whitespaces=False, **T5_FILE))
    with pytest.raises(InputError, match=r"keeps repeated spaces"):
        build_tokenizer(root)
    name.write_bytes(train(user_defined_symbols=["<extra_id_0>"], **T5_FILE))
    with pytest.raises(InputError, match=r"would hold '<extra_id_0>' twice"):
        build_tokenizer(root)


def test_files_of_another_class(tmp_path: Path) -> None:
    root, _ = directory(tmp_path, "xlm-roberta")
    (root / "sentencepiece.bpe.model").write_bytes(train(**T5_FILE))
    with pytest.raises(
        InputError, match=r"does not begin with <unk>, <s>, </s> .*, but with <pad>, </s>, <unk>"
    ):
        build_tokenizer(root)
    (root / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "DebertaV2Tokenizer"}))
    with pytest.raises(InputError, match=r"has no piece '\[UNK\]'"):
        build_tokenizer(root)
    (root / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": True})
    )
    with pytest.raises(InputError, match=r"do_lower_case is set"):
        build_tokenizer(root)


def test_m2m100_vocabularies_that_do_not_fit(tmp_path: Path) -> None:
    root, _ = directory(tmp_path, "m2m_100")
    ids = json.loads((root / "vocab.json").read_text())
    last = max(ids, key=lambda token: ids[token])
    for broken, message in (
        ({token: number for token, number in ids.items() if token != last}, "lacks 1 pieces"),
        ({token: number for token, number in ids.items() if number != 9}, "its ids must be 0 to"),
        ({"a": 0, "b": 1}, "has no '<unk>'"),
        ({"a": "x"}, "its ids must be 0 to"),
    ):
        (root / "vocab.json").write_text(json.dumps(broken))
        with pytest.raises(InputError, match=message):
            build_tokenizer(root)
    (root / "vocab.json").write_text(json.dumps(ids))
    settings = {"tokenizer_class": "M2M100Tokenizer"}
    for extra, message in (
        ({"src_lang": "zz"}, "src_lang 'zz'"),
        ({"language_codes": "x"}, "language_codes 'x'"),
    ):
        (root / "tokenizer_config.json").write_text(json.dumps({**settings, **extra}))
        with pytest.raises(InputError, match=message):
            build_tokenizer(root)


def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = directory(tmp_path, "t5")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingExtraError, match=r"polycompress\[train\]"):
        build_tokenizer(root)
