"""One list of dependencies, one way in; the grid refuses what it does not know."""
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-")


def test_conda_and_pip_agree():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, inner = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}" and pip == "pip" and environment["name"] == PROJECT["name"]
    constraint, install = inner["pip"]
    assert constraint == "-c constraints.txt" and (ROOT / "constraints.txt").exists()
    assert set(re.fullmatch(r"-e \.\[(.+)\]", install)[1].split(",")) <= set(PROJECT["optional-dependencies"])


def test_every_dependency_is_pinned_within_its_bounds():
    from packaging.requirements import Requirement

    pins = dict(line.lower().replace("_", "-").split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    wanted = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    for requirement in map(Requirement, wanted):
        if requirement.name != PROJECT["name"]:
            assert pins[name(requirement.name)] in requirement.specifier, requirement


def test_no_registry_is_named():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    for path in tracked:
        if path != "tests/test_environment.py" and not path.endswith(".svg"):
            assert not re.search(r"pypi\.org|pythonhosted|download\.pytorch|conda\.anaconda", (ROOT / path).read_text()), path


def test_ci_runs_the_tests():
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("config, words", [
    (["profile=nonsense"], "profile: got 'nonsense', accepted: full, laptop, smoke"), (["seeds=x"], "SEEDS: got 'x'"), (["seeds="], "SEEDS: got"),
    (["seeds=0 -1"], "SEEDS: got"), (["profile=smoke", "seeds=0 7"], None),
])
def test_the_grid_plans_or_refuses(config, words, tmp_path):
    for part in ("notebooks", "lib", "Snakefile"):
        (tmp_path / part).symlink_to(ROOT / part)
    run = subprocess.run([sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--config", *config], cwd=tmp_path, capture_output=True, text=True)
    said = run.stdout + run.stderr
    if words:
        assert run.returncode and words in said
    else:
        assert run.returncode == 0 and "results/smoke/01_add_fisher_information/seed7.json" in said
