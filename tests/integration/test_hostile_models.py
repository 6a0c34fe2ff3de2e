"""Model directories made to break a reader: refused or read harmlessly, never a traceback, a hang or a stray file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from polycompress.modeldir.header import encode_header
from tests.command_line import invoke, refused, tree
from tests.tampering import WEIGHTS, Tamper, change, edit, linked, put, variant
from tests.tiny_models import make_tiny

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short_word_lists")]
TOKENIZER, CONFIG, SETTINGS, GENERATION = (
    "tokenizer.json", "config.json", "tokenizer_config.json", "generation_config.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


def piece(number: int, *entry: Any) -> Tamper:
    """Replace one piece of the vocabulary."""

    def replace(document: Any) -> None:
        document["model"]["vocab"][number] = list(entry)

    return change(TOKENIZER, replace)


def twice(name: str, field: str) -> Tamper:
    """Name a key of an object a second time, at its end."""

    def tamper(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8").rstrip().removesuffix("}")
        (root / name).write_text(f"{text},{field}}}", encoding="utf-8")

    return tamper


def first_tensor(**fields: Any) -> Tamper:
    """Change what the header says of its first tensor; its ``name`` too."""

    def tamper(root: Path) -> None:
        raw = (root / WEIGHTS).read_bytes()
        start = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:start])
        name = next(key for key in header if key != "__metadata__")
        entry = header.pop(name)
        header[fields.pop("name", name)] = entry | fields
        text = json.dumps(header).encode()
        (root / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + raw[start:])

    return tamper


def pipe(name: str) -> Tamper:
    """Put a pipe that nobody writes to in the place of a file."""

    def tamper(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        os.mkfifo(root / name)

    return tamper


def huge(name: str, size: int) -> Tamper:
    """Make a file look as if it had so many bytes."""

    def tamper(root: Path) -> None:
        with (root / name).open("ab") as file:
            file.truncate(size)

    return tamper


DEEP = 10_000_000
REFUSED: dict[str, tuple[Tamper, str]] = {
    # the configuration
    "config is a list": (put(CONFIG, "[]"), r"config\.json: holds a JSON list, not an object\. Restore"),
    "config is nothing": (put(CONFIG, ""), r"config\.json: line 1, column 1: not JSON .*Restore the file"),
    "config is Latin-1": (put(CONFIG, b'{"a": "\xe9"}'), r"config\.json: byte 7 is not UTF-8\. Save the file"),
    "config is nested": (put(CONFIG, "[" * DEEP), r"config\.json: JSON that cannot be read .*recursion"),
    "config nests configs": (
        put(CONFIG, '{"model_type":"bert","text_config":' * 900 + "1" + "}" * 900),
        r"config\.json|has no input embedding table",
    ),
    "config has a number of 10,000 digits": (put(CONFIG, '{"a":' + "9" * 10_000 + "}"), r"JSON that cannot be read"),
    "config is huge": (huge(CONFIG, 1 << 40), r"config\.json: 1099511627776 bytes, over the limit of"),
    "config has a byte order mark": (put(CONFIG, "\ufeff{}"), r"config\.json: line 1, column 1: not JSON \(.*BOM"),
    "vocab_size is text": (edit(CONFIG, vocab_size="267"), r"config\.json says vocab_size '267', but .* has 267 rows"),
    "vocab_size is negative": (edit(CONFIG, vocab_size=-5), r"config\.json says vocab_size -5, but"),
    "vocab_size is a list": (edit(CONFIG, vocab_size=[267]), r"config\.json says vocab_size \[267\], but"),
    "vocab_size twice": (twice(CONFIG, '"vocab_size":7'), r"config\.json says vocab_size 7, but"),
    "model_type is a list": (edit(CONFIG, model_type=["bert"]), r"Unknown model_type \['bert'\]"),
    "model_type is missing": (put(CONFIG, "{}"), r"config\.json has no model_type"),
    "generation config is a list": (put(GENERATION, "[1]"), r"generation_config\.json: holds a JSON list"),
    "ids in disorder": (put(GENERATION, '{"forced_decoder_ids": [1, [2]]}'), r"forced_decoder_ids holds 1; expected"),
    "modules lead out": (
        put("modules.json", '[{"path": "../../etc", "type": "x.Pooling"}]'),
        r"'\.\./\.\./etc' leads out of the model directory",
    ),
    "modules at the root": (
        put("modules.json", '[{"path": "/etc", "type": "x.Pooling"}]'),
        r"'/etc' leads out of the model directory",
    ),
    "modules is an object": (put("modules.json", "{}"), r"modules\.json: must be a list of modules"),
    # the tokenizer
    "tokenizer is nothing": (put(TOKENIZER, ""), r"tokenizer\.json is not valid JSON: .*fetch the file again"),
    "tokenizer is nested": (put(TOKENIZER, '{"model":' * DEEP), r"tokenizer\.json is not valid JSON: depth limit"),
    "tokenizer is huge": (huge(TOKENIZER, 10 << 30), r"tokenizer\.json: 10737418240 bytes, over the limit of"),
    "tokenizer is Latin-1": (put(TOKENIZER, b'{"a": "\xe9"}'), r"tokenizer\.json is not UTF-8 at byte 7"),
    "model type twice": (
        twice(TOKENIZER, '"model":{"type":"WordLevel","vocab":{}}'), r"model\.type is 'WordLevel', which cannot",
    ),
    "model is a list": (edit(TOKENIZER, model=[]), r"model is \[\]; it must be an object"),
    "score is NaN": (piece(10, "x", float("nan")), r"not valid JSON: unexpected character"),
    "score is infinite": (
        put(TOKENIZER, '{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1e999]]}}'),
        r"not valid JSON: number is infinity",
    ),
    "score is text": (piece(10, "x", "1"), r"model\.vocab\[10\]\[1\] is '1'; it must be a score"),
    "piece is no pair": (piece(10, "x"), r"model\.vocab\[10\] is \['x'\]; it must be a pair"),
    "piece is half a pair": (piece(10, "\ud800", -1.0), r"not valid JSON: no low surrogate"),
    "unk_id is negative": (edit(TOKENIZER, model__unk_id=-1), r"model\.unk_id is -1; it must be null or a position"),
    "unk_id is huge": (edit(TOKENIZER, model__unk_id=10**9), r"model\.unk_id is 1000000000"),
    "added id is negative": (edit(TOKENIZER, added_tokens=[{"id": -1, "content": "x"}]), r"tokens\[0\]\.id is -1"),
    "added id is huge": (edit(TOKENIZER, added_tokens=[{"id": 1 << 70, "content": "x"}]), r"added_tokens\[0\]\.id is"),
    "added tokens are an object": (edit(TOKENIZER, added_tokens={"a": 1}), r"added_tokens is \{'a': 1\}"),
    "post-processor is a number": (edit(TOKENIZER, post_processor=5), r"post_processor is 5; it must be an object"),
    "normalizer is unknown": (edit(TOKENIZER, normalizer={"type": "Evil"}), r"the tokenizers library refuses it"),
    "pattern is broken": (
        edit(TOKENIZER, normalizer={"type": "Replace", "pattern": {"Regex": "("}, "content": "x"}),
        r"tokenizer\.json: the tokenizers library refuses it: .*unmatched parenthesis",
    ),
    "padding by no token": (
        edit(TOKENIZER, padding={"strategy": "BatchLongest", "direction": "Right", "pad_id": 99_999,
                                 "pad_type_id": 0, "pad_token": "<pad>"}),
        r"padding\.pad_id is 99999; it must be the id of a token",
    ),
    "a panic while loading": (
        edit(TOKENIZER, normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        r"tokenizer\.json: the tokenizers library refuses it: Precompiled",
    ),
    "nothing for the unknown": (
        edit(TOKENIZER, model__unk_id=None),
        r"tokenizer\.json: the tokenizers library cannot segment text with it: .*unk_id.*Check the tokenizer",
    ),
    "tokenizer config is a list": (put(SETTINGS, "[1]"), r"tokenizer_config\.json: holds a JSON list, not an object"),
    "special tokens are a list": (put("special_tokens_map.json", "[1]"), r"tokens_map\.json: holds a JSON list"),
    # the weights
    "header is a list": (put(WEIGHTS, (2).to_bytes(8, "little") + b"[]"), r"the header is a JSON list"),
    "header is nested": (
        put(WEIGHTS, (DEEP).to_bytes(8, "little") + b"[" * DEEP), r"the header is not JSON \(.*recursion",
    ),
    "header is empty": (put(WEIGHTS, encode_header([], {})), r"hold no tensors"),
    "name twice": (
        put(WEIGHTS, (n := b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}',
                      len(n).to_bytes(8, "little") + n)[1]),
        r"the header names 'a' twice",
    ),
    "shape is negative": (first_tensor(shape=[-1, 2]), r"shape \[-1, 2\] must be a list of non-negative integers"),
    "shape overflows": (first_tensor(shape=[1 << 62, 1 << 62]), r"data_offsets span \d+ bytes, but shape"),
    "offsets are swapped": (first_tensor(data_offsets=[100, 0]), r"data_offsets \[100, 0\] reach beyond"),
    "dtype is unknown": (first_tensor(dtype="F33"), r"dtype 'F33' is not one of F64"),
    "name of control characters": (first_tensor(name="\x1b]0;evil\x07"), r"\\x1b\]0;evil\\x07 \[267\]\. Nothing was"),
    "weights are huge": (huge(WEIGHTS, 1 << 42), r"bytes that belong to nothing"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_refused(
    source: Path, tmp_path: Path, desk: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tamper, message = REFUSED[fault]
    model = variant(source, tmp_path / "model", tamper)
    found = refused(capsys, desk, "trim", model, "--langs", "de", "--out", desk / "out")
    assert re.search(message, found), found


FILES = (CONFIG, TOKENIZER, WEIGHTS, SETTINGS, "README.md", "chat_template.jinja", "LICENSE", "modules.json")


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_none(
    source: Path, tmp_path: Path, desk: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = {
        "pipe": (pipe(name), "is not a regular file. Put the file itself there."),
        "directory": (lambda root: ((root / name).unlink(missing_ok=True), (root / name).mkdir()), "is not a regular"),
        "device": (linked(name, "/dev/zero"), "is a link that leaves the model directory (to /dev/zero)"),
        "outside": (linked(name, "/etc/passwd"), "is a link that leaves the model directory (to /etc/passwd)"),
        "loop": (linked(name, name), "cannot be looked up (Symlink loop"),
        "nothing": (linked(name, "nowhere"), "which does not exist"),
    }  # fmt: skip
    for kind, (tamper, message) in faults.items():
        model = variant(source, tmp_path / kind, tamper)
        found = refused(capsys, desk, "trim", model, "--langs", "de", "--out", desk / "out")
        assert found.startswith(f"{model / name}: "), kind
        assert message in found, kind


HARMLESS: dict[str, Tamper] = {
    "a name of half a surrogate pair": edit(CONFIG, _name_or_path="\ud800", architectures=["\udfff|<b>`x`"]),
    "architectures are text": edit(CONFIG, architectures="Model"),
    "architectures are a number": edit(CONFIG, architectures=5),
    "an id is negative": edit(CONFIG, eos_token_id=-1),
    "ids are nested": edit(CONFIG, eos_token_id=[[1, [2]]], bad_words_ids=[[10**10], ["x"]]),
    "configs inside are none": edit(CONFIG, text_config=[1], encoder=5, decoder="x"),
    "a key twice": twice(TOKENIZER, '"version":"1.0"'),
    "a large score": piece(20, "x", 1e300),
    "an empty piece": piece(20, "", -3.0),
    "padding without end": edit(
        TOKENIZER,
        padding={"strategy": {"Fixed": 10**15}, "direction": "Right", "pad_to_multiple_of": 0, "pad_id": 1,
                 "pad_type_id": 0, "pad_token": "<pad>"},
    ),
    "truncation to nothing": edit(
        TOKENIZER, truncation={"max_length": 0, "strategy": "LongestFirst", "stride": 5, "direction": "Right"}
    ),
    "a pattern of many ways": edit(
        TOKENIZER, normalizer={"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": "x"}
    ),
    "settings of all types": put(
        SETTINGS,
        '{"added_tokens_decoder": {"x": 1, "-5": {"content": "q"}, "99999999": {"content": 3}}, "pad_token": 5,'
        '"extra_special_tokens": 7, "additional_special_tokens": "x", "tokenizer_class": [1],'
        '"chat_template": [{"name": 1}, 5, {"template": {"a": 1}}, {"template": "\\ud800"}]}',
    ),
    "a template of escapes": put("chat_template.jinja", "{{ '\\ud800 \\x \\N{foo} \\" * 1000),
    "a licence named strangely": lambda root: (root / "LICENSE\n\udcff").write_text("free", encoding="utf-8"),
    "a card of another encoding": put("README.md", b"---\nlicense: mit\xff\n---\n\xff"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HARMLESS)
def test_odd_but_harmless(
    source: Path, tmp_path: Path, desk: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = variant(source, tmp_path / "model", HARMLESS[kind])
    before = tree(model)
    outcome = invoke(capsys, "trim", model, "--langs", "de", "--out", desk / "out")
    assert outcome.code == 0, outcome
    assert invoke(capsys, "verify", model, desk / "out").code == 0
    assert invoke(capsys, "inspect", model).code == 0
    assert [path.name for path in desk.iterdir()] == ["out"]
    assert tree(model) == before
    assert load_file(desk / "out" / WEIGHTS)
    json.loads((desk / "out" / CONFIG).read_text(encoding="utf-8"))


def test_a_panic_while_segmenting_is_an_error_of_ours(
    source: Path, tmp_path: Path, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    panics = edit(TOKENIZER, normalizer={"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAA="})
    model = variant(source, tmp_path / "model", panics)
    found = refused(capsys, desk, "trim", model, "--langs", "de", "--out", desk / "out", code=1)
    assert "the tokenizers library panicked while segmenting text with it: index out of bounds" in found


def test_a_manifest_that_lies(
    source: Path, desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert invoke(capsys, "trim", source, "--langs", "de", "--out", out).code == 0
    lies: dict[str, tuple[Tamper, str]] = {
        "more ids": (edit("polycompress.json", kept_ids=[[0, 260]]), r"keeps 260 ids, but tokenizer\.json has \d+"),
        "ids beyond": (edit("polycompress.json", kept_ids=[[0, 5], [10**6, 1]]), r"keeps id 1000000, but the source's"),
        "too many": (edit("polycompress.json", kept_ids=[[0, 1 << 40]]), r"'kept_ids': stands for 1099511627776 ids"),
        "padding": (edit("polycompress.json", pad_rows=-3), r"'pad_rows' is -3, no number of rows\. Restore"),
        "languages": (edit("polycompress.json", languages=[{"code": "qqq"}]), r"Unknown language 'qqq'"),
        "languages as text": (edit("polycompress.json", languages=["de", 5]), r"give --text FILE, or --langs"),
        "schema": (edit("polycompress.json", schema=99), r"schema 99 is newer .*pip install -U"),
    }  # fmt: skip
    for name, (tamper, message) in lies.items():
        model = variant(out, tmp_path / name, tamper)
        found = refused(capsys, desk, "verify", source, model)
        assert re.search(message, found), found
