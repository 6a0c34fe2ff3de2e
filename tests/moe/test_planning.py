from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.languages import PRESETS, UNASSIGNED, Language, all_languages, find_languages
from polycompress.moe.config import MoeConfig
from polycompress.moe.families import assign_families
from polycompress.moe.planning import plan_experts, plan_members, token_shares

SOME = st.lists(st.sampled_from(all_languages()), min_size=1, max_size=30, unique=True)
EUROPE = assign_families(find_languages("de,nl,fr,sw,ru"), "glottolog-branch")


@given(SOME, st.sampled_from(PRESETS), st.none() | st.integers(1, 24), st.data())
def test_the_plan_covers_every_language_family_and_expert(
    languages: list[Language], preset: str, experts: int | None, data: st.DataObject
) -> None:
    assigned = assign_families(languages, preset, UNASSIGNED)
    tokens = {each.code: data.draw(st.integers(1, 10**9)) for each in languages}
    plan = plan_experts(assigned, experts=experts, tokens=tokens)
    assert plan == plan_experts(assigned, experts=experts, tokens=tokens)
    assert plan.experts == (experts or len(set(assigned.values())))
    assert sorted({expert for own in plan.families.values() for expert in own}) == list(range(plan.experts))
    assert all(plan.families[family] for family in assigned.values())
    assert plan.families.keys() == set(assigned.values())
    assert sum(plan.loads) == pytest.approx(1)
    # what config.json is to say of it is taken
    MoeConfig(
        layers=(1,),
        experts=plan.experts,
        top_k=1,
        families=plan.families,
        languages=plan.languages,
        preset=preset,
    )


def test_each_family_has_one_expert_in_the_order_of_its_first_language() -> None:
    plan = plan_experts(EUROPE)
    assert plan.families == {"Germanic": (0,), "Romance": (1,), "Narrow Bantu": (2,), "Slavic": (3,)}
    assert plan.loads == pytest.approx((0.4, 0.2, 0.2, 0.2))


def test_relatives_share_first() -> None:
    plan = plan_experts(EUROPE, experts=2)
    assert plan.families == {"Germanic": (0,), "Romance": (0,), "Narrow Bantu": (1,), "Slavic": (0,)}


def test_a_family_of_many_tokens_has_several_experts() -> None:
    plan = plan_experts(EUROPE, experts=5, tokens=dict(zip(EUROPE, (600, 200, 50, 100, 50), strict=True)))
    assert plan.families["Germanic"] == (0, 1, 2)
    assert plan.families["Romance"] == plan.families["Slavic"]
    assert plan.as_dict()["experts"][3] == {
        "expert": 3, "families": ["Romance", "Slavic"], "languages": ["fra-Latn", "rus-Cyrl"],
        "share": pytest.approx(0.1),
    }  # fmt: skip


def test_tokens_of_every_language_are_needed() -> None:
    with pytest.raises(
        InputError, match=r"how many tokens there are of Swahili \(swh-Latn\), Russian \(rus-Cyrl\)"
    ):
        token_shares(EUROPE, {"deu-Latn": 1, "nld-Latn": 1, "fra-Latn": 2})
    with pytest.raises(InputError, match="Not one token was counted"):
        token_shares(EUROPE, dict.fromkeys(EUROPE, 0))


def test_a_plan_needs_languages_and_experts_within_bounds() -> None:
    with pytest.raises(InputError, match="No language was given"):
        plan_experts({})
    with pytest.raises(InputError, match="--experts 0: give a number from 1"):
        plan_experts(EUROPE, experts=0)
    each = {language.code: language.code for language in all_languages()}
    with pytest.raises(InputError, match="families would have one expert each, more than 256"):
        plan_experts(each)


def test_models_of_families_are_experts_in_their_order() -> None:
    plan = plan_members(
        [("North", ["deu-Latn"]), ("South", ["fra-Latn", "ita-Latn"]), ("North", ["swe-Latn"])]
    )
    assert plan.families == {"North": (0, 2), "South": (1,)}
    assert plan.languages_of("North") == ("deu-Latn", "swe-Latn")
    assert plan.loads == pytest.approx((0.25, 0.5, 0.25))


def test_a_language_in_two_families_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        plan_members([("A", ["deu-Latn", "eng-Latn"]), ("B", ["eng-Latn", "deu-Latn"]), ("C", [])])
    assert str(caught.value).startswith(
        "C has no languages; English (eng-Latn) is in two families, A and B; German (deu-Latn) is in two families"
    )
