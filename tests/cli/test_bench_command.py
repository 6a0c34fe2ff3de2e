from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer

from polycompress.cli.bench import bench, whole_numbers
from polycompress.cli.determinism import use_threads
from polycompress.errors import InputError
from polycompress.evaluation.speed_loading import Loading
from polycompress.evaluation.speed_memory import Memory
from polycompress.pipelines import bench as bench_module
from tests.command_line import environment
from tests.tiny_models import make_tiny

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(bench)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_tiny("xlm-roberta", "sequence", root / "large", padding_rows=2000)
    make_tiny("xlm-roberta", "sequence", root / "small")
    return root


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(peak_mib=400.0, loaded_mib=380.0, libraries_mib=300.0, mapped_mib=0.0)
    loading = Loading(libraries_seconds=3.0, model_seconds=0.05, tokenizer_seconds=None, memory=memory)
    monkeypatch.setattr(bench_module, "measure_loading", lambda path, **request: loading)


def call(*arguments: str | Path) -> None:
    app(
        [*map(str, arguments), "--precision", "fp32", "--rounds", "1", "--device", "cpu"],
        standalone_mode=False,
    )


@pytest.mark.usefixtures("no_processes")
def test_a_table_and_a_file(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    call(models / "large", models / "small", "--batch", "1,3", "--length", "8,16", "--out", out)
    shown = capsys.readouterr().out
    for part in (
        "large", "small", "parameters", "on disk", "load time, fp32", "50 ms", "peak memory, fp32", "419.4 MB",
        "Latency at batch 1, fp32", "8 tokens", "16 tokens", "Tokens a second, fp32", "3 x 16", "against large",
        "cpu, threads: ",
    ):  # fmt: skip
        assert part in shown, part
    found = json.loads(out.read_text())
    ratio = found["ratios"]["parameters"]["total"][1]
    assert f"{ratio:.2f}x" in shown
    assert f"written to {out}" in shown.replace("\n", "")
    call(models / "small", "--batch", "1", "--length", "8", "--out", out, "--overwrite")
    assert len(json.loads(out.read_text())["models"]) == 1


def test_an_output_that_may_not_be_written_is_refused_first(models: Path, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    for name, message in (
        ("old.json", "already exists. Choose another --out, or pass --overwrite"),
        ("none/x.json", "there is no directory"),
        ("", "is a directory"),
    ):
        with pytest.raises(InputError, match=message):
            call(models / "nothing", "--out", tmp_path / name)
    assert (tmp_path / "old.json").read_text() == "old"


def test_json_is_one_object(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(models / "small", "--batch", "2", "--length", "8", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "bench"
    assert [each["batch"] for each in found["models"][0]["timings"]] == [1, 2]


@pytest.mark.usefixtures("no_processes")
def test_one_model_needs_no_comparison(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(models / "small", "--batch", "1", "--length", "8")
    shown = capsys.readouterr().out
    assert "against" not in shown
    assert "1.00x" not in shown


@pytest.mark.parametrize("text", ["", "1,", "x", "0", "-1", "1.5", "1;2", "٣", "9999999999"])
def test_sizes_that_are_none(models: Path, text: str) -> None:
    with pytest.raises(
        InputError, match=r"--batch .*: write whole numbers from 1 on, joined by commas, such as 8,32"
    ):
        call(models / "small", "--batch", text)


def test_sizes() -> None:
    assert whole_numbers("--length", " 32, 128") == [32, 128]


def test_threads() -> None:
    before = torch.get_num_threads()
    use_threads(None)
    assert torch.get_num_threads() == before
    use_threads(before)
    for wrong in (0, -1, 5000):
        with pytest.raises(InputError, match=f"--threads is {wrong}; whole numbers from 1 to 1024"):
            use_threads(wrong)


def test_wrong_words(models: Path) -> None:
    with pytest.raises(InputError, match="device is 'tpu': give auto, cpu or cuda"):
        app([str(models / "small"), "--device", "tpu"], standalone_mode=False)
    with pytest.raises(InputError, match="precision is 'int8'; known are fp32 and bf16"):
        app([str(models / "small"), "--precision", "int8"], standalone_mode=False)


def test_without_torch_it_says_what_to_install(models: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    program = (
        "import sys, typer; from polycompress.cli.bench import bench; app = typer.Typer(); app.command()(bench)\n"
        "from polycompress.errors import PolycompressError\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "except PolycompressError as error: print(error)"
    )
    settings = environment()
    settings["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{settings['PYTHONPATH']}"
    helped, refused = (
        subprocess.run(
            [sys.executable, "-c", program, each], capture_output=True, text=True, env=settings
        ).stdout
        for each in ("--help", str(models / "small"))
    )
    assert "--rounds" in helped
    assert "polycompress bench needs packages that are not installed" in refused
    assert "pip install 'polycompress[train]'" in refused
