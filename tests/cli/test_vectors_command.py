from __future__ import annotations

import json
from pathlib import Path

import pytest

from polycompress.cli.main import run


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Two languages with the same vectors, in the keys of one file."""
    lines = [
        f"{prefix}w{chr(97 + number)} {number} {number * number % 7} {-number % 5}\n"
        for prefix in ("", "yor:")
        for number in range(1, 26)
    ]
    path = tmp_path / "net.vec"
    path.write_text("".join(lines), "utf-8")
    return path


def test_vectors_are_aligned_and_shown(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, lexicon = tmp_path / "out", tmp_path / "en-yo.tsv"
    lexicon.write_text(
        "en\tyo\n" + "".join(f"w{chr(97 + n)}\tw{chr(97 + n)}\n" for n in range(1, 26)), "utf-8"
    )
    command = ["vectors", "align", str(vectors), "--to", "en", "--lexicon", str(lexicon), "--out", str(out)]
    assert run(command) == 2
    assert "too few to judge by" in capsys.readouterr().err
    assert not out.exists()
    assert run([*command, "--held-out", str(lexicon), "--json"]) == 2
    assert "too few for a rotation" in capsys.readouterr().err
    assert run([*command, "--force", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["to"], told["method"]) == ("eng-Latn", "lexicon")
    assert run([*command, "--force", "--overwrite"]) == 0
    assert "yor-Latn" in capsys.readouterr().out
    assert run(["vectors", "show", str(out), "--word", "en=wb"]) == 0
    shown = capsys.readouterr().out
    assert "50 vectors of 3 values, brought to eng-Latn" in shown
    assert "yor-Latn: wb 1.00" in shown


def test_wrong_options_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["vectors", "train", "--corpus", "yo=x.txt", "--out", str(tmp_path / "out")]
    assert run([*command, "--subwords", "three"]) == 2
    assert "write two numbers such as 3-6, or none" in capsys.readouterr().err
    assert run(command) == 2
    assert "no file matches it" in capsys.readouterr().err
