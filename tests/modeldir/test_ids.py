from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.modeldir.axes_table import FAMILIES, base_type
from polycompress.modeldir.ids import (
    remap_config,
    remap_generation_config,
    remap_special_tokens_map,
    remap_tokenizer_config,
    required_ids,
)
from polycompress.modeldir.tokenizer_classes import GENERIC, ROLES, TOKENIZER_CLASSES
from polycompress.vocab.document import special_ids
from polycompress.vocab.surgery import close_ids, dump_document, trim_document
from tests.tiny_models import LAYOUTS, RECIPES, TEXTS, token_ids, train_tokenizer

MAP = {0: 0, 1: 1, 2: 2, 5: 3, 9: 4, 50: 5}


class TestConfig:
    def test_sizes_and_single_ids(self) -> None:
        old = {"model_type": "bart", "vocab_size": 60, "pad_token_id": 1, "eos_token_id": 9, "d_model": 5}
        before = copy.deepcopy(old)
        new, notes = remap_config(old, MAP, 8)
        assert old == before
        assert (new["vocab_size"], new["pad_token_id"], new["eos_token_id"], new["d_model"]) == (8, 1, 4, 5)
        assert notes == []

    def test_lists(self) -> None:
        new, notes = remap_config({"eos_token_id": [9, 7, 50], "sep_token_ids": [7]}, MAP, 6)
        assert new["eos_token_id"] == [4, 5] and new["sep_token_ids"] is None
        assert notes == [
            "config.json: eos_token_id: 1 of 3 entries dropped with their tokens",
            "config.json: sep_token_ids: 1 of 1 entries dropped with their tokens",
        ]

    def test_an_id_outside_becomes_null_and_is_noted(self) -> None:
        new, notes = remap_config({"bos_token_id": 50256, "pad_token_id": None, "eos_token_id": -1}, MAP, 6)
        assert new["bos_token_id"] is None and new["pad_token_id"] is None and new["eos_token_id"] == -1
        assert notes == ["config.json: bos_token_id 50256 is not in the trimmed vocabulary; set to null"]

    def test_what_only_looks_like_an_id(self) -> None:
        old = {
            "vocab_size": 60,
            "id2label": {"5": "x_token_id"},
            "label2id": {"a_token_id": 5},
            "tie_token_id": True,
            "text_token_id": "5",
            "rope_parameters": {"x_token_id": 5},
        }
        new, notes = remap_config(old, MAP, 6)
        assert new == {**old, "vocab_size": 6} and notes == []

    @pytest.mark.parametrize("part", ["text_config", "encoder", "decoder", "backbone"])
    def test_parts(self, part: str) -> None:
        old = {"vocab_size": 60, part: {"vocab_size": 60, "bos_token_id": 5, "vision": {"vocab_size": 61}}}
        new, _ = remap_config(old, MAP, 6)
        assert new[part] == {"vocab_size": 6, "bos_token_id": 3, "vision": {"vocab_size": 61}}

    def test_a_vocabulary_named_by_the_text_part_alone(self) -> None:
        new, _ = remap_config({"text_config": {"vocab_size": 60, "image_token_index": 9}}, MAP, 6)
        assert new == {"text_config": {"vocab_size": 6, "image_token_index": 4}}

    def test_task_specific_parameters(self) -> None:
        old = {"task_specific_params": {"translation": {"decoder_start_token_id": 50, "prefix": "to: "}}}
        new, _ = remap_config(old, MAP, 6)
        assert new["task_specific_params"]["translation"] == {"decoder_start_token_id": 5, "prefix": "to: "}

    def test_code_is_not_referred_to(self) -> None:
        new, notes = remap_config({"auto_map": {"AutoModel": "x.Y"}}, MAP, 6)
        assert "auto_map" not in new and "auto_map" in notes[0]

    def test_class_defaults_are_written_where_they_would_mean_another_token(self) -> None:
        new, notes = remap_config({"model_type": "albert", "vocab_size": 60}, {0: 0, 2: 1, 3: 2}, 3)
        assert (new.get("pad_token_id", "left"), new["bos_token_id"], new["eos_token_id"]) == ("left", 1, 2)
        assert notes == []
        new, notes = remap_config({"model_type": "albert", "vocab_size": 60}, {0: 0, 2: 1}, 3)
        assert new["eos_token_id"] is None and "eos_token_id (class default) 3" in notes[0]

    def test_class_defaults_beyond_the_table_stay_unsaid(self) -> None:
        new, notes = remap_config({"model_type": "gpt2", "vocab_size": 60}, MAP, 6)
        assert new == {"model_type": "gpt2", "vocab_size": 6} and notes == []

    def test_defaults_of_a_text_part(self) -> None:
        old = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "vocab_size": 60}}
        new, _ = remap_config(old, {0: 0, 1: 1, 2: 2}, 3)
        assert new["text_config"] == {"model_type": "gemma3_text", "vocab_size": 3}
        new, _ = remap_config(old, {1: 0, 2: 1}, 2)
        assert new["text_config"]["bos_token_id"] == 1 and new["text_config"]["pad_token_id"] is None

    @pytest.mark.parametrize("model_type", ["xlm-roberta", "roberta", "mpnet", "m2m_100", "xglm"])
    def test_positions_hang_on_the_padding_id(self, model_type: str) -> None:
        with pytest.raises(InputError, match=r"would change from 1 to 0.*Keep all token ids from 0 to 1"):
            remap_config({"model_type": model_type, "vocab_size": 60}, {1: 0, 2: 1}, 2)
        new, _ = remap_config({"model_type": model_type, "vocab_size": 60}, {0: 0, 1: 1, 2: 2}, 3)
        assert new.get("pad_token_id", 1) == 1

    def test_depth_is_capped(self) -> None:
        deep: dict[str, Any] = {}
        for _ in range(30):
            deep = {"a": deep}
        with pytest.raises(InputError, match="nested more than 16"):
            remap_config(deep, MAP, 6)

    def test_a_map_that_leaves_the_table(self) -> None:
        with pytest.raises(ValueError, match="leads to id 5, but the trimmed table has 5 rows"):
            remap_config({}, MAP, 5)


class TestGenerationConfig:
    def test_every_field(self) -> None:
        old = {
            "suppress_tokens": [0, 7, 9],
            "begin_suppress_tokens": [7],
            "bad_words_ids": [[5, 9], [5, 7], [2]],
            "force_words_ids": [[[5], [7]], [[9]]],
            "forced_decoder_ids": [[1, 5], [2, 7], [3, None]],
            "sequence_bias": [[[5, 9], -1.0], [[7], 2.0]],
            "lang_to_id": {"de": 50, "fr": 7},
            "lang_code_to_id": {"__de__": 50},
            "forced_bos_token_id": 50,
            "max_new_tokens": 5,
            "temperature": 0.5,
        }
        new, notes = remap_generation_config(old, MAP)
        assert new == {
            "suppress_tokens": [0, 4],
            "begin_suppress_tokens": [],
            "bad_words_ids": [[3, 4], [2]],
            "force_words_ids": [[[4]]],
            "forced_decoder_ids": [[1, 3], [3, None]],
            "sequence_bias": [[[3, 4], -1.0]],
            "lang_to_id": {"de": 5},
            "lang_code_to_id": {"__de__": 5},
            "forced_bos_token_id": 5,
            "max_new_tokens": 5,
            "temperature": 0.5,
        }
        assert len(notes) == 7

    def test_what_is_left_of_nothing(self) -> None:
        new, _ = remap_generation_config({"bad_words_ids": [[7]], "forced_decoder_ids": [[0, 7]]}, MAP)
        assert new == {"bad_words_ids": None, "forced_decoder_ids": None}

    def test_malformed_fields(self) -> None:
        with pytest.raises(InputError, match=r"forced_decoder_ids holds 5; expected pairs"):
            remap_generation_config({"forced_decoder_ids": [5]}, MAP)
        new, notes = remap_generation_config({"sequence_bias": {"(5, 9)": 1.0}}, MAP)
        assert new["sequence_bias"] is None and "is not in the form" in notes[0]


IDS = st.integers(0, 40)
TREES = st.recursive(
    st.none() | st.booleans() | IDS | st.text("ab", max_size=3) | st.lists(IDS, max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from(
            ["pad_token_id", "eos_token_id", "suppress_tokens", "text_config", "x", "vocab_size"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["a", "eos_token_id", "suppress_tokens", "lang_to_id"]), TREES))
def test_keeping_everything_changes_nothing(config: dict[str, Any]) -> None:
    before = copy.deepcopy(config)
    new, notes = remap_generation_config(config, {i: i for i in range(41)})
    assert config == before and notes == []
    # An empty list of ids is written as null, which the libraries read alike.
    assert json.dumps(new).replace("[]", "null") == json.dumps(config).replace("[]", "null")


@given(st.dictionaries(st.sampled_from(["a_token_id", "b_token_ids", "suppress_tokens"]), TREES), st.data())
def test_no_old_id_survives(config: dict[str, Any], data: st.DataObject) -> None:
    keep = sorted(data.draw(st.sets(IDS)))
    # New numbers from 100 on, so that an id that was left as it was shows.
    new, _ = remap_generation_config(config, {old: 100 + i for i, old in enumerate(keep)})
    for key in ("a_token_id", "b_token_ids", "suppress_tokens"):
        value = new.get(key)
        if key == "suppress_tokens" and not isinstance(value, list):
            continue
        for item in value if isinstance(value, list) else [value]:
            assert isinstance(item, bool) or not isinstance(item, int) or item >= 100


class TestRequired:
    def test_named_and_default_ids(self) -> None:
        config = {"model_type": "mbart", "eos_token_id": [2, 9], "vocab_size": 60, "max_length": 7}
        found = required_ids(config | {"text_config": {"mask_token_id": 40}}, 60)
        assert found == {
            0: "bos_token_id (class default)",
            1: "pad_token_id (class default)",
            2: "eos_token_id",
            9: "eos_token_id",
            40: "text_config.mask_token_id",
        }

    def test_everything_up_to_the_padding_id(self) -> None:
        found = required_ids({"model_type": "roberta", "pad_token_id": 4}, 60)
        assert set(found) == {0, 1, 2, 3, 4}
        assert found[3] == "positions start after pad_token_id"

    def test_ids_outside_the_table_are_left_out(self) -> None:
        assert required_ids({"model_type": "gpt2", "pad_token_id": -1}, 60) == {}


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_the_tables_defaults_are_those_of_the_library(model_type: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(base_type(model_type))
    names = [f"{role}_token_id" for role in ("bos", "eos", "pad", "cls", "sep", "mask", "decoder_start")]
    names += ["forced_eos_token_id", "forced_bos_token_id"]
    actual = {name: getattr(config, name, None) for name in names}
    assert {name: value for name, value in actual.items() if value is not None} == FAMILIES[
        model_type
    ].token_ids


@pytest.mark.parametrize("name", sorted(TOKENIZER_CLASSES))
def test_the_tables_classes_are_those_of_the_library(name: str) -> None:
    import inspect

    transformers = pytest.importorskip("transformers")
    cls = getattr(transformers, name + "Fast", None) or getattr(transformers, name, None)
    if name == GENERIC or cls is None or not hasattr(cls, "model_input_names"):
        pytest.skip(f"this version of transformers has no {name} of its own")
    ours = TOKENIZER_CLASSES[name]
    signature = inspect.signature(cls.__init__).parameters
    theirs = {r: str(signature[r].default) for r in ROLES if r in signature and signature[r].default}
    if theirs:
        # Newer versions add roles (a mask for Gemma, padding for GPT-NeoX) that the older ones leave open.
        assert ours.tokens.items() <= theirs.items()
    assert ours.padding_side == cls.padding_side
    if name not in ("AlbertTokenizer", "RemBertTokenizer"):
        assert ours.segments == ("token_type_ids" in cls.model_input_names)


def trimmed(family: str, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
    """A family's tokenizer, and what is left of it."""
    document = train_tokenizer(RECIPES[family].kind, RECIPES[family].layout)
    size = max(token_ids(document).values()) + 1
    chosen = np.random.default_rng(seed).choice(size, size // 2, replace=False)
    keep = close_ids(document, np.union1d(chosen, list(special_ids(document))).astype(np.int64))
    return document, trim_document(document, keep), keep


def write(root: Path, family: str, document: dict[str, Any], settings: dict[str, Any]) -> Path:
    root.mkdir(exist_ok=True)
    (root / "config.json").write_text(json.dumps({"model_type": family}))
    (root / "tokenizer.json").write_bytes(dump_document(document))
    (root / "tokenizer_config.json").write_text(json.dumps(settings))
    return root


PROBES = (
    *TEXTS,
    "",
    " two  spaces ",
    "it's <s> [SEP] </s> <mask>, she said",
    "e-mail@example.org\nnew line\ttab",
    "ÀÉÎ ß ﬁ ① ｆｕｌｌ",
)


@pytest.mark.integration
@pytest.mark.parametrize("family", sorted(RECIPES))
def test_the_library_takes_tokenizer_json_as_it_is(family: str, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    transformers = pytest.importorskip("transformers")
    recipe = RECIPES[family]
    _, small, _ = trimmed(family)
    source = {
        "tokenizer_class": recipe.tokenizer_class,
        "model_max_length": 64,
        "truncation_side": "left",
        "clean_up_tokenization_spaces": False,
        "chat_template": "{{ messages }}",
        "vocab_file": "/elsewhere/spiece.model",
        **LAYOUTS[recipe.layout].roles,
    }
    settings, notes = remap_tokenizer_config(source, small, model_config={"model_type": family})
    assert notes == []
    loaded = transformers.AutoTokenizer.from_pretrained(write(tmp_path, family, small, settings))
    raw = Tokenizer.from_str(json.dumps(small))
    assert len(loaded) == raw.get_vocab_size() == len(token_ids(small))
    for text in PROBES:
        assert loaded(text, truncation=False)["input_ids"] == raw.encode(text).ids, text
        assert loaded(text, "a b")["input_ids"] == raw.encode(text, "a b").ids
    for role, token in LAYOUTS[recipe.layout].roles.items():
        assert getattr(loaded, role) == token
        assert getattr(loaded, f"{role}_id") == token_ids(small)[token]
    assert loaded.model_max_length == 64 and loaded.truncation_side == "left"
    assert loaded.chat_template == "{{ messages }}"


@pytest.mark.parametrize(
    ("family", "cls", "type_vocab_size", "segments"),
    [
        ("bert", "BertTokenizer", 2, True),
        ("bert", "PreTrainedTokenizerFast", 2, True),
        ("bert", "PreTrainedTokenizerFast", 1, False),
        ("bert", "XLMRobertaTokenizer", 2, False),
        ("xlm-roberta", "XLMRobertaTokenizerFast", 1, False),
        ("xlm-roberta", "PreTrainedTokenizerFast", 1, False),
        ("xlm-roberta", None, 1, False),
        ("distilbert", None, 2, False),
        ("albert", "AlbertTokenizer", 2, True),
        ("llama", "PreTrainedTokenizerFast", 2, False),
        ("deberta-v2", None, 0, True),
    ],
)
def test_segments_go_to_the_models_that_have_them(
    family: str, cls: str | None, type_vocab_size: int, segments: bool
) -> None:
    document = train_tokenizer("wordpiece", "bert")
    source = {"tokenizer_class": cls} if cls else {}
    settings, _ = remap_tokenizer_config(
        source, document, model_config={"model_type": family, "type_vocab_size": type_vocab_size}
    )
    assert ("token_type_ids" in settings["model_input_names"]) is segments
    named, _ = remap_tokenizer_config(
        {**source, "model_input_names": ["input_ids"]}, document, model_config={"model_type": family}
    )
    assert named["model_input_names"] == ["input_ids"]


class TestTokenizerConfig:
    def test_roles_come_from_the_class_where_the_file_is_silent(self) -> None:
        document = train_tokenizer("unigram", "fairseq")
        settings, _ = remap_tokenizer_config(
            {"tokenizer_class": "XLMRobertaTokenizer"}, document, model_config={"model_type": "bert"}
        )
        assert {role: settings[role] for role in ROLES} == LAYOUTS["fairseq"].roles
        assert settings["padding_side"] == "right"

    def test_without_any_file_roles_are_known_by_name(self) -> None:
        document = train_tokenizer("unigram", "fairseq")
        settings, notes = remap_tokenizer_config(None, document, model_config={"model_type": "bert"})
        assert settings["pad_token"] == "<pad>" and settings["mask_token"] == "<mask>"
        assert settings["tokenizer_class"] == "PreTrainedTokenizerFast" and notes == []
        settings, _ = remap_tokenizer_config({}, train_tokenizer("bpe", "gemma"), model_config={})
        assert (settings["bos_token"], settings["eos_token"], settings["cls_token"]) == (
            "<bos>",
            "<eos>",
            None,
        )

    def test_added_tokens_carry_their_new_ids(self) -> None:
        _, small, _ = trimmed("mbart")
        old = {"added_tokens_decoder": {"999": {"content": "old"}}}
        settings, _ = remap_tokenizer_config(old, small, model_config={})
        assert settings["added_tokens_decoder"] == {
            str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in small["added_tokens"]
        }

    def test_the_special_tokens_map_overrides_only_an_older_file(self) -> None:
        document = train_tokenizer("unigram", "fairseq")
        special = {"pad_token": {"content": "</s>", "lstrip": False}}
        plain = {"tokenizer_class": "XLMRobertaTokenizer", "pad_token": "<pad>"}
        settings, _ = remap_tokenizer_config(plain, document, model_config={}, special_tokens_map=special)
        assert settings["pad_token"] == "</s>"
        newer = {**plain, "added_tokens_decoder": {}}
        settings, _ = remap_tokenizer_config(newer, document, model_config={}, special_tokens_map=special)
        assert settings["pad_token"] == "<pad>"

    def test_tokens_that_are_gone_are_noted(self) -> None:
        document = train_tokenizer("unigram", "fairseq")
        settings, notes = remap_tokenizer_config(
            {"pad_token": "[PAD]", "additional_special_tokens": ["<s>", "<x>"]}, document, model_config={}
        )
        assert settings["pad_token"] is None and settings["additional_special_tokens"] == ["<s>"]
        assert notes == [
            "tokenizer_config.json: pad_token '[PAD]' is not in the vocabulary; dropped",
            "tokenizer_config.json: special tokens '<x>' not in the vocabulary; dropped",
        ]

    @pytest.mark.parametrize("key", ["additional_special_tokens", "extra_special_tokens"])
    def test_further_special_tokens_load(self, key: str, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        document = train_tokenizer("bpe", "gemma")
        source = {
            "tokenizer_class": "GemmaTokenizer",
            key: ["<start_of_turn>", {"content": "<end_of_turn>", "special": True}],
            "image_token": "<end_of_turn>",
        }
        settings, notes = remap_tokenizer_config(source, document, model_config={"model_type": "gemma"})
        assert notes == [] and "extra_special_tokens" in settings
        assert settings["additional_special_tokens"] == ["<start_of_turn>", "<end_of_turn>"]
        loaded = transformers.AutoTokenizer.from_pretrained(write(tmp_path, "gemma", document, settings))
        assert len(loaded) == len(token_ids(document))
        assert {"<start_of_turn>", "<end_of_turn>"} <= set(loaded.all_special_tokens)
        assert loaded.image_token == "<end_of_turn>"

    def test_what_a_class_did_beyond_tokenizer_json_is_noted(self) -> None:
        document = train_tokenizer("wordpiece", "bert")
        source = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "add_bos_token": True,
            "bos_token": "[MASK]",
            "src_lang": "en_XX",
            "my_own_field": 3,
        }
        _, notes = remap_tokenizer_config(source, document, model_config={"model_type": "qwen2"})
        assert [note.split(": ")[-1][:32] for note in notes] == [
            "src_lang and tgt_lang dropped; s",
            "do_lower_case True disagrees wit",
            "add_bos_token dropped; tokenizer",
            "transformers 5 rebuilds the toke",
            "'my_own_field'",
        ]

    def test_an_old_length_field(self) -> None:
        settings, _ = remap_tokenizer_config({"max_len": 128}, {"model": {"vocab": {}}}, model_config={})
        assert settings["model_max_length"] == 128

    def test_the_prefix_space_agrees_with_the_pre_tokenizer(self) -> None:
        document = train_tokenizer("bytebpe", "fairseq")
        document["pre_tokenizer"]["add_prefix_space"] = True
        settings, _ = remap_tokenizer_config({"add_prefix_space": False}, document, model_config={})
        assert settings["add_prefix_space"] is True


def test_the_special_tokens_map_loses_only_what_is_gone() -> None:
    document = train_tokenizer("unigram", "fairseq")
    special = {
        "pad_token": {"content": "<pad>", "lstrip": False},
        "eos_token": "</s>",
        "cls_token": "[CLS]",
        "additional_special_tokens": ["<mask>", {"content": "<x>"}],
    }
    new, notes = remap_special_tokens_map(special, document)
    assert new == {
        "pad_token": {"content": "<pad>", "lstrip": False},
        "eos_token": "</s>",
        "additional_special_tokens": ["<mask>"],
    }
    assert len(notes) == 2 and "'[CLS]' not in the vocabulary" in notes[0]
    assert remap_special_tokens_map(new, document) == (new, [])
