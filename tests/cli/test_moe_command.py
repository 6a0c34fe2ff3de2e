from __future__ import annotations

import json
from pathlib import Path

import pytest

from polycompress.pipelines.moe_upcycle import moe_upcycle
from polycompress.pipelines.trimming import gathering
from tests.command_line import invoke, refused
from tests.tiny_models import make_tiny

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "plain", vocab_size=350)


@pytest.fixture(scope="module")
def moe(source: Path) -> Path:
    moe_upcycle(source, out=source.parent / "moe", langs="de,nl,fr,sw", experts=4)
    return source.parent / "moe"


def test_upcycle_shows_experts_and_sizes(source: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "moe"
    done = invoke(
        capsys,
        "moe",
        "upcycle",
        source,
        "--langs",
        "Bantu,de,fr",
        "--experts",
        "3",
        "--layer-list",
        "0",
        "--out",
        out,
    )
    assert done.code == 0, done.err
    assert "3 experts in layer 0, 2 for each token" in done.out
    for part in ("Narrow Bantu", "Germanic", "share of languages", "that one token meets", "written to"):
        assert part in done.out
    assert json.loads((out / "config.json").read_text())["moe"]["layers"] == [0]
    assert json.loads((out / "polycompress.json").read_text())["command"][0] == "polycompress"


def test_a_plan_as_json(source: Path, tmp_path: Path, capsys: Capture) -> None:
    table = tmp_path / "own.tsv"
    table.write_text("de\tNorth\nfr\tSouth\n")
    done = invoke(
        capsys, "moe", "upcycle", source, "--families", table, "--dry-run", "--json", "--no-normalise",
        "--routing", "forced", "--top-k", "1", "--noise", "0", "--layers", "1",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["out"] is None and found["noise"] == 0
    assert found["moe"] == {
        "layers": [1], "experts": 2, "top_k": 1, "normalise": False, "preset": None, "routing": "forced",
        "families": {"North": [0], "South": [1]}, "languages": {"deu-Latn": "North", "fra-Latn": "South"},
    }  # fmt: skip
    assert "do not sum to 1" in found["notes"][0]
    assert [each.name for each in tmp_path.iterdir()] == ["own.tsv"]


def test_extract(moe: Path, tmp_path: Path, capsys: Capture) -> None:
    done = invoke(capsys, "moe", "extract", moe, "--family", "Bantu", "--out", tmp_path / "x")
    assert done.code == 0, done.err
    assert "moe, its Narrow Bantu expert (3): Swahili" in done.out
    planned = invoke(
        capsys, "moe", "extract", moe, "--family", "germanic", "--expert", "0", "--dry-run", "--json"
    )
    found = json.loads(planned.out)
    assert (found["family"], found["expert"], found["trim"]) == ("Germanic", 0, None)


def test_extract_and_trim(
    moe: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 1_000)
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path.parent / "cache"))
    (tmp_path / "sw.txt").write_text("Nairobi ni mji mkuu wa Kenya na jiji kubwa zaidi.\n" * 40)
    corpus = f"sw={tmp_path / 'sw.txt'}"
    request = ("moe", "extract", moe, "--family", "Bantu", "--trim", "--corpus", corpus)
    done = invoke(capsys, *request, "--out", tmp_path / "x")
    assert done.code == 0, done.err
    assert "certificate: passed" in done.out and "expected tokens kept" in done.out
    assert json.loads(invoke(capsys, *request, "--dry-run", "--json").out)["trim"]["plan"]["languages"] == [
        "swh-Latn"
    ]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["sw.txt", "x"]


def test_merge(source: Path, tmp_path: Path, capsys: Capture) -> None:
    request = ("moe", "merge", source, source, "--family", "A=de,nl", "--family", "B=fr", "--shared", "a")
    done = invoke(capsys, *request, "--out", tmp_path / "moe")
    assert done.code == 0, done.err
    assert "2 experts in layers 0, 1" in done.out and "plain, plain; shared: plain" in done.out
    found = json.loads(invoke(capsys, *request, "--dry-run", "--json").out)
    assert found["moe"]["families"] == {"A": [0], "B": [1]} and found["shared"] == "plain"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("upcycle", "PLAIN", "--langs", "de", "--layer-list", "a,1"),
            "--layer-list 'a,1': write layers counted",
        ),
        (("upcycle", "PLAIN", "--langs", "de", "--layers", "9"), "--layers 9: the model has 2 layers"),
        (("upcycle", "PLAIN", "--langs", "de,fr", "--top-k", "3"), "--top-k 3: there are 2 experts"),
        (("upcycle", "PLAIN", "--langs", "de", "--families", "apollo,"), "neither a preset nor a file"),
        (("upcycle", "PLAIN", "--langs", "de,tr", "--families", "apollo"), "Turkish (tur-Latn)"),
        (("upcycle", "PLAIN"), "No language was given"),
        (("upcycle", "MOE", "--langs", "de"), "has experts already"),
        (("extract", "PLAIN", "--family", "Romance"), "has no experts"),
        (("extract", "MOE", "--family", "Romanic"), "Unknown family 'Romanic'. Did you mean Romance?"),
        (("extract", "MOE", "--family", "Germanic"), "choose with --expert N"),
        (("merge", "PLAIN"), "One model makes no mixture"),
        (("merge", "PLAIN", "MOE"), "has experts already"),
        (("merge", "PLAIN", "PLAIN"), "its manifest names no languages"),
    ],
)
def test_what_cannot_be_is_refused(
    words: tuple[str, ...], message: str, source: Path, moe: Path, tmp_path: Path, capsys: Capture
) -> None:
    given = [{"PLAIN": str(source), "MOE": str(moe)}.get(word, word) for word in words]
    assert message in refused(capsys, tmp_path, "moe", *given, "--out", tmp_path / "x")


def test_an_output_is_needed_and_kept(source: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "--out" in refused(capsys, tmp_path, "moe", "upcycle", source, "--langs", "de")
    (tmp_path / "x").mkdir()
    message = refused(capsys, tmp_path, "moe", "upcycle", source, "--langs", "de", "--out", tmp_path / "x")
    assert "already exists" in message


def test_the_group_s_help_has_examples(capsys: Capture) -> None:
    for words in (("moe",), ("moe", "upcycle"), ("moe", "extract"), ("moe", "merge")):
        done = invoke(capsys, *words, "--help")
        assert done.code == 0 and done.out.count(f"polycompress {words[0]} ") >= 2
