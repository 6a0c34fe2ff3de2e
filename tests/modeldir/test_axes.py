from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.modeldir.axes import find_vocab_axes, parameter_parts
from polycompress.modeldir.axes_table import (
    FAMILIES,
    base_type,
    coordinates_name,
    factorised_type,
    is_factorised,
    is_moe,
    moe_type,
    primitives_name,
)

ROWS = 97


@dataclass(frozen=True)
class Info:
    shape: tuple[int, ...]
    dtype: str = "F32"


def tensors(**shapes: tuple[int, ...]) -> dict[str, Info]:
    return {name.replace("__", "."): Info(shape) for name, shape in shapes.items()}


def bert(**extra: tuple[int, ...]) -> dict[str, Info]:
    return {
        "bert.embeddings.word_embeddings.weight": Info((ROWS, 8)),
        "bert.embeddings.position_embeddings.weight": Info((32, 8)),
        "bert.encoder.layer.0.output.dense.weight": Info((8, 16)),
        **tensors(**extra),
    }


CONFIG: Mapping[str, Any] = {"model_type": "bert", "vocab_size": ROWS}


def test_a_tied_head_with_its_biases() -> None:
    found = find_vocab_axes(
        CONFIG, bert(cls__predictions__bias=(ROWS,), cls__predictions__decoder__bias=(ROWS,)), ROWS
    )
    assert found.rows == ROWS
    assert found.embedding == "bert.embeddings.word_embeddings.weight"
    assert found.tied and found.heads == ()
    assert found.biases == ("cls.predictions.bias", "cls.predictions.decoder.bias")
    assert found.axes == {found.embedding: (0,), **dict.fromkeys(found.biases, (0,))}


@pytest.mark.parametrize("flag", [True, False, None])
def test_tying_is_decided_by_the_file(flag: bool | None) -> None:
    config = {"model_type": "mt5", "vocab_size": ROWS, "tie_word_embeddings": flag}
    table = tensors(shared__weight=(ROWS, 8))
    assert find_vocab_axes(config, table, ROWS).tied
    untied = find_vocab_axes(config, {**table, "lm_head.weight": Info((ROWS, 8))}, ROWS)
    assert not untied.tied and untied.heads == ("lm_head.weight",)


def test_the_bias_of_bart_carries_the_vocabulary_on_its_second_axis() -> None:
    found = find_vocab_axes(
        {"model_type": "mbart"}, tensors(model__shared__weight=(ROWS, 8), final_logits_bias=(1, ROWS)), ROWS
    )
    assert found.axes["final_logits_bias"] == (1,)


def test_a_table_without_prefix_and_copies_of_it() -> None:
    found = find_vocab_axes(
        {"model_type": "t5"},
        tensors(
            shared__weight=(ROWS, 8),
            encoder__embed_tokens__weight=(ROWS, 8),
            decoder__embed_tokens__weight=(ROWS, 8),
        ),
        ROWS,
    )
    assert found.embedding == "shared.weight" and found.tied and len(found.axes) == 3


def test_rows_beyond_the_tokenizer_are_fine() -> None:
    assert find_vocab_axes(CONFIG, bert(), ROWS - 10).rows == ROWS


def test_a_square_table_is_cut_on_its_rows_only() -> None:
    found = find_vocab_axes({"model_type": "gpt2"}, tensors(wte__weight=(ROWS, ROWS)), ROWS)
    assert found.axes == {"wte.weight": (0,)}


def test_known_tensors_may_have_the_vocabularys_size_by_accident() -> None:
    by_accident = bert(
        bert__embeddings__position_ids=(1, ROWS),
        bert__encoder__layer__1__intermediate__dense__weight=(ROWS, 8),
        classifier__weight=(ROWS, 8),
    )
    by_accident["bert.embeddings.position_embeddings.weight"] = Info((ROWS, 8))
    assert set(find_vocab_axes(CONFIG, by_accident, ROWS).axes) == {"bert.embeddings.word_embeddings.weight"}


def test_an_unexplained_tensor_is_named() -> None:
    with pytest.raises(InputError, match=rf"language_bias \[3, {ROWS}\].*Nothing was guessed"):
        find_vocab_axes(CONFIG, bert(language_bias=(3, ROWS)), ROWS)


def test_many_unexplained_tensors_are_counted() -> None:
    extra = {f"extra_{i}": (ROWS,) for i in range(12)}
    with pytest.raises(InputError, match=r"extra_7 .* and 4 more"):
        find_vocab_axes(CONFIG, bert(**extra), ROWS)


def test_an_unknown_type_lists_the_known_ones_and_the_candidates() -> None:
    with pytest.raises(
        InputError, match=rf"'zebra'.*stripes.weight \[{ROWS}, 8\].*Known types: albert, bart,"
    ):
        find_vocab_axes({"model_type": "zebra"}, tensors(stripes__weight=(ROWS, 8)), ROWS)


@pytest.mark.parametrize("model_type", [None, 7, ["bert"]])
def test_a_missing_or_strange_type(model_type: Any) -> None:
    with pytest.raises(InputError, match="model_type"):
        find_vocab_axes({"model_type": model_type}, bert(), ROWS)


def test_no_table() -> None:
    with pytest.raises(
        InputError, match=r"no input embedding table.*bert\.embeddings\.word_embeddings\.weight"
    ):
        find_vocab_axes(CONFIG, tensors(classifier__weight=(2, 8)), ROWS)


def test_more_ids_than_rows() -> None:
    with pytest.raises(
        InputError, match=rf"do not fit: the tokenizer has ids up to {ROWS}, .* only {ROWS} rows"
    ):
        find_vocab_axes(CONFIG, bert(), ROWS + 1)


def test_a_configuration_of_another_size() -> None:
    with pytest.raises(InputError, match=rf"vocab_size 5, but .* has {ROWS} rows"):
        find_vocab_axes({"model_type": "bert", "vocab_size": 5}, bert(), 5)


def test_tables_that_disagree() -> None:
    pair = tensors(
        model__encoder__embed_tokens__weight=(ROWS, 8), model__decoder__embed_tokens__weight=(50, 8)
    )
    with pytest.raises(
        InputError, match=r"disagree: .* has 97 rows, but .*decoder.embed_tokens.weight has 50"
    ):
        find_vocab_axes({"model_type": "marian"}, pair, 40)


def test_tables_of_the_wrong_shape() -> None:
    with pytest.raises(InputError, match=r"unexpected number of axes: wte.weight \[97\]"):
        find_vocab_axes({"model_type": "gpt2"}, tensors(wte__weight=(ROWS,)), ROWS)
    with pytest.raises(InputError, match=r"unexpected number of axes: cls.predictions.bias \[97, 3\]"):
        find_vocab_axes(CONFIG, bert(cls__predictions__bias=(ROWS, 3)), ROWS)


@given(
    st.dictionaries(
        st.text("abc.", min_size=1, max_size=9),
        st.lists(st.integers(1, ROWS - 1), max_size=3).map(tuple),
        max_size=8,
    )
)
def test_tensors_without_the_vocabularys_size_change_nothing(extra: dict[str, tuple[int, ...]]) -> None:
    plain = bert()
    more = {**{name: Info(shape) for name, shape in extra.items()}, **plain}
    assert find_vocab_axes(CONFIG, more, ROWS) == find_vocab_axes(CONFIG, plain, ROWS)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_every_family_finds_its_own_names(model_type: str) -> None:
    family = FAMILIES[model_type]
    for base in family.bases:
        names = [base + name for name in family.tables] + list(family.heads)
        found = find_vocab_axes(
            {"model_type": model_type},
            {name: Info((ROWS, 8)) for name in names} | {name: Info((ROWS,)) for name in family.biases},
            ROWS,
        )
        assert set(found.axes) == {*names, *family.biases}
        assert found.embedding == names[0]


def test_parts() -> None:
    everything = bert(
        cls__predictions__bias=(ROWS,),
        bert__embeddings__LayerNorm__weight=(8,),
        bert__pooler__dense__bias=(8,),
    ) | {"bert.embeddings.position_ids": Info((1, 32), "I64")}
    parts = parameter_parts(CONFIG, everything, find_vocab_axes(CONFIG, everything, ROWS))
    assert parts == {"embeddings": ROWS * 8, "positions": 256, "layers": 128, "head": ROWS, "other": 16}


def test_copies_are_not_counted_twice() -> None:
    copied = tensors(
        shared__weight=(ROWS, 8), encoder__embed_tokens__weight=(ROWS, 8), lm_head__weight=(ROWS, 8)
    )
    axes = find_vocab_axes({"model_type": "t5"}, copied, ROWS)
    tied = {"model_type": "t5"}
    assert parameter_parts(tied, copied, axes, copies=["lm_head.weight"])["head"] == 0
    assert parameter_parts(tied, copied, axes)["embeddings"] == ROWS * 8
    untied = {"model_type": "t5", "tie_word_embeddings": False}
    assert parameter_parts(untied, copied, axes)["embeddings"] == 2 * ROWS * 8


def test_a_factorised_table_is_cut_by_its_coordinates_and_counted_in_two_parts() -> None:
    everything = tensors(
        bert__embeddings__word_embeddings__coordinates=(ROWS, 3),
        bert__embeddings__word_embeddings__primitives=(3, 8),
        bert__encoder__layer__0__output__dense__weight=(8, 16),
    )
    config = {"model_type": "factorised-bert", "vocab_size": ROWS, "factorised_rank": 3}
    axes = find_vocab_axes(config, everything, ROWS)
    assert axes.axes == {"bert.embeddings.word_embeddings.coordinates": (0,)} and axes.rows == ROWS
    parts = parameter_parts(config, everything, axes)
    assert (parts["embeddings"], parts["primitives"], parts["layers"]) == (ROWS * 3, 24, 128)
    square = {**everything, "bert.embeddings.word_embeddings.primitives": Info((ROWS, 8))}
    assert find_vocab_axes(config, square, ROWS).axes == axes.axes  # primitives as many as tokens stay whole


def test_plain_and_factorised_types_go_both_ways() -> None:
    assert base_type("factorised-xlm-roberta") == base_type("xlm-roberta") == "xlm-roberta"
    assert factorised_type("factorised-bert") == factorised_type("bert") == "factorised-bert"
    assert is_factorised("factorised-bert") and not is_factorised("bert")
    assert base_type("moe-bert") == "bert" and moe_type("bert") == moe_type("moe-bert") == "moe-bert"
    assert is_moe("moe-bert") and not is_moe("bert") and not is_factorised("moe-bert")
    assert coordinates_name("a.b.weight") == "a.b.coordinates"
    assert primitives_name("a.b.weight") == primitives_name("a.b.coordinates") == "a.b.primitives"
