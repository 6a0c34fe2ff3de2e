"""Requests: every fault at once, before anything is read."""

from __future__ import annotations

import pytest

from polycompress.errors import InputError
from polycompress.pipelines.initialising.request import NewTokens, OfaSettings, check_request


def test_a_whole_request_passes() -> None:
    check_request(NewTokens(tokenizer="tok"), OfaSettings(), ["aligned"], out="out", dry_run=False)
    check_request(
        NewTokens(extend=("yo",), corpus=("yo=x",)), OfaSettings(init="pieces"), [], out=None, dry_run=True
    )


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        check_request(
            NewTokens(tokenizer="tok", extend=("yo",), pieces=0),
            OfaSettings(init="ofa", rank=0, neighbours=0, temperature=0.0, words=0, seed=-1, split="odd"),  # type: ignore[arg-type]
            [],
            out=None,
            dry_run=False,
        )
    for told in (
        "no output directory", "two sources", "needs text", "--pieces 0", "--rank 0", "--neighbours 0",
        "--temperature 0", "--words 0", "--seed -1", "--split 'odd'", "needs word vectors",
    ):  # fmt: skip
        assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 11


@pytest.mark.parametrize(
    ("asked", "init", "told"),
    [
        (NewTokens(), "pieces", "there are no new tokens"),
        (NewTokens(tokenizer="tok"), "focsu", "Did you mean focus"),
        (NewTokens(tokenizer="tok"), "wechsel", "--init wechsel needs word vectors"),
        (NewTokens(tokenizer="tok"), "focus", "trains vectors"),
        (NewTokens(tokenizer="tok", check=("en",)), "pieces", "--check compares"),
    ],
)
def test_one_fault_stands_alone(asked: NewTokens, init: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        check_request(asked, OfaSettings(init=init), [], out="out", dry_run=False)
    assert not str(caught.value).startswith("- ")
