"""One list of dependencies, one way in, a small house."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def test_conda_and_pip_agree():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, inner = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}"
    assert pip == "pip" and environment["name"] == PROJECT["name"]
    assert inner["pip"] == ["-c constraints.txt", "-e .[grid]"]


def test_binder_finds_what_it_needs():
    python, pip, torch = yaml.safe_load((ROOT / ".binder/environment.yml").read_text())[
        "dependencies"
    ]
    assert python == f"python{PROJECT['requires-python']}" and pip == "pip"
    assert torch.replace("pytorch-cpu", "torch") in PROJECT["dependencies"]
    post = ROOT / ".binder" / "postBuild"
    assert os.access(post, os.X_OK)
    install = post.read_text().splitlines()[-1]
    constraints, extra = re.search(r" (\S+\.txt)\) -e '\.\[(\w+)\]'$", install).groups()
    assert (ROOT / constraints).exists() and extra in EXTRAS
    subprocess.run(["bash", "-n", post], check=True)


def test_every_dependency_is_pinned_within_its_bounds():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)
    listed = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    for requirement in map(Requirement, listed):
        if requirement.name != PROJECT["name"]:
            name = requirement.name.lower().replace("_", "-")
            assert pins[name] in requirement.specifier, requirement


def test_the_lab_needs_neither_the_grid_nor_the_tools_of_teachers_and_developers():
    base = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert not base & {"snakemake", "nbgrader", "pytest", "nbval", "ruff", "playwright"}
    make = ["make", "-n", "-W", "pyproject.toml", "lab", f"VENV={sys.prefix}"]
    said = subprocess.run(make, cwd=ROOT, capture_output=True, text=True).stdout
    install = next(line for line in said.splitlines() if " pip install " in line)
    assert install.endswith("-e '.'") and " -q" not in install


def test_no_registry_is_named():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    for path in listing.stdout.split():
        if path != "tests/test_environment.py" and (ROOT / path).exists():
            text = (ROOT / path).read_text(errors="ignore")
            assert not re.search(r"pypi\.org|pythonhosted|download\.pytorch|conda\.anaconda", text)


def test_ci_runs_the_tests():
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_library_is_small():
    files = {path.name: path.read_text().splitlines() for path in (ROOT / "lib").glob("*.py")}
    assert max(map(len, files.values())) <= 320
    assert sum(map(len, files.values())) <= 5100


def test_a_room_knows_only_rooms_before_it():
    rooms = re.findall(r"^(\w+)  +\S", (ROOT / "lib" / "__init__.py").read_text(), re.MULTILINE)
    assert {path.stem for path in (ROOT / "lib").glob("*.py")} - {"__init__"} == set(rooms)
    for k, room in enumerate(rooms):
        text = (ROOT / "lib" / f"{room}.py").read_text()
        known = re.findall(r"from lib\.(\w+) import", text)
        for line in re.findall(r"^\s*from lib import (.+)$", text, re.MULTILINE):
            known += [name.split(" as ")[0] for name in line.split(", ")]
        assert set(known) <= set(rooms[:k]), f"{room} imports {set(known) - set(rooms[:k])}"


def test_the_pictures_of_the_readme_are_there():
    pictures = re.findall(r'src="([^"]+)"', (ROOT / "README.md").read_text())
    assert len(pictures) >= 5 and all((ROOT / picture).exists() for picture in pictures)
