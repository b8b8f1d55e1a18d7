# The grid: every notebook x every seed, for one profile. `make reproduce` calls it.
import sys
from pathlib import Path

from lib.parameters import notebooks

PROFILE = str(config.get("profile", "laptop"))
SEEDS = str(config.get("seeds", "0")).split()
NOTEBOOKS = notebooks()
PATTERN = "results/{profile}/{notebook}/seed{seed}.json"
PRIORITY = {  # what runs for minutes starts first, so that no core waits for it at the end
    "evidence/03_encoders": 6,
    "evidence/02_autoencoder": 5,
    "evidence/09_sotalign": 4,
    "evidence/09_student": 4,
    "evidence/07_teachers": 3,
    "evidence/06_prices": 2,
    "evidence/04_trunk": 1,
}
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
    priority: lambda wildcards: PRIORITY.get(wildcards.notebook, 0)
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
        "{sys.executable} batch.py ledger {output} {input}"
