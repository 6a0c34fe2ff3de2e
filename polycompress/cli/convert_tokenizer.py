"""``polycompress convert-tokenizer``."""

from __future__ import annotations

from polycompress.cli import console
from polycompress.cli.options import Json, Model, Out, Overwrite


def convert_tokenizer(model: Model, out: Out, overwrite: Overwrite = False, json: Json = False) -> None:
    """Give a model directory that has only a SentencePiece file a tokenizer.json, checked on real text.

    Needs the extra `train`: the conversion is transformers' own. The result is compared with sentencepiece itself, and
    refused where they segment any sample in different ways.

    Examples:
        polycompress convert-tokenizer models/nllb --out models/nllb-fast

        polycompress convert-tokenizer models/xglm --out models/xglm-fast --overwrite
    """
    from polycompress.modeldir.convert import convert_tokenizer as run

    path = run(model, out, overwrite=overwrite)
    if json:
        console.print_json({"out": str(path)})
    else:
        console.print_line(f"written to {path}")
