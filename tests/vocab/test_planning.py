"""Budgets as people write them, and the size that one holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.vocab.planning import Budget, Unit, budget_text, largest_size, parse_budget


@pytest.mark.parametrize(("text", "value", "unit"), [
    ("60MB", 60_000_000, "bytes"), ("1.5gb", 1_500_000_000, "bytes"), ("2 KiB", 2048, "bytes"),
    ("100MiB", 100 << 20, "bytes"), (" 20M ", 20_000_000, "parameters"), ("0.5g", 500_000_000, "parameters"),
    ("300k", 300_000, "parameters"), ("0.1KB", 100, "bytes"), ("1.001K", 1001, "parameters"),
])  # fmt: skip
def test_budgets_are_read(text: str, value: int, unit: Unit) -> None:
    assert parse_budget(text) == Budget(value=value, unit=unit)


@pytest.mark.parametrize(("text", "message"), [
    ("", "--budget '' is no size. Write bytes as 60MB"),
    ("much", "--budget 'much' is no size"),
    ("-3MB", "--budget '-3MB' is no size"),
    ("1e9", "--budget '1e9' is no size"),
    ("1" * 40, "is no size"),
    ("20", r"--budget '20' does not say of what\. Write bytes as 60MB .* and parameters as 20M"),
    ("20Mb/s", "is no size"),
    ("5xy", "--budget '5xy': 'xy' is no unit known here"),
    ("0.5B", r"--budget '0\.5B': 'B' is no unit known here: 0\.5GB, or 0\.5G parameters\?"),
])  # fmt: skip
def test_what_is_no_budget_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_budget(text)


@pytest.mark.parametrize(("value", "unit", "text"), [
    (60_000_000, "bytes", "60MB"), (60_000_001, "bytes", "60.01MB"), (999, "bytes", "0.999KB"),
    (1_234_567, "parameters", "1.235M"), (12_345_678_901, "parameters", "12.35G"), (0, "bytes", "0KB"),
    (999_999, "bytes", "1000KB"), (100_000, "parameters", "100K"),
])  # fmt: skip
def test_budgets_are_written(value: int, unit: Unit, text: str) -> None:
    assert budget_text(value, unit) == text


@given(st.integers(0, 10**14), st.sampled_from(["bytes", "parameters"]))
def test_what_is_written_holds_the_amount_and_little_more(value: int, unit: Unit) -> None:
    again = parse_budget(budget_text(value, unit))
    assert again.unit == unit
    assert value <= again.value <= max(value * 1.002, value + 2)


@given(st.integers(0, 500), st.integers(1, 9), st.integers(0, 4000), st.integers(0, 400), st.integers(1, 64))
def test_the_largest_size_fits_and_no_larger_one_does(
    fixed: int, row: int, budget: int, most: int, multiple: int
) -> None:
    def cost(rows: int) -> int:
        return fixed + row * rows

    size = largest_size(cost, budget, most, multiple)
    padded = [tokens + -tokens % multiple for tokens in range(most + 1)]
    assert 0 <= size <= most
    assert size == 0 or cost(padded[size]) <= budget
    assert size == most or cost(padded[size + 1]) > budget
