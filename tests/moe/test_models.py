from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.evaluation.pretrained import load_pretrained
from polycompress.modeldir.axes_table import MOE_BASES
from polycompress.modeldir.directory import read_json
from polycompress.moe.config import MoeConfig
from polycompress.moe.registering import register
from polycompress.own_models import model_class, register_for
from polycompress.training.model import keeps_texts_apart, load_encoder, load_language_model
from polycompress.training.task_model import load_with_head
from tests.moe.tiny_moe import (
    FAMILIES,
    IDS,
    LANGUAGES,
    NO_DROPOUT,
    PADDED,
    blocks,
    both,
    gap,
    load,
    make_moe,
    settings,
)
from tests.tiny_models import make_tiny

CLOSE = 1e-5


@pytest.mark.parametrize("family", sorted(MOE_BASES))
def test_with_copies_as_experts_a_model_is_its_plain_one(family: str) -> None:
    plain, moe = both(family, settings(5, 2, layers=(0, 1)), head=FAMILIES.get(family, "base"))
    assert type(moe).__name__ == f"Moe{type(plain).__name__}" and len(blocks(moe)) == 2
    with torch.no_grad():
        assert gap(moe(input_ids=IDS)[0], plain(input_ids=IDS)[0]) < CLOSE
        found, wanted = (each(input_ids=IDS, attention_mask=PADDED)[0] for each in (moe, plain))
    assert gap(found, wanted, PADDED) < CLOSE


@given(st.sampled_from(sorted(FAMILIES)), st.integers(1, 6), st.data())
@hypothesis_settings(max_examples=12)
def test_so_it_is_for_any_router_experts_and_choices(family: str, experts: int, data: Any) -> None:
    top_k = data.draw(st.integers(1, experts))
    layers = data.draw(st.sampled_from([(0,), (1,), (0, 1)]))
    routing = data.draw(st.sampled_from(["plain", "forced"]))
    spread, seed = data.draw(st.sampled_from([0.0, 0.02, 1.0, 50.0])), data.draw(st.integers(0, 1000))
    config = settings(experts, top_k, layers=layers, routing=routing)
    plain, moe = both(family, config, router=spread, seed=seed)
    ids = torch.tensor([data.draw(st.integers(-1, 3)), data.draw(st.integers(-1, 3))])
    with torch.no_grad():
        assert gap(moe(input_ids=IDS, language_ids=ids)[0], plain(input_ids=IDS)[0]) < CLOSE


@pytest.mark.parametrize("family", ["xlm-roberta", "qwen2"])
def test_one_expert_is_the_plain_model_and_a_router(family: str) -> None:
    plain, moe = both(family, settings(1, 1))
    with torch.no_grad():
        assert torch.equal(moe(input_ids=IDS)[0], plain(input_ids=IDS)[0])
    assert moe.num_parameters() - plain.num_parameters() == moe.config.hidden_size


def test_unscaled_weights_lose_a_share_of_the_network() -> None:
    plain, moe = both("llama", settings(4, 2, normalise=False), router=0.0)
    block, network = blocks(moe)[0], plain.model.layers[1].mlp
    hidden = torch.randn(2, 3, 16)
    with torch.no_grad():  # (p_1 + p_2) FFN(x), of a router that knows nothing 2 / 4
        torch.testing.assert_close(block(hidden), network(hidden) / 2)


@pytest.mark.parametrize("family", ["bert", "qwen3"])
def test_order_of_experts_does_not_matter(family: str) -> None:
    _, moe = both(family, settings(5, 2), noise=0.3)
    with torch.no_grad():
        before = moe(input_ids=IDS)[0]
        order = torch.tensor([3, 1, 4, 0, 2])
        for block in blocks(moe):
            for parameter in block.parameters():
                parameter.copy_(parameter[order])
        assert gap(moe(input_ids=IDS)[0], before) < CLOSE


class TestGradients:
    def test_identical_experts_teach_the_router_nothing(self) -> None:
        sizes = {}
        for noise in (0.0, 0.1):
            _, moe = both("llama", settings(4, 2), noise=noise)
            moe.double()(input_ids=IDS, labels=IDS).loss.backward()
            sizes[noise] = float(blocks(moe)[0].router.weight.grad.abs().max())
        assert sizes[0.0] < 1e-15 < 1e-4 < sizes[0.1]

    def test_experts_that_differ_and_forced_ones_get_gradients(self) -> None:
        _, moe = both("bert", settings(4, 2), noise=0.1)
        moe.train()(input_ids=IDS, labels=IDS, language_ids=torch.tensor([0, 0])).loss.backward()
        (block,) = blocks(moe)
        assert block.router.weight.grad.abs().max() > 0 and block.experts.up.grad[0].abs().max() > 0

    @pytest.mark.parametrize("family", ["xlm-roberta", "qwen2"])
    def test_only_experts_that_are_chosen_learn(self, family: str) -> None:
        _, moe = both(family, settings(4, 1), noise=0.1)
        languages = torch.tensor([1, 2])  # both of family B, whose expert is the second
        moe.train()(input_ids=IDS, labels=IDS, language_ids=languages).loss.backward()
        for name, parameter in blocks(moe)[0].experts.named_parameters():
            assert parameter.grad[1].abs().max() > 0, name
            idle = parameter.grad[[0, 2, 3]]
            assert torch.equal(idle, torch.zeros_like(idle)), name
        before = {
            name: parameter.detach().clone() for name, parameter in blocks(moe)[0].experts.named_parameters()
        }
        torch.optim.AdamW(moe.parameters(), weight_decay=0.0).step()
        for name, parameter in blocks(moe)[0].experts.named_parameters():
            assert torch.equal(parameter[[0, 2, 3]], before[name][[0, 2, 3]]), name
            assert not torch.equal(parameter[1], before[name][1]), name

    @pytest.mark.parametrize("family", ["xlm-roberta", "llama"])
    def test_gradients_are_those_of_the_plain_model(self, family: str) -> None:
        plain, moe = both(family, settings(3, 2))
        for each in (plain, moe):
            each.double()(
                input_ids=IDS, attention_mask=PADDED, labels=IDS.where(PADDED == 1, -100)
            ).loss.backward()
        wanted = dict(plain.named_parameters())
        shared = [name for name, _ in moe.named_parameters() if name in wanted]
        assert len(shared) > 10
        for name, parameter in moe.named_parameters():
            if name in wanted and wanted[name].grad is not None:
                torch.testing.assert_close(parameter.grad, wanted[name].grad, rtol=1e-9, atol=1e-12)
        # the weights of a token sum to 1, and so do the shares of its network's gradient
        down = blocks(moe)[0].experts.down.grad.sum(dim=0)
        name = {"xlm-roberta": "roberta.encoder.layer.1.output.dense.weight"}.get(
            family, "model.layers.1.mlp.down_proj.weight"
        )
        torch.testing.assert_close(down, wanted[name].grad, rtol=1e-9, atol=1e-12)

    def test_forward_and_backward_give_the_same_bits_every_time(self) -> None:
        found = []
        for _ in range(2):
            _, moe = both("bert", settings(4, 3), noise=0.1, **NO_DROPOUT)
            output = moe.train()(
                input_ids=IDS, attention_mask=PADDED, labels=IDS, language_ids=torch.tensor([0, 3])
            )
            output.loss.backward()
            found.append([output.logits, *(each.grad for each in moe.parameters() if each.grad is not None)])
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


class TestFiles:
    @pytest.mark.parametrize(
        ("family", "head"), [("xlm-roberta", "mlm"), ("llama", "clm"), ("qwen3", "sequence")]
    )
    def test_saving_and_loading_keep_everything(self, family: str, head: str, tmp_path: Path) -> None:
        config = settings(4, 2, layers=(0, 2), routing="forced", preset="glottolog-branch")
        _, moe = both(family, config, head=head, noise=0.1, num_hidden_layers=3)
        moe.save_pretrained(tmp_path)
        again = load(tmp_path, head)
        assert MoeConfig.from_dict(again.config.moe, model_layers=3) == config
        assert again.moe_context.config == config and [block.layer for block in blocks(again)] == [0, 2]
        fields = read_json(tmp_path, "config.json")
        assert fields is not None and fields["model_type"] == f"moe-{family}"
        assert fields["architectures"] == [type(moe).__name__]
        ids = torch.tensor([1, -1])
        with torch.no_grad():
            found, wanted = (each(input_ids=IDS, language_ids=ids)[0] for each in (again, moe))
        assert gap(found, wanted) < 1e-6  # files lie at other addresses, which products may notice
        stored, held = again.state_dict(), moe.state_dict()
        assert stored.keys() == held.keys() and all(torch.equal(stored[name], held[name]) for name in held)

    def test_half_precision_leaves_routers_in_fp32(self, tmp_path: Path) -> None:
        _, moe = both("bert", settings(3, 2), noise=0.1)
        moe.to(torch.bfloat16).save_pretrained(tmp_path)
        for dtype in (torch.bfloat16, torch.float16):
            again = load(tmp_path, "mlm", dtype=dtype)
            (block,) = blocks(again)
            assert block.router.weight.dtype == torch.float32 and block.experts.up.dtype == dtype
            assert torch.equal(block.router.weight, blocks(moe)[0].router.weight)
        with torch.no_grad():
            assert gap(again(input_ids=IDS)[0].float(), moe(input_ids=IDS)[0].float()) < 0.1

    def test_what_the_checkpoint_lacks_is_random(self, tmp_path: Path) -> None:
        config = settings(3, 2)
        make_tiny("xlm-roberta", "base", tmp_path / "plain")
        make_moe(tmp_path / "plain", tmp_path / "moe", config)
        fields = read_json(tmp_path / "moe", "config.json")
        assert fields is not None
        register_for(fields)
        model, info = transformers.AutoModelForMaskedLM.from_pretrained(
            tmp_path / "moe", output_loading_info=True
        )
        assert {name.split(".")[0] for name in info["missing_keys"]} == {"lm_head"}
        fresh = transformers.AutoModelForMaskedLM.from_config(model.config)
        (block,) = blocks(fresh)
        assert 0.01 < float(block.experts.up.detach().std()) < 0.03 and not block.experts.up_bias.any()
        assert 0.01 < float(block.router.weight.detach().std()) < 0.04

    def test_commands_load_them_as_they_load_others(self, tmp_path: Path) -> None:
        plain = make_tiny("xlm-roberta", "mlm", tmp_path / "plain")
        path = make_moe(plain, tmp_path / "moe", settings(3, 2), noise=0.1)
        config = read_json(path, "config.json")
        assert config is not None
        trained = load_language_model(path, config)
        assert trained.kind == "masked" and not trained.fresh and not trained.unused
        assert len(blocks(trained.model)) == 1 and keeps_texts_apart(trained.model, "masked")
        encoder = load_encoder(path).model
        assert len(blocks(encoder)) == 1
        headed = load_with_head(path, config, "sequence", ["a", "b"], "xnli")
        assert all(name.startswith("classifier.") for name in headed.fresh)
        model, missing = load_pretrained(transformers.AutoModelForMaskedLM, path, torch.float32)
        assert not missing and len(blocks(model)) == 1
        kind = model_class("MoeXLMRobertaForMaskedLM", config)
        assert kind is type(model) and model_class("XLMRobertaForMaskedLM", config) is None
        with torch.no_grad():
            hidden = model(input_ids=IDS, output_hidden_states=True).hidden_states
            torch.testing.assert_close(encoder.eval()(input_ids=IDS)[0], hidden[-1])
        assert len(hidden) == 3

    @pytest.mark.parametrize(
        ("field", "message"),
        [
            (None, "config.json: moe: correct or restore it:\n  it is None, not an object"),
            ({**settings(3, 2).as_dict(), "layers": [2]}, "names layer 2, but the model has layers 0 to 1"),
        ],
    )
    def test_a_wrong_field_is_refused(self, field: Any, message: str, tmp_path: Path) -> None:
        _, moe = both("bert", settings(3, 2))
        moe.config.moe = field
        moe.save_pretrained(tmp_path)
        with pytest.raises(InputError, match=message):
            load_language_model(tmp_path, read_json(tmp_path, "config.json") or {})

    def test_gated_networks_with_biases_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"mlp_bias is true.*layer 1: mlp.up_proj.bias"):
            both("llama", settings(3, 2), mlp_bias=True)


class TestUse:
    @pytest.mark.parametrize("family", ["llama", "qwen3"])
    def test_decoders_generate(self, family: str) -> None:
        plain, moe = both(family, settings(3, 2, routing="forced"))
        options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 1}
        wanted = plain.generate(IDS, **options)
        assert torch.equal(moe.generate(IDS, **options), wanted)
        found = moe.generate(IDS, language_ids=torch.tensor([0, 2]), num_beams=2, **options)
        assert torch.equal(found, plain.generate(IDS, num_beams=2, **options))
        assert moe.moe_context.current.languages.tolist() == [0, 0, 2, 2]
        padded = torch.cat([torch.ones(2, 2, dtype=torch.int64), IDS], dim=1)
        mask = (torch.arange(8) >= 2).long().expand(2, 8)
        left = moe.generate(padded, attention_mask=mask, **options)
        assert torch.equal(left, plain.generate(padded, attention_mask=mask, **options))

    @pytest.mark.parametrize("family", ["xlm-roberta", "qwen2"])
    @pytest.mark.parametrize("reentrant", [False, True])
    def test_gradient_checkpointing_routes_again_as_before(self, family: str, reentrant: bool) -> None:
        found = []
        for checkpointing in (False, True):
            dropout = NO_DROPOUT if family == "xlm-roberta" else {}
            _, moe = both(family, settings(4, 1), noise=0.3, **dropout)
            if checkpointing:
                moe.gradient_checkpointing_enable({"use_reentrant": reentrant})
                moe.enable_input_require_grads()
            moe.train()
            first = moe(
                input_ids=IDS, attention_mask=PADDED, labels=IDS, language_ids=torch.tensor([0, 3])
            ).loss
            second = moe(input_ids=IDS, labels=IDS, language_ids=torch.tensor([1, -1])).loss
            (first + 2 * second).backward()
            found.append([each.grad for each in blocks(moe)[0].parameters()])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)

    def test_copies_have_a_routing_of_their_own(self) -> None:
        _, moe = both("bert", settings(3, 2), noise=0.1)
        moe.moe_context.collects = True
        moe(input_ids=IDS)
        twin = copy.deepcopy(moe)
        assert twin.moe_context.current is None and twin.moe_context is twin.base_model.moe_context
        before = moe.moe_context.current
        twin(input_ids=IDS[:, :3], language_ids=torch.tensor([0, 1]))
        assert moe.moe_context.current is before and twin.moe_context.current.shape == (2, 3)

    def test_arguments_are_named_in_the_signature(self) -> None:
        for name, kind in register("qwen2").items():
            names = inspect.signature(kind.forward).parameters
            assert {"input_ids", "attention_mask", "language_ids", "token_mask"} <= set(names), name

    def test_chunked_networks_see_whole_texts(self) -> None:
        plain, moe = both("bert", settings(3, 2), chunk_size_feed_forward=2)
        with torch.no_grad():
            assert gap(moe(input_ids=IDS)[0], plain(input_ids=IDS)[0]) < CLOSE

    def test_every_language_has_an_id(self) -> None:
        _, moe = both("bert", settings(3, 2))
        assert moe.moe_context.config.codes == tuple(sorted(LANGUAGES))
