"""Let the Auto classes of transformers load factorised models: one configuration and its models for each family."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from polycompress.embeddings.models import RANK_FIELD, Factorised
from polycompress.errors import InputError
from polycompress.modeldir.axes_table import FAMILIES, base_type, factorised_type, is_factorised

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
PREFIX: Final = "Factorised"
"""Of the names of classes."""


def register_all() -> None:
    """Register every family that the installed transformers knows.

    Raises:
        InputError: The installed transformers is older than version 5.
    """
    for model_type in FAMILIES:
        if not is_factorised(model_type) and _known(model_type):
            register(model_type)


def register_for(config: Mapping[str, Any]) -> None:
    """Register the family of a ``config.json``, if it is a factorised one; else nothing is done.

    Raises:
        InputError: The installed transformers is older than version 5, or does not know the family.
    """
    model_type = config.get("model_type")
    if isinstance(model_type, str) and is_factorised(model_type):
        if not _known(base_type(model_type)):
            raise InputError(
                f"config.json: model_type {model_type!r}: the installed transformers has no {base_type(model_type)!r}"
            )
        register(base_type(model_type))


@cache
def register(model_type: str) -> Mapping[str, type[Any]]:
    """Make and register the classes of one family.

    Args:
        model_type: Of the plain one, such as ``xlm-roberta``.

    Returns:
        The models' classes by name, such as ``FactorisedXLMRobertaForMaskedLM``.

    Raises:
        InputError: The installed transformers is older than version 5.
    """
    import transformers

    if int(transformers.__version__.partition(".")[0]) < 5:
        raise InputError(
            f"factorised models need transformers 5, and {transformers.__version__} is installed. Upgrade it, or take "
            "the model to it with: polycompress ofa export DIR --dense --out PLAIN"
        )
    auto = importlib.import_module("transformers.models.auto")
    plain = auto.configuration_auto.CONFIG_MAPPING[model_type]
    config = _config_class(plain, factorised_type(model_type))
    transformers.AutoConfig.register(config.model_type, config, exist_ok=True)
    classes: dict[str, type[Any]] = {}
    for name in AUTO_CLASSES:
        loader = getattr(transformers, name)
        base = loader._model_mapping.get(plain, None)
        if base is None:
            continue
        for each in base if isinstance(base, tuple | list) else (base,):
            classes.setdefault(PREFIX + each.__name__, _model_class(each, config))
        first = base[0] if isinstance(base, tuple | list) else base
        loader.register(config, classes[PREFIX + first.__name__], exist_ok=True)
    tokenizers = auto.tokenization_auto.TOKENIZER_MAPPING.get(plain, None)
    if tokenizers is not None:
        chosen = [
            each for each in (tokenizers if isinstance(tokenizers, tuple | list) else (tokenizers,)) if each
        ]
        if chosen:
            auto.tokenization_auto.TOKENIZER_MAPPING.register(config, chosen[-1], exist_ok=True)
    _register_conversions(plain.model_type, config.model_type)
    return classes


def model_class(name: str, config: Mapping[str, Any]) -> type[Any] | None:
    """The class that a configuration names among its ``architectures``; None: neither transformers nor we have it.

    Args:
        name: Such as ``XLMRobertaForMaskedLM`` or ``FactorisedXLMRobertaForMaskedLM``.
        config: ``config.json``; its family is registered if it is factorised.
    """
    import transformers

    register_for(config)
    model_type = config.get("model_type")
    if isinstance(model_type, str) and is_factorised(model_type):
        return register(base_type(model_type)).get(name)
    found = getattr(transformers, name, None)
    return found if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel) else None


def _known(model_type: str) -> bool:
    names = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING_NAMES
    return model_type in names


def _config_class(plain: type[Any], model_type: str) -> type[Any]:
    return type(
        PREFIX + plain.__name__,
        (plain,),
        {
            "__module__": __name__,
            "__doc__": f"``{plain.__name__}`` of a model whose table is factorised.",
            "__annotations__": {"model_type": str, RANK_FIELD: int | None},
            "model_type": model_type,
            RANK_FIELD: None,
        },
    )


def _model_class(plain: type[Any], config: type[Any]) -> type[Any]:
    return type(
        PREFIX + plain.__name__,
        (Factorised, plain),
        {
            "__module__": __name__,
            "__doc__": f"``{plain.__name__}`` with a factorised table.",
            "config_class": config,
        },
    )


def _register_conversions(plain: str, factorised: str) -> None:
    """Let checkpoints of a family be rearranged while they are loaded, as those of its plain models are."""
    mapping = importlib.import_module("transformers.conversion_mapping")
    found = mapping.get_checkpoint_conversion_mapping(plain)
    if found is not None:
        mapping.register_checkpoint_conversion_mapping(factorised, found, overwrite=True)
