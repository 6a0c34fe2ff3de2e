"""The release check's own parts; ``make release-check`` runs the whole."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.command_line import REPOSITORY, invoke


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_check", REPOSITORY / "release" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_model_can_be_trimmed(
    check: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run([sys.executable, "-c", check.MODEL, str(tmp_path / "model")], check=True)
    planned = invoke(capsys, "trim", tmp_path / "model", "--langs", "de", "--dry-run", "--json")
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["plan"]["kept"] > 30


def test_wheels_that_differ_are_told_apart(check: ModuleType, tmp_path: Path) -> None:
    for name, text in (("one", "a"), ("other", "b")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("same.py", "")
            archive.writestr("changed.py", text)
            archive.writestr(f"{name}.py", "")
    assert check.differing(tmp_path / "one", tmp_path / "other") == ["changed.py", "one.py", "other.py"]


def test_a_command_that_fails_ends_it(check: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="ended with 3:\nbroken"):
        check.run([sys.executable, "-c", "print('broken'); raise SystemExit(3)"], tmp_path)
