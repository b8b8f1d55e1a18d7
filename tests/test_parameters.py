"""Bad parameters get one line each: the name, what came, what is accepted."""

import re

import nbformat
import pytest

from lib import parameters
from lib.parameters import (
    ParameterError,
    check_names,
    check_parameters,
    notebooks,
    profile_parameters,
)

RANGES = dict(n_draws=(10, 1000), sigma=(0.1, 5.0), steps=(100, 900, 100), download=(False, True))
GOOD = dict(seed=0, out="", n_draws=100, sigma=0.5, steps=300, download=False)


def test_good_parameters_pass_and_other_names_are_left_alone():
    p = check_parameters({**GOOD, "numpy": object(), "In": ["", "seed = 0"]}, **RANGES)
    assert p.n_draws == 100
    assert p.download is False
    assert not hasattr(p, "numpy")
    assert check_parameters({**GOOD, "sigma": 1}, **RANGES).sigma == 1  # a fine float
    with pytest.raises(Exception, match="frozen"):
        p.seed = 1


@pytest.mark.parametrize(
    "name, value, accepted",
    [
        ("n_draws", 0, "greater than or equal to 10"),
        ("n_draws", 1001, "less than or equal to 1000"),
        ("n_draws", 100.0, "integer"),
        ("n_draws", "100", "integer"),
        ("n_draws", True, "integer"),
        ("n_draws", None, "integer"),
        ("sigma", 0.0, "greater than or equal to 0.1"),
        ("sigma", float("nan"), "finite"),
        ("sigma", float("inf"), "finite"),
        ("sigma", "1e-4", "number"),
        ("sigma", [1.0], "number"),
        ("steps", 150, "multiple of 100"),
        ("download", "yes", "boolean"),
        ("seed", -1, "greater than or equal to 0"),
        ("out", 3, "string"),
    ],
)
def test_bad_values(name, value, accepted):
    with pytest.raises(ParameterError) as error:
        check_parameters({**GOOD, name: value}, **RANGES)
    message = str(error.value)
    assert message.startswith(f"{name}: got {value!r}, accepted: ")
    assert accepted in message
    assert "\n" not in message
    assert error.value._render_traceback_() == [f"ParameterError: {message}"]


def test_every_problem_is_told_and_missing_ones_too():
    bad = {**GOOD, "n_draws": 0, "sigma": -1.0}
    del bad["seed"]
    with pytest.raises(ParameterError) as error:
        check_parameters(bad, **RANGES)
    names = [line.split(":")[0] for line in str(error.value).splitlines()]
    assert names == ["seed", "n_draws", "sigma"]


def test_a_name_that_papermill_injected_but_the_notebook_lacks():
    words = r"^parameters: got unknown name 'n_drawz' \(did you mean n_draws\?\)"
    with pytest.raises(ParameterError, match=words):
        check_parameters({**GOOD, "In": ["", "seed = 0", "# Parameters\nn_drawz = 5\n"]}, **RANGES)


@pytest.mark.parametrize("out", ["taken/run.json", "taken"])
def test_unwritable_out(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    if out == "taken":
        (tmp_path / "taken").mkdir()
    else:
        (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(ParameterError, match="^out: got .*accepted: a file to write"):
        check_parameters({**GOOD, "out": out}, **RANGES)


def test_profiles_refuse_unknown_profiles_notebooks_and_names(tmp_path, monkeypatch):
    monkeypatch.setattr(parameters, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr("papermill.inspect_notebook", lambda path: {"n_draws": None})
    (tmp_path / "profiles").mkdir()
    (tmp_path / "evidence").mkdir()
    (tmp_path / "01_x.ipynb").write_text("{}")
    (tmp_path / "evidence" / "01_y.ipynb").write_text("{}")
    assert list(parameters.notebooks()) == ["01_x", "evidence/01_y"]
    profile = tmp_path / "profiles" / "tiny.yaml"
    profile.write_text("evidence/01_y: {n_draws: 5}\n")
    assert profile_parameters("tiny", "evidence/01_y") == {"n_draws": 5}
    assert profile_parameters("tiny", "01_x") == {}
    with pytest.raises(ParameterError, match="^PROFILE: got 'huge', accepted: tiny"):
        profile_parameters("huge", "01_x")
    profile.write_text("01_x: {n_drawz: 5}\n")
    with pytest.raises(ParameterError, match="profile tiny, 01_x: got unknown name 'n_drawz'"):
        profile_parameters("tiny", "01_x")
    profile.write_text("02_y: {}\n")
    with pytest.raises(ParameterError, match="profile tiny: got unknown name '02_y'"):
        profile_parameters("tiny", "01_x")
    for text, came in (
        ("01_x: 5\n", "profile tiny, 01_x: got 5, accepted: lines"),
        ("01_x: {seed: 7, out: x}\n", "profile tiny, 01_x: got out, seed, accepted: other names"),
        ("01_x: [\n", "profile tiny: got while parsing .*, accepted: a file in YAML$"),
    ):
        profile.write_text(text)
        with pytest.raises(ParameterError, match=f"^{came}"):
            profile_parameters("tiny", "01_x")


def test_unknown_names_without_a_near_one():
    with pytest.raises(ParameterError, match="^here: got unknown name 'zzz', accepted: seed"):
        check_names(["zzz"], ["seed"], "here")


@pytest.mark.parametrize("path", notebooks().values(), ids=notebooks())
def test_an_unknown_parameter_stops_every_notebook_at_its_check(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    sources = [c.source for c in cells if "drawing" not in c.metadata.get("tags", [])]
    check = next(k for k, s in enumerate(sources) if re.search(r"check_parameters\(\s*globals", s))
    namespace = {"In": ["", "# Parameters\nsead = 1\n"]}  # as papermill injects it
    with pytest.raises(ParameterError, match=r"^parameters: got unknown .*did you mean seed"):
        exec("\n".join(sources[: check + 1]), namespace)
