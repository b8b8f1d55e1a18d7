# The grid: every notebook x every seed, for one profile. `make reproduce` calls it.
import sys
from pathlib import Path

from lib.parameters import notebooks

PROFILE = str(config.get("profile", "laptop"))
SEEDS = str(config.get("seeds", "0")).split()
NOTEBOOKS = notebooks()
PATTERN = "results/{profile}/{notebook}/seed{seed}.json"
RECORDS = expand(PATTERN, profile=PROFILE, notebook=NOTEBOOKS, seed=SEEDS)


wildcard_constraints:
    profile="[^/]+",
    notebook="(evidence/)?[0-9a-z_]+",


rule all:
    input:
        RECORDS,
        f"results/{PROFILE}/CLAIMS.md",


rule run:
    input:
        notebook="notebooks/{notebook}.ipynb",
        profile="notebooks/profiles/{profile}.yaml",
        lib=sorted(map(str, Path("lib").glob("**/*.py"))),
    output:
        PATTERN,
    log:
        "results/{profile}/{notebook}/seed{seed}.ipynb",  # a failed notebook stays here for reading
    threads: 1  # nothing but timings depends on the number of cores; as many notebooks run at once
    params:
        run="{notebook} {profile} {seed}",
    shell:
        "exec {sys.executable} batch.py run {params.run}"


rule ledger:
    input:
        [record for record in RECORDS if "/evidence/" in record],
    output:
        "results/{profile}/CLAIMS.md",
    shell:
        "{sys.executable} batch.py ledger {wildcards.profile}"
