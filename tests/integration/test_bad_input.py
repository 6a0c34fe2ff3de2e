"""Wrong requests and damaged inputs: exit code 2, one message that says what to do, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polycompress.modeldir import rawio
from polycompress.pipelines.trimming import writing as trim_writing
from tests.command_line import environment, invoke, refused, shell, tree
from tests.tampering import (
    INDEX,
    SECOND,
    WEIGHTS,
    Tamper,
    change,
    cut,
    drop,
    edit,
    linked,
    placed,
    put,
    shards,
    variant,
)
from tests.tiny_models import make_tiny

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short_word_lists")]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


def trim_refused(
    capsys: pytest.CaptureFixture[str],
    desk: Path,
    model: Path,
    *options: str | os.PathLike[str],
    langs: str = "de",
) -> str:
    return refused(capsys, desk, "trim", model, "--langs", langs, "--out", desk / "out", *options)


def test_the_source_itself_is_fine(source: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(capsys, "trim", source, "--langs", "de", "--out", desk / "out").code == 0
    assert [path.name for path in desk.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("langs", "message"),
    [
        ("Germn", r"Unknown language 'Germn'\. Did you mean German \(deu-Latn\)\? Give a code or name"),
        ("de,Inglish", r"Unknown language 'Inglish'\. Did you mean English \(eng-Latn\)\?"),
        ("tlh", r"Unknown language 'tlh' \(Klingon is not in the registry\)"),
        ("de-Cyrl", r"Unknown language 'de-Cyrl'\. Did you mean German \(deu-Latn\)\?"),
        (
            "sw",
            r"no built-in word frequencies for Swahili \(swh-Latn\)\. Give text instead: --corpus swh-Latn='FILES'",
        ),
        ("de,yo", r"no built-in word frequencies for Yoruba \(yor-Latn\)"),
        ("", "no language was given; name some with --langs"),
        (" , ", r"No language in ' , '"),
        ("x" * 5000, r"^Unknown language 'x{60}\.\.\.'\. Give"),
        ("\x00", r"Unknown language '\\x00'"),
    ],
)
def test_languages(
    source: Path, desk: Path, langs: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(message, trim_refused(capsys, desk, source, langs=langs))


def test_three_hundred_languages_take_no_time(
    source: Path, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    langs = ",".join(["de", "en", "fr"] * 100)
    assert invoke(capsys, "trim", source, "--langs", langs, "--dry-run", "--json").code == 0
    assert "Unknown language" in trim_refused(capsys, desk, source, langs=langs + ",qqq")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"--corpus '.*de\.txt': no file matches it \(looked from "),
        (b"", r"--corpus '.*de\.txt': .*de\.txt: empty\. Give a file with one text a line"),
        (b"\n \n\n", r"de\.txt: no text in it\. Give a file with one text a line"),
        ("Größe\n".encode() + "Straße".encode("latin-1"), r"de\.txt: byte 12 is not UTF-8 .*iconv"),
        ("Größe".encode("utf-16"), r"de\.txt: byte 3 is zero: .*UTF-16"),
        ("Größe".encode()[:3], r"de\.txt: byte 2 is not UTF-8 \(unexpected end of data\)"),
        (b"\x1f\x8b\x08\x00", r"de\.txt: the compressed data are damaged or cut off after 0 unpacked bytes"),
        (b"\x28\xb5\x2f\xfd\x00\x00", r"de\.txt: the compressed data are damaged or cut off"),
    ],
    ids=["missing", "empty", "blank", "latin-1", "utf-16", "cut", "gzip", "zstd"],
)
def test_corpora(
    source: Path, desk: Path, content: bytes | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = desk / "de.txt"
    if content is not None:
        path.write_bytes(content)
    assert re.search(message, trim_refused(capsys, desk, source, "--corpus", f"de={path}"))


@pytest.mark.parametrize(
    ("corpus", "langs", "message"),
    [
        ("en={}", "de", "is English (eng-Latn), which was not asked for: add it to --langs"),
        (
            "{}",
            "de,en",
            "does not say its language, and there are 2 (deu-Latn, eng-Latn): write --corpus deu-Latn=",
        ),
        ("de=", "de", "names no file"),
        ("", "de", "names no file"),
        ("=x", "de", "Unknown language ''"),
        ("Germn={}", "de", "Did you mean German (deu-Latn)?"),
        ("nowhere/**", "de", "no file matches it"),
    ],
)
def test_corpus_arguments(
    source: Path, desk: Path, corpus: str, langs: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk / "a.txt").write_text("Tag\n", encoding="utf-8")
    found = trim_refused(capsys, desk, source, "--corpus", corpus.format(desk / "a.txt"), langs=langs)
    assert message in found


@pytest.mark.parametrize("option", ["--corpus", "--keep"])
def test_pipes_and_devices_are_not_waited_for(
    source: Path, desk: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(desk / "pipe")
    for path in (desk / "pipe", Path("/dev/zero"), Path("/dev/stdin")):
        message = trim_refused(capsys, desk, source, option, path)
        assert f"{path}: " in message
        assert re.search(r"Save the text to a file|no text in it|Is a directory|is empty", message)


def more_pieces(document: Any) -> None:
    """Fifty pieces more than the table has rows."""
    document["model"]["vocab"] += [[f"zz{number}", -9.0] for number in range(50)]
    document["added_tokens"][-1]["id"] += 50


MODEL_FAULTS: dict[str, tuple[tuple[Tamper, ...], str]] = {
    "cut in the data": ((cut(WEIGHTS, -1),), r"model\.safetensors: tensor '.*data_offsets .*truncated or corrupt"),
    "cut in the header": ((cut(WEIGHTS, 200),), r"model\.safetensors: header length \d+ reaches beyond the file's"),
    "empty": ((put(WEIGHTS, b""),), r"model\.safetensors: 0 bytes are too few for a safetensors file"),
    "noise": ((put(WEIGHTS, bytes(range(8)) * 100),), r"model\.safetensors: header length \d+ is over the limit"),
    "2**63": (
        (put(WEIGHTS, (1 << 63).to_bytes(8, "little") + b"{}"),),
        r"header length 9223372036854775808 is over the limit of 100000000 bytes",
    ),
    "shard missing": (
        (shards, drop(SECOND)),
        rf"{SECOND}: this shard, named by {INDEX}, is missing\. Fetch the file again",
    ),
    "pickle only": (
        (put("pytorch_model.bin", b"\x80\x02"), drop(WEIGHTS)),
        r"has pytorch_model\.bin but no model\.safetensors\. .*convert it[^$]*\npython -c ",
    ),
    "no weights": ((drop(WEIGHTS),), rf"has neither model\.safetensors nor {INDEX}\. Give a model directory"),
    "index above": ((placed("../other.safetensors"),), rf"{INDEX}: 'weight_map' puts .* into '\.\./other\."),
    "index absolute": ((placed("/etc/passwd"),), rf"{INDEX}: 'weight_map' puts tensor '.*' into '/etc/passwd'"),
    "index number": ((placed(5),), rf"{INDEX}: 'weight_map' puts tensor '.*' into 5"),
    "link out": ((linked(WEIGHTS, "/etc/passwd"),), r"model\.safetensors: is a link that leaves the model directory"),
    "link to nothing": ((linked(WEIGHTS, "nowhere"),), r"model\.safetensors: is a link to .*nowhere, which does not"),
    "link loop": ((linked(WEIGHTS, WEIGHTS),), r"model\.safetensors: cannot be looked up \(Symlink loop"),
    "tokenizer type": (
        (edit("tokenizer.json", model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}),),
        r"tokenizer\.json: model\.type is 'WordLevel', which cannot be trimmed; supported types: Unigram, BPE",
    ),
    "tokenizer too large for the table": (
        (change("tokenizer.json", more_pieces),),
        r"vocabulary and the embedding table do not fit: .*ids up to 311, but .* has only 267 rows\. Is tokenizer",
    ),
    "no tokenizer": ((drop("tokenizer.json"),), r"has no tokenizer\.json.*this writes one: python -c"),
    "no config": ((drop("config.json"),), r"config\.json: no such file\. Is '.*' a model directory, and complete\?"),
    "unknown model type": ((edit("config.json", model_type="nova"),), r"Unknown model_type 'nova'.*Known types"),
}  # fmt: skip


@pytest.mark.parametrize("fault", MODEL_FAULTS)
def test_models(
    source: Path, tmp_path: Path, desk: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tampers, message = MODEL_FAULTS[fault]
    model = variant(source, tmp_path / "model", *tampers)
    found = trim_refused(capsys, desk, model)
    assert re.search(message, found), found
    assert str(model) in found
    assert refused(capsys, desk, "inspect", model) == found
    assert refused(capsys, desk, "verify", model, source, "--langs", "de") == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--size", "10"),
            r"--size 10 is smaller than the (\d+) tokens that must be kept .*ask for at least \1",
        ),
        (("--size", "0"), "--size is a number of tokens, such as 40000; got 0"),
        (("--coverage", "1.5"), "--coverage is a share between 0 and 1, such as 0.9999; got 1.5"),
        (("--coverage", "nan"), "--coverage is a share between 0 and 1"),
        (
            ("--size", "300", "--coverage", "0.9"),
            "--coverage and --size cannot be combined: give one of them",
        ),
        (("--min-count", "2"), "--min-count counts occurrences in a corpus; .*Give --corpus"),
        (
            ("--no-frequencies",),
            "German .* has no corpus, and built-in word frequencies are switched off; add --corpus",
        ),
        (("--keep-regex", "("), r"--keep-regex '\(' is not a valid pattern"),
        (("--keep-regex", "qqqqqq"), "--keep-regex 'qqqqqq' fits none of the 262 tokens"),
        (("--keep", "/nowhere/keep"), "/nowhere/keep: no such file. Check the name"),
        (("--keep", "/"), "/: is a directory. Name a file"),
        (
            ("--pad-to-multiple-of", "0"),
            "--pad-to-multiple-of is a number of rows from 1 to 65536, such as 64; got 0",
        ),
        (("--pad-to-multiple-of", "99999999999"), "--pad-to-multiple-of is a number of rows from 1 to 65536"),
    ],
)
def test_options(
    source: Path, desk: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(message, trim_refused(capsys, desk, source, *options))


def test_a_keep_file_that_is_not_utf8(source: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "keep").write_bytes(b"abc\nd\xe9f\n")
    assert "keep: byte 5 is not UTF-8" in trim_refused(capsys, desk, source, "--keep", desk / "keep")


@pytest.mark.parametrize("kind", ["model", "file", "link"])
def test_an_existing_output_is_refused(
    source: Path, desk: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = desk / "out"
    if kind == "model":
        variant(source, out)
    elif kind == "file":
        out.write_text("mine", encoding="utf-8")
    else:
        out.symlink_to(source)
    message = f"{out}: already exists. Choose another output, or pass --overwrite to replace it."
    assert trim_refused(capsys, desk, source) == message
    assert refused(capsys, desk, "convert-tokenizer", source, "--out", out)
    assert refused(capsys, desk, "demo-model", out) == message
    if kind != "model":
        assert trim_refused(capsys, desk, source, "--overwrite").startswith(
            f"{out}: is a {kind}. --overwrite replaces"
        )


def test_the_model_itself_is_never_replaced(
    source: Path, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = variant(source, desk / "models" / "tiny")
    put("config.json", "{}")(desk / "models")
    for out in (model, desk / "models", desk / "models" / "tiny" / ".." / "tiny"):
        message = refused(capsys, desk, "trim", model, "--langs", "de", "--out", out, "--overwrite")
        assert "is or holds the model it is to be made from" in message
    assert invoke(capsys, "trim", model, "--langs", "de", "--out", model / "de").code == 0


@pytest.mark.parametrize("out", ["", ".", "..", "/", "/dev/null", "/dev/null/x", "x" * 300])
def test_places_that_are_no_output(
    source: Path, desk: Path, out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    for options in ((), ("--overwrite",)):
        message = refused(capsys, desk, "trim", source, "--langs", "de", "--out", out, *options)
        assert re.search(r"hoose (another|a shorter)|Name a new one", message)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", r"^'': no such directory\. MODEL is a directory, the word 'demo', or owner/name"),
        ("tiny", r"^tiny: no such directory\."),
        ("./tinny", r"^\./tinny: no such directory\. Did you mean 'tiny'\?"),
        ("a/b/c", r"^a/b/c: no such directory\."),
        ("tiny/config.json", r"^tiny/config\.json: is a file\. Give the directory"),
        ("x" * 5000, r"x: cannot be looked up \(File name too long\)"),
        ("http://example.org/m", r"no such directory"),
    ],
)
def test_models_that_are_not_there(
    source: Path,
    desk: Path,
    model: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(desk)
    if model != "tiny":
        variant(source, desk / "tiny")
    assert re.search(message, refused(capsys, desk, "trim", model, "--langs", "de", "--out", "out"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_model_that_may_not_be_read(
    source: Path, tmp_path: Path, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = variant(source, tmp_path / "model")
    for path in (model, model / WEIGHTS, model / "config.json"):
        mode = path.stat().st_mode
        path.chmod(0)
        assert re.search("cannot be|permission", trim_refused(capsys, desk, model), re.IGNORECASE)
        path.chmod(mode)


def test_in_a_process_of_its_own(source: Path, tmp_path: Path, desk: Path) -> None:
    model = variant(source, tmp_path / "model", cut(WEIGHTS, -1))
    outcome = shell('polycompress trim "$MODEL" --langs de --out out', desk, {"MODEL": str(model)})
    assert (outcome.code, outcome.out) == (2, "")
    assert re.fullmatch(r"error: .*model\.safetensors: tensor .*\n", outcome.err)
    assert tree(desk) == []


def test_a_directory_named_like_an_option_or_a_word(source: Path, desk: Path) -> None:
    variant(source, desk / "--langs")
    variant(source, desk / "demo")
    script = (
        "polycompress trim --langs de --out ./--out -- --langs && polycompress trim demo --langs de --out -o"
    )
    assert shell(script, desk).code == 0
    assert sorted(path.name for path in desk.iterdir()) == ["--langs", "--out", "-o", "demo"]


@pytest.mark.parametrize("name", ["ü 🦊", "a\nb", "\u202egnp", "'\"$(x)`;", "[red]", "\udcff"])
def test_names_of_any_kind(source: Path, desk: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = variant(source, desk / name)
    outcome = invoke(capsys, "trim", model, "--langs", "de", "--out", desk / f"{name}-de", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["out"] == str(desk / f"{name}-de")
    assert invoke(capsys, "verify", model, desk / f"{name}-de").code == 0
    assert invoke(capsys, "inspect", model).code == 0


STEPS = ("mkdir", "copying", "weights", "card", "sync")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_full_disk_at_any_step_leaves_nothing(
    source: Path,
    desk: Path,
    step: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = variant(source, desk / "model", put("LICENSE", "free"))

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    place, name = {
        "mkdir": (Path, "mkdir"),
        "copying": (trim_writing, "copy_file"),
        "weights": (rawio.os, "write"),
        "card": (Path, "write_text"),
        "sync": (os, "fsync"),
    }[step]
    monkeypatch.setattr(place, name, fail)
    message = refused(capsys, desk, "trim", model, "--langs", "de", "--out", desk / "new" / "out", code=1)
    assert message.startswith(f"{desk}/new/out: could not be written")
    assert message.endswith("Nothing was left behind.")


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv[1:] = sys.argv[2:]
from polycompress.cli.main import main
main()
"""


@pytest.mark.parametrize("limit", [0, 3_000, 20_000, 30_000])
def test_a_limit_on_the_size_of_files_leaves_nothing(source: Path, desk: Path, limit: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit),
         "trim", source, "--langs", "de", "--coverage", "1", "--out", "new/out"],
        cwd=desk, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert re.fullmatch(
        r"error: new/out: could not be written.*file-size limit.*\n", done.stderr.splitlines(True)[-1]
    )
    assert "Traceback" not in done.stderr
    assert tree(desk) == []


def test_a_full_disk_keeps_the_old_output(
    source: Path, desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = desk / "out"
    assert invoke(capsys, "trim", source, "--langs", "de", "--size", "150", "--out", out).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    message = refused(
        capsys, desk, "trim", source, "--langs", "de", "--size", "180", "--out", out, "--overwrite", code=1
    )
    assert "the disk is full. Free space there, or write to another disk" in message
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
