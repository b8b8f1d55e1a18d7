# The grid: every notebook x every seed, for one profile, through papermill. Called by `make reproduce`.
import json
from pathlib import Path

from snakemake.exceptions import WorkflowError

from lib.parameters import profile_parameters

PROFILE = str(config.get("profile", "laptop"))
SEEDS = str(config.get("seeds", "0")).split()
NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("[0-9]*.ipynb"))

if not SEEDS or not all(seed.isdecimal() for seed in SEEDS):
    raise WorkflowError(f"SEEDS: got {config['seeds']!r}, accepted: whole numbers >= 0 with spaces between, as in SEEDS=\"0 1 2\"")
try:
    SETTINGS = {notebook: profile_parameters(PROFILE, notebook) for notebook in NOTEBOOKS}
except ValueError as error:
    raise WorkflowError(str(error))


def settings(wildcards):
    """Parameters for papermill as JSON; the run that the README shows also writes its figures."""
    reference = wildcards.profile == "laptop" and wildcards.seed == "0"
    out = f"results/{wildcards.profile}/{wildcards.notebook}/seed{wildcards.seed}.json"
    return json.dumps({**SETTINGS[wildcards.notebook], "seed": int(wildcards.seed), "out": out, "figures": "figures" if reference else ""})


rule all:
    input:
        expand("results/{profile}/{notebook}/seed{seed}.json", profile=PROFILE, notebook=NOTEBOOKS, seed=SEEDS),


rule run:
    input:
        notebook="notebooks/{notebook}.ipynb",
        lib=sorted(str(path) for path in Path("lib").glob("*.py")),
    output:
        "results/{profile}/{notebook}/seed{seed}.json",
    log:
        "results/{profile}/{notebook}/seed{seed}.ipynb",  # a failed notebook stays here for reading
    params:
        settings=settings,
    threads: 1  # nothing but timings depends on how many cores there are, and as many notebooks run at once
    shell:
        "echo 'running {wildcards.notebook}, profile {wildcards.profile}, seed {wildcards.seed} ...';"
        " papermill {input.notebook} {log} -y {params.settings:q} --log-level ERROR --no-progress-bar"
        " 2> >(grep -v -e 'TCP without encryption' -e 'KeyboardInterrupt caught' >&2)"  # kernels say so when they start, or are told to stop


onerror:
    print(f"Some notebooks failed; each one's executed copy, with its error, is in results/{PROFILE}/. The others are done and will not run again.")
