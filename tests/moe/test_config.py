from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.moe.config import MAX_EXPERTS, MoeConfig

SOUND: dict[str, Any] = {
    "layers": [2, 3],
    "experts": 3,
    "top_k": 2,
    "normalise": True,
    "families": {"Germanic": [0], "Romance": [1, 2], "Bantu": [0]},
    "languages": {"deu-Latn": "Germanic", "fra-Latn": "Romance", "swh-Latn": "Bantu"},
    "routing": "forced",
    "preset": "glottolog-branch",
}


def changed(**fields: Any) -> dict[str, Any]:
    """A sound field with some entries exchanged; None leaves one out."""
    return {name: value for name, value in (SOUND | fields).items() if value is not None}


def test_reading_and_writing_are_inverse() -> None:
    config = MoeConfig.from_dict(json.loads(json.dumps(SOUND)), model_layers=4)
    assert config.as_dict() == SOUND and MoeConfig.from_dict(config.as_dict()) == config
    assert (config.layers, config.experts, config.top_k) == ((2, 3), 3, 2)
    assert config.routing == "forced" and config.preset == "glottolog-branch" and config.normalise


def test_fields_that_may_be_missing_have_defaults() -> None:
    config = MoeConfig.from_dict(changed(normalise=None, routing=None, preset=None))
    assert config.normalise and config.routing == "plain" and config.preset is None


def test_a_languages_experts_are_those_of_its_family() -> None:
    config = MoeConfig.from_dict(SOUND)
    assert config.expert_mask_of("fra-Latn") == (1, 2) and config.expert_mask_of("deu-Latn") == (0,)
    assert config.expert_mask_of("zul-Latn") == () and config.language_id("zul-Latn") == -1
    assert [config.language_id(code) for code in config.codes] == [0, 1, 2]
    assert config.family_languages("Romance") == ("fra-Latn",) and config.family_languages("Slavic") == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "it is None, not an object with layers, experts"),
        ([1], "not an object"),
        (changed(layers=None), "'layers' is missing"),
        (changed(layers=[]), "'layers' is [], not a list of at least one layer"),
        (changed(layers=[True]), "'layers' is [True], not a list"),
        (changed(layers=3), "'layers' is 3, not a list"),
        (changed(layers=[-1, 2]), "'layers' is [-1, 2], not a list"),
        (changed(layers=[3, 2]), "'layers' is [3, 2]; name each layer once, in ascending order"),
        (changed(layers=[2, 2]), "name each layer once"),
        (changed(layers=[3, 4]), "'layers' names layer 4, but the model has layers 0 to 3"),
        (changed(layers=list(range(5000))), "names 5000 layers, over the limit"),
        (changed(experts=0), "'experts' is 0, not a number from 1"),
        (
            changed(experts=MAX_EXPERTS + 1),
            f"'experts' is {MAX_EXPERTS + 1}, not a number from 1 to {MAX_EXPERTS}",
        ),
        (changed(experts="3"), "'experts' is '3', not a number"),
        (changed(top_k=4), "'top_k' is 4, more than the 3 experts"),
        (changed(top_k=0), "'top_k' is 0, not a number of experts"),
        (changed(top_k=1.5), "'top_k' is 1.5, not a number"),
        (changed(normalise=1), "'normalise' is 1, neither true nor false"),
        (changed(routing="soft"), "'routing' is 'soft', not one of plain, forced"),
        (changed(preset=7), "'preset' is 7, neither a name nor null"),
        (changed(families={}), "'families' is {}, not an object"),
        (changed(families={"Germanic": []}), "family 'Germanic' has [], not a list of at least one expert"),
        (changed(families={"Germanic": [0, 0]}), "family 'Germanic' names an expert twice"),
        (changed(families={"Germanic": [3]}), "family 'Germanic' has expert 3, but there are experts 0 to 2"),
        (changed(families={"Germanic": [0], "Romance": [1], "Bantu": [1]}), "expert 2 is of no family"),
        (changed(families={" ": [0, 1, 2]}), "a family needs a name"),
        (changed(languages={"de": "Germanic"}), "language 'de' is no code such as 'deu-Latn'"),
        (changed(languages={"deu-Latn": "Slavic"}), "language deu-Latn is in no family: 'Slavic'"),
        (changed(languages={"deu-Latn": None}), "language deu-Latn is in no family: None"),
        (changed(languages={"deu-Latn": ["Germanic", "Bantu"]}), "language deu-Latn is in 2 families"),
        (changed(languages=["deu-Latn"]), "'languages' is ['deu-Latn'], not an object"),
        (changed(load_balancing=0.1), "'load_balancing' is not a field of it"),
        (changed(preset="x" * 9) | {"y" * 500: 1}, f"'{'y' * 60}' is not a field"),
    ],
)
def test_faults_are_named(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        MoeConfig.from_dict(value, model_layers=4)
    assert str(caught.value).startswith("config.json: moe: ") and len(str(caught.value)) < 4000


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        MoeConfig.from_dict(
            changed(layers=[9], top_k=9, routing="x", languages={"deu-Latn": "Slavic"}), model_layers=4
        )
    assert len(str(caught.value).splitlines()) == 5


def test_many_faults_are_counted() -> None:
    languages = {f"aa{chr(97 + each)}-Latn": "Nowhere" for each in range(20)}
    with pytest.raises(InputError, match="and 8 more"):
        MoeConfig.from_dict(changed(languages=languages))


def test_a_config_made_by_hand_is_checked_too() -> None:
    with pytest.raises(InputError, match="'top_k' is 2, more than the 1 experts"):
        MoeConfig(layers=(0,), experts=1, top_k=2, families={"A": (0,)}, languages={})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*SOUND, "other"]), _JSON, max_size=8))
def test_anything_is_either_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        config = MoeConfig.from_dict(SOUND | fields)
    except InputError:
        return
    assert MoeConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
