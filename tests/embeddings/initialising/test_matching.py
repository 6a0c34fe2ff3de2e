"""Which target tokens the source has, and by which rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.embeddings.initialising.applying import apply_plan
from polycompress.embeddings.initialising.matching import Vocabulary, folded, match_tokens
from polycompress.embeddings.initialising.plans import RowsPlan, Rule


def words(*forms: str | bytes | None, **fields: object) -> Vocabulary:
    made = [form.encode() if isinstance(form, str) else form for form in forms]
    return Vocabulary(forms=made, **fields)  # type: ignore[arg-type]


def told(plan: RowsPlan) -> list[tuple[str, int]]:
    return [
        (Rule(rule).name, int(source)) for rule, source in zip(plan.rule, plan.sources[:, 0], strict=True)
    ]


def test_the_rules_in_their_order() -> None:
    source = words(" the", "THE", " The", "ing", " a")
    target = words(" The", "ing", " THE", " ing", "new")
    assert told(match_tokens(source, target)) == [
        ("EXACT", 2), ("EXACT", 3), ("FOLDED", 0), ("SAMPLED", -1), ("SAMPLED", -1),
    ]  # fmt: skip
    assert told(match_tokens(source, target, fold_case=False))[2] == ("SAMPLED", -1)
    assert told(match_tokens(source, target, ignore_space=True))[3] == ("UNSPACED", 3)


def test_source_id_0_is_an_id() -> None:
    assert told(match_tokens(words("THE", "x"), words("x", "the"))) == [("EXACT", 1), ("FOLDED", 0)]


def test_cased_variants_give_the_lowest_id() -> None:
    for order in (("The", "THE", "tHE"), ("THE", "tHE", "The")):
        assert told(match_tokens(words(*order), words("the"))) == [("FOLDED", 0)]


def test_ignoring_the_space_keeps_case_first() -> None:
    plan = match_tokens(words("A", "a"), words(" a", " "), ignore_space=True)
    assert told(plan) == [("UNSPACED", 1), ("SAMPLED", -1)]
    assert told(match_tokens(words("A"), words(" a"), ignore_space=True)) == [("UNSPACED", 0)]
    assert told(match_tokens(words("A"), words(" a"), ignore_space=True, fold_case=False)) == [
        ("SAMPLED", -1)
    ]


def test_bytes_of_a_character_do_not_meet() -> None:
    first, second = "日".encode()[:1], "本".encode()[1:]
    source, target = words(second, first, "日"), words(first, second, "日", "日".encode()[1:])
    assert told(match_tokens(source, target)) == [("EXACT", 1), ("EXACT", 0), ("EXACT", 2), ("SAMPLED", -1)]
    assert folded(first) is None


def test_byte_fallback_prefers_its_kind() -> None:
    yes, no = np.array([True, False]), np.array([False, True])
    source, target = words("A", "A", fallback=yes), words("A", "A", fallback=no)
    assert told(match_tokens(source, target)) == [("EXACT", 1), ("EXACT", 0)]
    byte_level = words(b"\xe3")
    assert told(match_tokens(byte_level, words(b"\xe3", fallback=np.array([True])))) == [("EXACT", 0)]


def test_special_tokens_meet_by_role_and_counterpart() -> None:
    source = words(
        None, None, None, "a", names={0: "<s>", 1: "<pad>", 2: "</s>"}, roles={"bos": 0, "pad": 1, "eos": 2}
    )
    names = {0: "[PAD]", 1: "[CLS]", 2: "[SEP]", 3: "[MASK]"}
    target = words(None, None, None, None, "a", names=names, roles={"pad": 0, "cls": 1, "sep": 2, "mask": 3})
    assert told(match_tokens(source, target)) == [
        ("ROLE", 1), ("ROLE", 0), ("ROLE", 2), ("SAMPLED", -1), ("EXACT", 3),
    ]  # fmt: skip


def test_a_role_comes_before_its_counterpart_and_before_a_name() -> None:
    source = words(None, None, names={0: "<s>", 1: "[CLS]"}, roles={"bos": 0, "cls": 1})
    target = words(None, None, names={0: "<s>", 1: "x"}, roles={"cls": 0, "bos": 1})
    assert told(match_tokens(source, target)) == [("ROLE", 1), ("ROLE", 0)]


def test_a_token_with_two_roles_has_one_match_in_any_order() -> None:
    source = words(None, None, names={0: "<pad>", 1: "</s>"}, roles={"pad": 0, "eos": 1})
    for roles in ({"pad": 0, "eos": 0}, {"eos": 0, "pad": 0}):
        assert told(match_tokens(source, words(None, names={0: "<|end|>"}, roles=roles))) == [("ROLE", 1)]


def test_named_tokens_meet_by_name_never_by_form() -> None:
    source = words("<x>", None, names={1: "<y>"})
    target = words(None, None, names={0: "<x>", 1: "<y>"})
    assert told(match_tokens(source, target)) == [("SAMPLED", -1), ("ROLE", 1)]


def test_what_the_caller_keeps() -> None:
    plan = match_tokens(words("a", "b"), words("x", "b"), kept=np.array([0, -1]))
    assert told(plan) == [("KEPT", 0), ("EXACT", 1)]
    with pytest.raises(ValueError, match="2 kept ids for 1 tokens"):
        match_tokens(words("a"), words("a"), kept=np.array([0, 0]))
    with pytest.raises(ValueError, match="1 kept ids for 1 tokens and 1 source tokens"):
        match_tokens(words("a"), words("a"), kept=np.array([1]))


def test_ids_without_a_token() -> None:
    source, target = words("a", None, "b", None, None), words("a", None, None, "b", None, None)
    plan = match_tokens(source, target)
    assert told(plan) == [
        ("EXACT", 0), ("KEPT", 1), ("SAMPLED", -1), ("EXACT", 2), ("KEPT", 4), ("SAMPLED", -1),
    ]  # fmt: skip
    assert plan.population.tolist() == [True, False, True, False, False]


FORMS = st.lists(
    st.one_of(st.none(), st.sampled_from([b"a", b"A", b" a", b" A", b"\xe3", "É".encode(), "é".encode()])),
    max_size=12,
)


@given(source=FORMS, target=FORMS, fold=st.booleans(), spaces=st.booleans())
def test_every_token_has_one_rule(
    source: Sequence[bytes], target: Sequence[bytes], fold: bool, spaces: bool
) -> None:
    plan = match_tokens(
        Vocabulary(forms=source), Vocabulary(forms=target), fold_case=fold, ignore_space=spaces
    )
    assert sum(plan.counts().values()) == len(target)
    known = {form for form in source if form is not None}
    for number, (rule, match) in enumerate(told(plan)):
        form = target[number]
        assert (rule == "EXACT") == (form is not None and form in known)
        if rule == "FOLDED":
            assert folded(source[match]) == folded(form)
            assert all(folded(each) != folded(form) for each in source[:match] if each is not None)


@given(FORMS, st.data())
def test_a_tokenizer_matches_itself(forms: list[bytes | None], data: st.DataObject) -> None:
    special = data.draw(st.sets(st.integers(0, 11))) & {n for n, form in enumerate(forms) if form is None}
    own = Vocabulary(forms=forms, names={number: f"<{number}>" for number in sorted(special)})
    plan = match_tokens(own, own)
    assert plan.sources[:, 0].tolist() == list(range(len(forms)))
    table = np.random.default_rng(0).standard_normal((len(forms), 3))
    assert np.array_equal(apply_plan(plan, table, seed=0), table)


@given(FORMS, st.data())
def test_the_order_of_names_and_roles_cannot_be_seen(forms: list[bytes | None], data: st.DataObject) -> None:
    empty = [number for number, form in enumerate(forms) if form is None]
    names = {number: data.draw(st.sampled_from(["<a>", "<b>"])) for number in empty}
    roles = {role: data.draw(st.sampled_from(empty)) for role in ("bos", "cls", "sep", "eos") if empty}
    left = Vocabulary(forms=forms, names=names, roles=roles)
    right = Vocabulary(forms=forms, names=dict(reversed(names.items())), roles=dict(reversed(roles.items())))
    assert told(match_tokens(left, left)) == told(match_tokens(right, right))
