"""Features of a million captions: memory, bytes, seconds; killed in the middle, and resumed.

    python tests/bench/bench_features.py [captions] [chunk]

1,000,000 generated captions in chunks of 4096 unless told otherwise, through a random BERT of one
layer of 32 numbers. A first process is killed (SIGKILL) when half is done, a second goes on; exit
status 1 if either wrote a row that the other had finished, or a row is not what it should be.
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import itertools, resource, sys, time
from pathlib import Path
import numpy as np
import torch
from lib.files import features
from lib.hub import from_hub

n, chunk, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
torch.set_num_threads(1)
kinds = itertools.product(("red", "old", "tiny", "wet"), ("boat", "dog", "tree", "house"))
words = [f"{a} {b}" for a, b in kinds]
pairs = itertools.cycle(itertools.product(words, repeat=2))
captions = [f"a {a} near a {b} {k}" for k, (a, b) in zip(range(n), pairs)]
encoder = from_hub(folder, "text", batch_size=512)
encode = encoder.encode

def noted(samples):
    made = encode(samples)
    with open(folder / "encoded", "a") as stream:
        stream.write(f"{len(samples)}\\n")
    return made

encoder.encode = noted
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("begins", before // 1024, flush=True)
start = time.perf_counter()
made = features(encoder, captions, chunk=chunk)
seconds = time.perf_counter() - start
start = time.perf_counter()
again = features(encoder, captions, chunk=chunk)
some = np.random.default_rng(0).choice(n, min(n, 500), replace=False)
right = np.allclose(encode([captions[k] for k in some]), made[some], atol=1e-5)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(seconds, time.perf_counter() - start, peak // 1024, right, made.nbytes, flush=True)
"""


def make_encoder(folder):
    """A random BERT that splits words at blanks and knows letters and digits."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = dict(pad_token="[PAD]", unk_token="[UNK]")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*names.values(), *letters, *(f"##{letter}" for letter in letters)]
    words = Tokenizer(models.WordPiece(dict(zip(pieces, range(len(pieces)))), unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config = transformers.BertConfig(**sizes, vocab_size=len(pieces), max_position_embeddings=64)
    transformers.BertModel(config).save_pretrained(folder)


def start(n, chunk, folder):
    command = [sys.executable, "-c", CHILD, str(n), str(chunk), str(folder)]
    environment = {**os.environ, "UNPAIRED_CACHE": str(folder / "cache")}
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    word, megabytes = child.stdout.readline().split()
    assert word == "begins"
    return child, int(megabytes)


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    chunk = int(sys.argv[2]) if len(sys.argv) > 2 else 4096
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_encoder(folder)
        noted = folder / "encoded"
        begin = time.perf_counter()
        child, _ = start(n, chunk, folder)
        while child.poll() is None and (not noted.exists() or _count(noted) < n // 2):
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        status, first = child.wait(), _count(noted)
        killed = time.perf_counter() - begin
        print(f"killed after {killed:.0f} s (status {status}): {first:,} of {n:,} encoded")
        child, base = start(n, chunk, folder)
        seconds, warm, peak, right, size = child.stdout.read().split()
        twice = _count(noted) - n
        usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        on_disk = sum(path.stat().st_size for path in (folder / "cache").iterdir())
    print(f"resumed: the other {n - first:,} in {float(seconds):.0f} s, {twice:,} encoded twice")
    print(f"asked again: {float(warm):.1f} s; rows as they should be: {right}")
    print(f"peak memory {peak} MB, {base} MB of it before the first row; both children {usage} MB")
    print(f"on the disk {on_disk:,} bytes, of which rows {int(size):,}")
    sys.exit(child.wait() or twice > chunk or right != "True")


def _count(noted):
    return sum(map(int, noted.read_text().split()))


if __name__ == "__main__":
    main()
