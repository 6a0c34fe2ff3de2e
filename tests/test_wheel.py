from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROBE = """
import polycompress
from polycompress.languages import find_language, is_script_character
from polycompress.resources import data_path

assert find_language("Deutsch").code == "deu-Latn"
assert is_script_character("ß", find_language("de"))
assert "eval" in (data_path("eval") / "README.md").read_text(encoding="utf-8")
assert "stages:" in (data_path("eval") / "recipes" / "ernie-tiny.yaml").read_text(encoding="utf-8")
print(polycompress.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("polycompress-*.whl")
    return path


def test_what_the_wheel_holds(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"polycompress"}
    assert "polycompress/py.typed" in names
    assert {"polycompress/_data/languages/registry.tsv", "polycompress/_data/languages/scripts.tsv"} <= set(
        names
    )
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "polycompress").rglob("*.py")}
    assert sources <= set(names)


def test_an_installed_wheel_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    assert probe(elsewhere, target) == target / "polycompress" / "__init__.py"
    assert (target / "bin" / "polycompress").is_file()


def test_a_checkout_on_the_path_finds_its_data(tmp_path: Path) -> None:
    """An editable install is this: a line in a .pth file that puts the checkout on the path."""
    assert probe(tmp_path, ROOT) == ROOT / "polycompress" / "__init__.py"


def test_an_editable_wheel_points_at_the_checkout(tmp_path: Path) -> None:
    code = f"from hatchling.build import build_editable; print(build_editable({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    archive = zipfile.ZipFile(tmp_path / done.stdout.strip())
    (pth,) = (name for name in archive.namelist() if name.endswith(".pth"))
    assert archive.read(pth).decode().strip() == str(ROOT)
    assert "polycompress/__init__.py" not in archive.namelist()


def probe(directory: Path, path: Path) -> Path:
    """Run the probe in another directory with one more entry on the path."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())
