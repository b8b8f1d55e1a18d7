# The grid: every notebook x every seed, for one profile. `make reproduce` calls it.
import os
import sys
import threading
import time
from functools import cache

from batch import digest
from lib.parameters import notebooks

PROFILE = str(config.get("profile", "laptop"))
SEEDS = str(config.get("seeds", "0")).split()
NOTEBOOKS = notebooks()
PATTERN = "results/{profile}/{notebook}/seed{seed}.json"
PRIORITY = {  # what runs for long starts first, so that no core waits for it at the end
    "evidence/03_encoders": 9,  # makes the encoders that others find in the cache
    "evidence/02_autoencoder": 8,
    "evidence/11_drawings": 7,
    "evidence/09_sotalign": 7,
    "evidence/09_student": 6,
    "evidence/07_teachers": 5,
    "evidence/06_prices": 4,
    "evidence/10_breaks": 4,
    "evidence/12_no_pairs": 4,
    "evidence/11_grocery": 3,
    "evidence/04_trunk": 3,
    "evidence/05_few_shots": 2,
    "02_train_shared_autoencoder": 1,
    "04_share_a_trunk_without_labels": 1,
    "06_price_words_in_images": 1,
    "09_align_with_sotalign": 1,
}
MINUTES = {  # of profile laptop on one core, with nothing in the cache; 10 for all others
    "evidence/11_drawings": 25,
    "evidence/09_sotalign": 15,
}
sources = cache(digest)  # a run is repeated where they are others, whatever clocks say
RECORDS = expand(PATTERN, profile=PROFILE, notebook=NOTEBOOKS, seed=SEEDS)


def die_with(parent):
    """Nobody reads what Snakemake says when batch.py was killed; at a failure it would hang."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if os.environ.get("GRID") == str(os.getppid()):  # batch.py started it
    threading.Thread(target=die_with, args=(os.getppid(),), daemon=True).start()


wildcard_constraints:
    profile="[^/]+",
    notebook="(evidence/)?[0-9a-z_]+",


def minutes(wildcards, attempt):
    """Of a cluster's node: three times what was measured; seed<k>.tsv says what a run took."""
    scale = {"smoke": 1, "laptop": 1}.get(wildcards.profile, 24)
    return attempt * scale * 3 * MINUTES.get(wildcards.notebook, 10)


def megabytes(wildcards, attempt):
    """Of a cluster's node: twice the most that was measured, 1,893, and Snakemake's own."""
    return attempt * (4000 if wildcards.profile in ("smoke", "laptop") else 8000)


rule all:
    input:
        RECORDS,
        f"results/{PROFILE}/CLAIMS.md",


rule run:
    output:
        PATTERN,
    log:
        "results/{profile}/{notebook}/seed{seed}.ipynb",  # a failed notebook stays here for reading
    benchmark:
        "results/{profile}/{notebook}/seed{seed}.tsv"  # seconds and megabytes
    priority: lambda wildcards: PRIORITY.get(wildcards.notebook, 0)
    threads: 1  # nothing but timings depends on the number of cores; as many notebooks run at once
    resources:
        runtime=minutes,
        mem_mb=megabytes,
    params:
        run="{notebook} {profile} {seed}",
        sources=lambda wildcards: sources(wildcards.notebook, wildcards.profile),
    message:
        "{output}"
    shell:
        "exec {sys.executable} batch.py run {params.run}"


rule ledger:
    localrule: True
    input:
        RECORDS,
        "ledger.py",
        "notebooks/papers.yaml",
    output:
        "results/{profile}/CLAIMS.md",
        "results/{profile}/claims.csv",
        "results/{profile}/runs.csv",
    params:
        seeds=" ".join(SEEDS),
    message:
        "{output}"
    shell:
        "{sys.executable} batch.py ledger {wildcards.profile} {params.seeds}"
