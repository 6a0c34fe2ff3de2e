"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.modeldir.paths import user_path


def test_a_path_need_not_lead_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/models") == tmp_path / "models"
    assert user_path("one/two") == Path("one/two")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("~nobodyhere/x", "Could not determine home directory"),
        ("x" * 5000, "File name too long"),
        ("a\0b", "it holds a zero byte"),
    ],
)
def test_names_that_no_file_can_have(name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        user_path(name)
    assert len(str(caught.value)) < 200
