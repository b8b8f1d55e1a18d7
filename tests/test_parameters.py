"""Bad parameters get one line each, with the name, what came and what is accepted."""
import pytest

from lib import parameters
from lib.parameters import Field, Parameters, check_names, profile_parameters


class P(Parameters):
    n_draws: int = Field(ge=10, description="number of draws")
    sigma: float = Field(gt=0, description="noise, standard deviation")


GOOD = dict(seed=0, out="", figures="", enforce=True, n_draws=100, sigma=0.5)


def test_good_parameters_pass_and_other_names_are_left_alone():
    p = P.check({**GOOD, "numpy": object(), "some_result": 3, "In": ["", "seed = 0"]})
    assert p.n_draws == 100 and not hasattr(p, "some_result")
    assert P.check({**GOOD, "sigma": 1}).sigma == 1  # a whole number is a fine float


@pytest.mark.parametrize("name, value, accepted", [
    ("n_draws", 0, "greater than or equal to 10"), ("n_draws", 100.0, "integer"), ("n_draws", "100", "integer"),
    ("n_draws", True, "integer"), ("n_draws", None, "integer"),
    ("sigma", 0.0, "greater than 0"), ("sigma", -1.0, "greater than 0"), ("sigma", float("nan"), "finite"),
    ("sigma", float("inf"), "finite"), ("sigma", "1e-4", "number"), ("sigma", [1.0], "number"),
    ("seed", -1, "greater than or equal to 0"), ("out", 3, "string"), ("enforce", "yes", "boolean"),
])
def test_bad_values(name, value, accepted):
    with pytest.raises(ValueError) as error:
        P.check({**GOOD, name: value})
    message = str(error.value)
    assert message.startswith(f"{name}: got {value!r}, accepted: ") and accepted in message and "\n" not in message


def test_every_problem_is_told_and_missing_ones_too():
    with pytest.raises(ValueError) as error:
        P.check({**{k: v for k, v in GOOD.items() if k != "seed"}, "n_draws": 0, "sigma": -1.0})
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["seed", "n_draws", "sigma"]


def test_a_name_that_papermill_injected_but_the_notebook_lacks():
    with pytest.raises(ValueError, match=r"^parameters: got unknown name 'n_drawz' \(did you mean n_draws\?\)"):
        P.check({**GOOD, "In": ["", "seed = 0", "# Parameters\nn_drawz = 5\n"]})


@pytest.mark.parametrize("out", ["taken/run.json", "taken"])
def test_unwritable_out(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    if out == "taken":
        (tmp_path / "taken").mkdir()
    else:
        (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(ValueError, match="^out: got .*accepted: "):
        P.check({**GOOD, "out": out})


def test_profiles_refuse_unknown_profiles_notebooks_and_names(tmp_path, monkeypatch):
    monkeypatch.setattr(parameters, "NOTEBOOKS", tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "01_x.ipynb").write_text("{}")
    monkeypatch.setattr(parameters, "inspect_notebook", lambda path: {"n_draws": None})
    (tmp_path / "profiles" / "tiny.yaml").write_text("01_x: {n_draws: 5}\n")
    assert profile_parameters("tiny", "01_x") == {"n_draws": 5}
    with pytest.raises(ValueError, match="^profile: got 'huge', accepted: tiny"):
        profile_parameters("huge", "01_x")
    (tmp_path / "profiles" / "tiny.yaml").write_text("01_x: {n_drawz: 5}\n")
    with pytest.raises(ValueError, match="profile tiny, 01_x: got unknown name 'n_drawz'"):
        profile_parameters("tiny", "01_x")
    (tmp_path / "profiles" / "tiny.yaml").write_text("02_y: {}\n")
    with pytest.raises(ValueError, match="profile tiny: got unknown name '02_y'"):
        profile_parameters("tiny", "01_x")


def test_unknown_names_without_a_near_one():
    with pytest.raises(ValueError, match="^here: got unknown name 'zzz', accepted: seed"):
        check_names(["zzz"], ["seed"], "here")
