"""What a chat template and a user's patterns keep, hostile ones among them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from polycompress.errors import InputError
from polycompress.languages import find_language, find_languages
from polycompress.pipelines.trimming import keeping
from polycompress.pipelines.trimming.keeping import (
    PROMPT_RULE,
    TEMPLATE_RULE,
    named_tokens,
    pointed_tokens,
    punctuation_tokens,
    required_tokens,
)
from polycompress.pipelines.trimming.loading import open_model
from tests.tiny_models import make_tiny


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path / "tiny", vocab_size=400)


def kept_by_template(source: Path, template: str) -> set[int]:
    (source / "chat_template.jinja").write_text(template, encoding="utf-8")
    required = required_tokens(open_model(source), find_languages("de"))
    return {token for token, rule in required.items() if rule == TEMPLATE_RULE}


def ids(source: Path, text: str) -> set[int]:
    return set(Tokenizer.from_file(str(source / "tokenizer.json")).encode(text, add_special_tokens=False).ids)


def test_the_words_of_a_template_are_kept_in_any_script(source: Path) -> None:
    template = "It's Москва{% if x['Αθήνα'] == \"\\n北京\\u0928\" %}{{ 'र' }}{# gone #}"
    kept = kept_by_template(source, template)
    required = set(required_tokens(open_model(source), find_languages("de")))
    for text in ("It's Москва", "Αθήνα", "北京न", "र"):
        assert ids(source, text) <= required, text
    assert ids(source, "Москва") & kept
    assert not ids(source, "Ð") & kept, "an escape in it must not turn UTF-8 into Latin-1"


def test_the_roles_of_a_chat_are_kept_though_a_template_leaves_them_to_its_caller(source: Path) -> None:
    kept = kept_by_template(source, "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    required = set(required_tokens(open_model(source), find_languages("de")))
    for role in ("user", "assistant", "system", "tool"):
        assert ids(source, role) <= required, role
    assert kept & ids(source, "assistant")


@pytest.mark.parametrize("name", ["additional_chat_templates/tools.jinja", "chat_template.json"])
def test_templates_beside_the_first_are_kept_too(source: Path, name: str) -> None:
    template = "{{ 'Москва' }} Αθήνα"
    (source / name).parent.mkdir(exist_ok=True)
    whole = template if name.endswith(".jinja") else json.dumps({"chat_template": template})
    (source / name).write_text(whole, encoding="utf-8")
    required = required_tokens(open_model(source), find_languages("de"))
    for text in ("Москва", "Αθήνα"):
        assert ids(source, text) <= set(required), text
    assert TEMPLATE_RULE in required.values()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "config_sentence_transformers.json",
            {"prompts": {"query": "Москва: ", "document": "Αθήνα", "none": None}},
        ),
        (
            "config.json",
            {"task_specific_params": {"a": {"prefix": "Москва: "}, "b": {"prefix": "Αθήνα"}, "c": None}},
        ),
    ],
)
def test_what_the_directory_puts_before_every_text_is_kept(
    source: Path, name: str, content: dict[str, Any]
) -> None:
    before = json.loads((source / name).read_text(encoding="utf-8")) if (source / name).exists() else {}
    (source / name).write_text(json.dumps({**before, **content}), encoding="utf-8")
    required = required_tokens(open_model(source), find_languages("de"))
    for text in ("Москва: ", "Αθήνα"):
        assert ids(source, text) <= set(required), text
    assert PROMPT_RULE in required.values()


@pytest.mark.parametrize(
    "prompts", [[], "query: ", {"query": 5}, {"query": "\ud800"}, {"query": ""}, {"query": "q " * 9**6}]
)
def test_prompts_that_are_none_keep_nothing(source: Path, prompts: object) -> None:
    path = source / "config_sentence_transformers.json"
    path.write_text(json.dumps({"prompts": prompts}), encoding="utf-8")
    assert PROMPT_RULE not in required_tokens(open_model(source), find_languages("de")).values()


def test_points_that_lists_leave_out_are_kept() -> None:
    texts = ["َّ", " اً", "ب", None, "", "مدرسةً", "é", "e\u0301", "שׁ"]
    assert pointed_tokens(texts, find_language("ar")) == [0, 1]
    assert pointed_tokens(texts, find_language("he")) == [8]
    assert pointed_tokens(texts, find_language("fr")) == []


@pytest.mark.parametrize(
    "template",
    [
        "{{" * 300_000,
        "{%" * 300_000 + "}",
        "{{'" + "\\'" * 300_000,
        "{{" + "\"'" * 200_000,
        "{{ '\\ud800 \\x' }}",
    ],
    ids=["open", "nearly closed", "quoted", "quotes", "half a pair"],
)
def test_a_hostile_template_is_read_in_one_pass(source: Path, template: str) -> None:
    started = time.process_time()
    kept_by_template(source, template)
    assert time.process_time() - started < 5


def test_a_pattern_that_tries_too_many_ways_is_stopped(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = open_model(source).vocabulary
    vocabulary.texts[20] = "a" * 200 + "b"
    monkeypatch.setattr(keeping, "SEARCH_SECONDS", 0.2)
    with pytest.raises(
        InputError, match=r"--keep-regex '\(a\|aa\)\+\$' takes more than 0.2 s for the token 'aaa"
    ):
        named_tokens(vocabulary, None, ["(a|aa)+$"])


@pytest.mark.parametrize("pattern", ["(" * 10_000, r"\p{Nothing}", "a**"])
def test_a_pattern_that_cannot_be_compiled_is_refused(source: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="is not a valid pattern"):
        named_tokens(open_model(source).vocabulary, None, [pattern])


def test_short_punctuation_is_told_from_words_and_single_marks() -> None:
    texts = [" ''", ").", "—", " a", "....", "«»", ".a", None, "  ", "'s", " :-)"]
    assert punctuation_tokens(texts) == [0, 1, 5, 10]
