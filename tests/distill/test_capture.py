"""What is kept of a model's run, against what the library itself gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from polycompress.distill.capture import Watched, check_needs, check_plain_attention, find_projections
from polycompress.distill.objectives.attention import attention_maps
from polycompress.distill.outputs import Needs
from polycompress.errors import InputError

SMALL = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
}


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 60, (3, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 5 + [0] * 2])
    return {"input_ids": ids, "attention_mask": mask}


def model_of(config: Any, auto: str = "AutoModel") -> Any:
    torch.manual_seed(0)
    return getattr(transformers, auto).from_config(config).eval()


CONFIGS = {
    "bert": transformers.BertConfig(**SMALL),
    "xlm-roberta": transformers.XLMRobertaConfig(**SMALL, max_position_embeddings=40),
    "electra": transformers.ElectraConfig(**SMALL, embedding_size=16),
    "rembert": transformers.RemBertConfig(**SMALL, input_embedding_size=16),
    "distilbert": transformers.DistilBertConfig(vocab_size=60, dim=16, n_layers=3, n_heads=4, hidden_dim=32),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_states_and_maps_are_those_of_the_library(name: str) -> None:
    model = model_of(CONFIGS[name])
    needs = Needs(hidden=frozenset({0, 2, 3}), queries=frozenset({0, 2}), keys=frozenset({0, 2}))
    with torch.no_grad():
        found = Watched(model, needs, "teacher")(inputs())
    model.set_attn_implementation("eager")
    with torch.no_grad():
        wanted = model(**inputs(), output_hidden_states=True, output_attentions=True)
    real = inputs()["attention_mask"].bool()
    assert set(found.hidden) == {0, 2, 3}
    for number, state in found.hidden.items():
        torch.testing.assert_close(state[real], wanted.hidden_states[number][real], atol=1e-5, rtol=1e-5)
    for layer in (0, 2):
        maps = attention_maps(found.queries[layer], found.keys[layer], real)
        rows = real[:, None, :].expand(-1, 4, -1)
        torch.testing.assert_close(maps[rows], wanted.attentions[layer][rows], atol=1e-5, rtol=1e-5)
    assert not found.values
    assert found.logits is None


def test_values_are_split_into_heads() -> None:
    model = model_of(CONFIGS["bert"])
    found = Watched(model, Needs(values=frozenset({1})), "teacher")(inputs())
    assert {layer: tuple(heads.shape) for layer, heads in found.values.items()} == {1: (3, 4, 7, 4)}


def test_shared_keys_have_fewer_heads() -> None:
    config = transformers.LlamaConfig(**SMALL, num_key_value_heads=2)
    found = Watched(
        model_of(config), Needs(queries=frozenset({0}), keys=frozenset({0}), values=frozenset({2})), "teacher"
    )(inputs())
    assert found.queries[0].shape == (3, 4, 7, 4)
    assert found.keys[0].shape == found.values[2].shape == (3, 2, 7, 4)


@pytest.mark.parametrize(
    "config",
    [
        transformers.MPNetConfig(**SMALL),
        transformers.DebertaV2Config(**SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    ],
)
def test_other_families_show_their_projections_but_no_maps(config: Any) -> None:
    model = model_of(config)
    found = find_projections(model)
    assert found is not None
    assert all(sorted(layers) == [0, 1, 2] for layers in found.modules.values())
    assert "match relations" in check_plain_attention(model.config, "teacher")[0]


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "rembert"])
def test_causal_attention_has_no_maps(kind: str) -> None:
    config = transformers.AutoConfig.for_model(kind, **SMALL)
    assert check_plain_attention(config, "teacher") == []
    config.is_decoder = True
    assert "a causal mask" in check_plain_attention(config, "teacher")[0]


def test_positions_that_go_through_the_same_projections_are_not_taken_for_tokens() -> None:
    config = transformers.DebertaV2Config(
        **SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"], share_att_key=True, position_buckets=4
    )
    model = model_of(config)
    needs = Needs(hidden=frozenset({1}), queries=frozenset({1}), keys=frozenset({1}), values=frozenset({1}))
    with torch.no_grad():
        found = Watched(model, needs, "teacher")(inputs())
        attention = model.encoder.layer[1].attention.self
        for role, heads in (("query", found.queries), ("key", found.keys), ("value", found.values)):
            wanted = getattr(attention, f"{role}_proj")(found.hidden[1])
            torch.testing.assert_close(heads[1].transpose(1, 2).flatten(2), wanted)


def test_gradients_reach_the_student_through_what_is_kept() -> None:
    model = model_of(CONFIGS["bert"])
    found = Watched(model, Needs(hidden=frozenset({2}), queries=frozenset({1})), "student")(inputs())
    (found.hidden[2].sum() + found.queries[1].square().sum()).backward()
    assert model.encoder.layer[1].attention.self.query.weight.grad is not None
    assert model.encoder.layer[2].attention.self.query.weight.grad is None


def test_logits_of_every_head() -> None:
    config = transformers.BertConfig(**SMALL, num_labels=3)
    needs = Needs(logits=True)
    texts = Watched(model_of(config, "AutoModelForSequenceClassification"), needs, "teacher")(inputs())
    tokens = Watched(model_of(config, "AutoModelForTokenClassification"), needs, "teacher")(inputs())
    two = transformers.BertConfig(**SMALL)
    ends = Watched(model_of(two, "AutoModelForQuestionAnswering"), needs, "teacher")(inputs())
    assert texts.logits is not None
    assert tokens.logits is not None
    assert ends.logits is not None
    assert texts.logits.shape == (3, 3)
    assert tokens.logits.shape == (3, 7, 3)
    assert ends.logits.shape == (3, 2, 7)
    assert torch.equal(ends.logits == -torch.inf, (inputs()["attention_mask"] == 0)[:, None].expand(3, 2, 7))


def test_what_a_model_lacks_is_named_all_at_once() -> None:
    needs = Needs(hidden=frozenset({4}), keys=frozenset({3}))
    with pytest.raises(
        InputError, match=r"hidden states 0 to 3 .* 4 is asked for; .* layers 0 to 2, .* of 3 is"
    ):
        Watched(model_of(CONFIGS["bert"]), needs, "teacher")


def test_a_model_without_queries_of_its_own() -> None:
    config = transformers.GPT2Config(vocab_size=60, n_embd=16, n_layer=3, n_head=4)
    faults = check_needs(model_of(config), Needs(queries=frozenset({0})), "teacher")
    assert faults == [
        "the teacher (gpt2) shows no queries, keys and values of its own: leave out losses on attention "
        "(--attention none), or take another model"
    ]


def test_nothing_is_kept_between_runs() -> None:
    watched = Watched(model_of(CONFIGS["bert"]), Needs(keys=frozenset({0})), "teacher")
    first = watched(inputs()).keys[0]
    shorter = {name: tensor[:1, :4] for name, tensor in inputs().items()}
    assert watched(shorter).keys[0].shape == (1, 4, 4, 4)
    assert first.shape == (3, 4, 7, 4)
    watched.model(**shorter)  # as when it is judged between two steps
    assert not watched._kept["keys"]
    torch.testing.assert_close(watched(inputs()).keys[0], first)
