"""What a notebook accepts: its parameters checked in one line, and the profiles of batch runs.

seed = 0            # the cell tagged `parameters` says what each one is
n_draws = 10_000
out = ""
...
p = check_parameters(globals(), n_draws=(100, 1_000_000))
"""

import ast
import difflib
import os
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
PACKAGES = ("numpy", "scipy", "torch", "POT", "scikit-learn", "transformers", "papermill")


class ParameterError(ValueError):
    """Parameters that do not fit, one line each; shown in a notebook without a traceback."""

    def _render_traceback_(self):
        return [f"ParameterError: {self}"]


class Parameters(BaseModel):
    """What every notebook has; `check_parameters` adds a notebook's own."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(ge=0)
    out: str


def check_parameters(namespace, **ranges):
    """The notebook's parameters found in `namespace` (pass `globals()`), checked and frozen.

    ranges  {name: (lowest, highest)}, or (lowest, highest, step) for multiples of a step; whole
            numbers where the bounds are, any number where they are floats; (False, True) for a
            switch. `seed` and `out` (a JSON file for the run's record, or empty) are known

    Raises ParameterError with one line per problem: a value of another type or out of range, a
    name that papermill injected but the notebook lacks, a file `out` that cannot be written.
    """
    fields = {name: _field(*bounds) for name, bounds in ranges.items()}
    schema = create_model("NotebookParameters", __base__=Parameters, **fields)
    check_names(_injected(namespace.get("In", [])), schema.model_fields, "parameters")
    found = {name: namespace[name] for name in schema.model_fields if name in namespace}
    try:
        parameters = schema(**found)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ParameterError("\n".join(lines)) from None
    if parameters.out:
        _check_writable(Path(parameters.out))
    return parameters


def check_names(names, accepted, where):
    """Raise ParameterError for the first name that is not accepted, with the nearest that is."""
    for name in names:
        if name not in accepted:
            near = difflib.get_close_matches(name, accepted, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            known = ", ".join(accepted)
            raise ParameterError(f"{where}: got unknown name {name!r}{hint}, accepted: {known}")


def notebooks():
    """{name: path} of all notebooks, lessons first; an evidence notebook is 'evidence/<stem>'."""
    paths = [*sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), *sorted(NOTEBOOKS.glob("evidence/*.ipynb"))]
    return {path.relative_to(NOTEBOOKS).with_suffix("").as_posix(): path for path in paths}


def profile_parameters(profile, notebook):
    """The parameters that notebooks/profiles/<profile>.yaml sets for `notebook`: a dict.

    Raises ParameterError for an unknown profile, notebook or parameter.
    """
    profiles = sorted(path.stem for path in (NOTEBOOKS / "profiles").glob("*.yaml"))
    if profile not in profiles:
        raise ParameterError(f"PROFILE: got {profile!r}, accepted: {', '.join(profiles)}")
    where = f"profile {profile}"
    try:
        sections = yaml.safe_load((NOTEBOOKS / "profiles" / f"{profile}.yaml").read_text()) or {}
    except yaml.YAMLError as error:
        got = " ".join(str(error).split())
        raise ParameterError(f"{where}: got {got}, accepted: a file in YAML") from None
    check_names(sections, list(notebooks()), where)
    chosen = sections.get(notebook) or {}
    if not isinstance(chosen, dict):
        raise ParameterError(f"{where}, {notebook}: got {chosen!r}, accepted: lines 'name: value'")
    if given := {"seed", "out"} & {*chosen}:  # every run has its own
        got, accepted = ", ".join(sorted(given)), 'other names; seeds are given as in SEEDS="0 1 2"'
        raise ParameterError(f"{where}, {notebook}: got {got}, accepted: {accepted}")
    if chosen:
        from papermill import inspect_notebook  # here: it loads slowly, and no notebook needs it

        accepted = list(inspect_notebook(str(notebooks()[notebook])))
        check_names(chosen, accepted, f"{where}, {notebook}")
    return chosen


def _field(low, high, step=None):
    return type(low), Field(ge=low, le=high, multiple_of=step)


def _explain(problem):
    got = "nothing" if problem["type"] == "missing" else repr(problem["input"])
    accepted = problem["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{problem['loc'][0]}: got {got}, accepted: {accepted}"


def _injected(history):
    """Names that papermill's injected cell assigns: the cell that starts with '# Parameters'."""
    cells = [cell for cell in history if cell.startswith("# Parameters\n")]
    assignments = [line for cell in cells[-1:] for line in ast.parse(cell).body]
    return [target.id for line in assignments for target in getattr(line, "targets", [])]


def _check_writable(out):
    problem = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = error.strerror
    if problem is None and out.is_dir():
        problem = "a folder"
    if problem is None and not os.access(out.parent, os.W_OK):
        problem = "not writable"
    if problem:
        raise ParameterError(f"out: got {str(out)!r} ({problem}), accepted: a file to write")
