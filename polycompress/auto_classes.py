"""Let the Auto classes of transformers load variants of its families: one configuration and its models for each.

A variant puts a class of ours before each of the library's own model classes, and a prefix before their names and the
``model_type``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from polycompress.errors import InputError

AUTO_CLASSES: Final[tuple[str, ...]] = (
    "AutoModel",
    "AutoModelForPreTraining",
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoModelForQuestionAnswering",
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Variant:
    """How the models of a family are changed."""

    prefix: str
    """Of the names of classes, such as ``Factorised``."""
    mixin: type[Any]
    """What comes before each of the library's model classes."""
    type_of: Callable[[str], str]
    """From a plain ``model_type`` to the variant's."""
    field: str
    """What its ``config.json`` has besides the plain one's, null where nothing is known."""
    field_type: Any
    """Of that field."""
    what: str
    """What such a model is, for docstrings: ``with a factorised table``."""
    older: str
    """What to do with the installed transformers where it is older than version 5."""


@cache
def register(variant: Variant, model_type: str) -> Mapping[str, type[Any]]:
    """Make and register the classes of one family.

    Args:
        variant: Which.
        model_type: Of the plain one, such as ``xlm-roberta``.

    Returns:
        The models' classes by name, such as ``FactorisedXLMRobertaForMaskedLM``.

    Raises:
        InputError: The installed transformers is older than version 5.
    """
    import transformers

    if int(transformers.__version__.partition(".")[0]) < 5:
        raise InputError(variant.older.format(version=transformers.__version__))
    auto = importlib.import_module("transformers.models.auto")
    plain = auto.configuration_auto.CONFIG_MAPPING[model_type]
    config = _config_class(variant, plain)
    transformers.AutoConfig.register(config.model_type, config, exist_ok=True)
    classes: dict[str, type[Any]] = {}
    for name in AUTO_CLASSES:
        loader = getattr(transformers, name)
        base = loader._model_mapping.get(plain, None)
        if base is None:
            continue
        for each in base if isinstance(base, tuple | list) else (base,):
            classes.setdefault(variant.prefix + each.__name__, _model_class(variant, each, config))
        first = base[0] if isinstance(base, tuple | list) else base
        loader.register(config, classes[variant.prefix + first.__name__], exist_ok=True)
    tokenizers = auto.tokenization_auto.TOKENIZER_MAPPING.get(plain, None)
    if tokenizers is not None:
        chosen = [
            each for each in (tokenizers if isinstance(tokenizers, tuple | list) else (tokenizers,)) if each
        ]
        if chosen:
            auto.tokenization_auto.TOKENIZER_MAPPING.register(config, chosen[-1], exist_ok=True)
    _register_conversions(plain.model_type, config.model_type)
    return classes


def is_known(model_type: str) -> bool:
    """Whether the installed transformers has a family."""
    names = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING_NAMES
    return model_type in names


def check_known(plain: str, model_type: str) -> None:
    """Refuse a family that the installed transformers does not have.

    Args:
        plain: The ``model_type`` of its plain models.
        model_type: What ``config.json`` says, for the message.

    Raises:
        InputError: It has not.
    """
    if not is_known(plain):
        raise InputError(
            f"config.json: model_type {model_type!r}: the installed transformers has no {plain!r}"
        )


def initial_std(config: Any) -> float:
    """The spread that a family starts its tables with."""
    for name in ("initializer_range", "init_std", "initializer_factor"):
        value = getattr(config, name, None)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return 0.02


def _config_class(variant: Variant, plain: type[Any]) -> type[Any]:
    return type(
        variant.prefix + plain.__name__,
        (plain,),
        {
            "__module__": __name__,
            "__doc__": f"``{plain.__name__}`` of a model {variant.what}.",
            "__annotations__": {"model_type": str, variant.field: variant.field_type | None},
            "model_type": variant.type_of(plain.model_type),
            variant.field: None,
        },
    )


def _model_class(variant: Variant, plain: type[Any], config: type[Any]) -> type[Any]:
    return type(
        variant.prefix + plain.__name__,
        (variant.mixin, plain),
        {
            "__module__": __name__,
            "__doc__": f"``{plain.__name__}`` {variant.what}.",
            "config_class": config,
        },
    )


def _register_conversions(plain: str, ours: str) -> None:
    """Let checkpoints of a family be rearranged while they are loaded, as those of its plain models are."""
    mapping = importlib.import_module("transformers.conversion_mapping")
    found = mapping.get_checkpoint_conversion_mapping(plain)
    if found is not None:
        mapping.register_checkpoint_conversion_mapping(ours, found, overwrite=True)
