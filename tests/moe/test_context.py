from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from polycompress.errors import InputError
from polycompress.moe.context import forced_languages, in_language
from polycompress.moe.router import balancing_loss, supervision_loss
from tests.moe.tiny_moe import IDS, NO_DROPOUT, PADDED, blocks, both, settings

A, B, C, UNKNOWN = 0, 1, 3, -1


@pytest.fixture(scope="module")
def moe() -> Any:
    """Five experts of three families in the upper of two layers, two for each token."""
    return both("bert", settings(5, 2), noise=0.2, **NO_DROPOUT)[1]


@pytest.fixture(autouse=True)
def as_made(request: pytest.FixtureRequest) -> Any:
    """Nothing that a test changes lasts."""
    model = request.getfixturevalue("moe") if "moe" in request.fixturenames else None
    yield
    if model is not None:
        model.eval().zero_grad()
        model.moe_context.collects, model.moe_context.forcing = False, 1.0


def routed(model: Any, *, train: bool = False, **options: Any) -> tuple[Any, Any, torch.Tensor]:
    """The routing of a forward pass, what its layer's router did, and the output."""
    model.train(train)
    model.moe_context.collects = True
    with torch.no_grad():
        output = model(input_ids=IDS, **options)[0]
    routing = model.moe_context.current
    return routing, routing.records[1], output


class TestPadding:
    def test_it_is_neither_routed_nor_counted(self, moe: Any) -> None:
        routing, record, _ = routed(moe, attention_mask=PADDED, language_ids=torch.tensor([A, C]))
        assert routing.tokens.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        assert record.indices.shape == (10, 2) and record.probabilities.shape == (10, 5)
        assert routing.languages.tolist() == [A] * 6 + [C] * 4 and routing.families.shape == (10, 5)

    def test_what_it_holds_changes_nothing(self, moe: Any) -> None:
        other = IDS.clone()
        other[1, 4:] = 20
        with torch.no_grad():
            one, two = (moe(input_ids=ids, attention_mask=PADDED)[0] for ids in (IDS, other))
        torch.testing.assert_close(one[PADDED == 1], two[PADDED == 1])

    def test_a_network_gives_zeros_for_it(self, moe: Any) -> None:
        (block,) = blocks(moe)
        hidden = torch.randn(2, 6, 16, requires_grad=True)
        with torch.no_grad():
            moe(input_ids=IDS, attention_mask=PADDED)
        block.routing = moe.moe_context.current
        made = block(hidden)
        block.routing = None
        assert torch.equal(made[1, 4:], torch.zeros(2, 16)) and made[1, :4].abs().min() > 0
        torch.testing.assert_close(made[PADDED == 1], block(hidden)[PADDED == 1])
        made.sum().backward()
        assert hidden.grad is not None and torch.equal(hidden.grad[1, 4:], torch.zeros(2, 16))
        assert hidden.grad[1, :4].abs().min() > 0

    def test_a_mask_of_tokens_says_it_where_the_attention_mask_does_not(self, moe: Any) -> None:
        seen = torch.ones(2, 1, 6, 6, dtype=torch.bool)
        assert routed(moe, attention_mask=seen)[0].tokens is None
        assert routed(moe, attention_mask=seen, token_mask=PADDED == 1)[0].tokens.tolist() == list(range(10))
        assert (
            routed(moe)[0].tokens is None and routed(moe, attention_mask=torch.ones(2, 6))[0].tokens is None
        )

    def test_a_batch_of_nothing_else_passes(self, moe: Any) -> None:
        moe.train()
        output = moe(input_ids=IDS, token_mask=torch.zeros(2, 6), language_ids=torch.tensor([A, B]))[0]
        output.sum().backward()
        gradients = [each.grad for each in blocks(moe)[0].parameters()]
        assert output.isfinite().all() and all(not each.any() for each in gradients)


class TestLanguages:
    def test_families_are_forced_while_training(self, moe: Any) -> None:
        routing, record, _ = routed(moe, train=True, language_ids=torch.tensor([A, C]))
        assert torch.equal(routing.forced, routing.families)
        assert (record.indices[:6] == 0).any(dim=1).all()
        assert (record.indices[6:] >= 2).any(dim=1).all()

    def test_ids_may_differ_within_a_text(self, moe: Any) -> None:
        ids = torch.tensor([[A] * 3 + [B] * 3, [UNKNOWN] * 6], dtype=torch.int32)
        routing, record, _ = routed(moe, train=True, language_ids=ids)
        assert (record.indices[:3] == 0).any(dim=1).all() and (record.indices[3:6] == 1).any(dim=1).all()
        assert not routing.forced[6:].any()

    def test_unknown_languages_are_routed_as_without_ids(self, moe: Any) -> None:
        free, _, output = routed(moe)
        assert free.languages is None and free.families is None
        for train in (False, True):
            routing, record, same = routed(moe, train=train, language_ids=torch.tensor([UNKNOWN, UNKNOWN]))
            assert torch.equal(record.indices, free.records[1].indices)
            assert routing.forced is None or not routing.forced.any()
            assert torch.equal(same, output)

    def test_inference_forces_only_where_the_configuration_says_so(self, moe: Any) -> None:
        routing, _, output = routed(moe, language_ids=torch.tensor([A, C]))
        assert routing.forced is None and routing.families is not None
        assert torch.equal(output, routed(moe)[2])
        forcing = both("bert", settings(5, 2, routing="forced"), noise=0.2, **NO_DROPOUT)[1]
        routing, record, other = routed(forcing, language_ids=torch.tensor([A, C]))
        assert (record.indices[:6] == 0).any(dim=1).all() and not torch.equal(other, output)
        assert torch.equal(routed(forcing)[2], output)

    def test_a_language_may_be_given_for_all_that_comes(self, moe: Any) -> None:
        with in_language(moe, "swh-Latn"):
            ids = torch.tensor([C, C])
            assert torch.equal(routed(moe, train=True)[2], routed(moe, train=True, language_ids=ids)[2])
            assert routed(moe)[0].forced is None and routed(moe)[0].languages.tolist() == [C] * 12
            own = routed(moe, train=True, language_ids=torch.tensor([A, UNKNOWN]))[0]
            assert own.languages.tolist() == [A] * 6 + [UNKNOWN] * 6
            with in_language(moe, "tur-Latn"):
                assert routed(moe, train=True)[0].languages is None
        assert routed(moe, train=True)[0].languages is None

    def test_other_models_are_given_none(self) -> None:
        with in_language(torch.nn.Linear(2, 2), "swh-Latn"):
            assert forced_languages(torch.nn.Linear(2, 2)) == ()

    def test_forcing_has_a_probability(self, moe: Any) -> None:
        languages = torch.tensor([A, UNKNOWN])
        moe.moe_context.forcing = 0.0
        assert not routed(moe, train=True, language_ids=languages)[0].forced.any()
        moe.moe_context.forcing = 0.5
        torch.manual_seed(3)
        drawn = [routed(moe, train=True, language_ids=languages)[0].forced for _ in range(30)]
        share = torch.stack(drawn)[:, :6, 0].float().mean()
        assert 0.3 < float(share) < 0.7 and not torch.stack(drawn)[:, 6:].any()
        torch.manual_seed(3)
        assert torch.equal(routed(moe, train=True, language_ids=languages)[0].forced, drawn[0])

    def test_a_base_model_takes_them_too(self) -> None:
        base = both("llama", settings(5, 2), head="base", noise=0.2)[1]
        routing, record, _ = routed(
            base, train=True, attention_mask=PADDED, language_ids=torch.tensor([A, B])
        )
        assert routing.languages.tolist() == [A] * 6 + [B] * 4
        assert (record.indices[:6] == 0).any(dim=1).all() and (record.indices[6:] == 1).any(dim=1).all()
        nested = both("qwen2", settings(5, 2), head="sequence", noise=0.2)[1]
        routing, _, _ = routed(nested, train=True, language_ids=torch.tensor([A, B]))
        assert nested.model.moe_context is nested.moe_context and routing.languages is not None
        assert routed(nested.model)[0].languages is None  # of the next forward pass nothing is left

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            (torch.tensor([0, 4]), "language_ids are 0 to 4, but the model has 4 languages: ids are 0 to 3"),
            (torch.tensor([-2, 0]), "language_ids are -2 to 0"),
            (torch.tensor([0]), "language_ids are [1], but the input is [2, 6]"),
            (torch.zeros(2, 5, dtype=torch.int64), "language_ids are [2, 5], but the input is [2, 6]"),
            (torch.zeros(2), "language_ids are torch.float32; give integers"),
        ],
    )
    def test_wrong_ids_are_refused(self, moe: Any, ids: torch.Tensor, message: str) -> None:
        with pytest.raises(InputError, match=re.escape(message)):
            moe(input_ids=IDS, language_ids=ids)
        assert routed(moe)[0].languages is None

    def test_a_wrong_mask_is_refused(self, moe: Any) -> None:
        with pytest.raises(InputError, match=re.escape("token_mask is [6], but the input is [2, 6]")):
            moe(input_ids=IDS, token_mask=torch.ones(6))


class TestRecords:
    def test_they_carry_the_graph_for_losses(self, moe: Any) -> None:
        moe.moe_context.collects = True
        moe.train()(input_ids=IDS, attention_mask=PADDED, language_ids=torch.tensor([A, UNKNOWN]))
        routing = moe.moe_context.current
        record = routing.records[1]
        loss = supervision_loss(record.probabilities, routing.families)
        (loss + balancing_loss(record.probabilities, record.indices)).backward()
        assert blocks(moe)[0].router.weight.grad.abs().max() > 0

    def test_gradient_checkpointing_keeps_them(self) -> None:
        found = []
        for checkpointing in (False, True):
            model = both("llama", settings(4, 2), noise=0.2)[1]
            if checkpointing:
                model.gradient_checkpointing_enable()
            model.moe_context.collects = True
            loss = model.train()(input_ids=IDS, labels=IDS, language_ids=torch.tensor([A, B])).loss
            routing = model.moe_context.current
            assert routing is not None and routing.families is not None
            (loss + supervision_loss(routing.records[1].probabilities, routing.families)).backward()
            found.append([each.grad for each in model.parameters()])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)

    def test_without_being_asked_for_there_are_none(self, moe: Any) -> None:
        with torch.no_grad():
            moe(input_ids=IDS)
        assert not moe.moe_context.current.records

    def test_a_layer_alone_is_refused_other_tokens_than_the_models(self, moe: Any) -> None:
        with torch.no_grad():
            moe(input_ids=IDS)
            with pytest.raises(
                ValueError, match=re.escape("layer 1 has 3 tokens, but the model's input is [2, 6]")
            ):
                moe.bert.encoder.layer[1](torch.randn(1, 3, 16))
