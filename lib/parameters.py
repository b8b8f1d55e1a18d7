"""What a notebook accepts: its parameters validated against a schema, and the profiles that set them in batch."""
import ast
import difflib
import os
from pathlib import Path

import yaml
from papermill import inspect_notebook
from pydantic import BaseModel, ConfigDict, Field, ValidationError

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


class Parameters(BaseModel):
    """Base of a notebook's schema: one annotated `Field` per parameter, with its range, unit and meaning.

    The three that every notebook has stand here. `check` turns the notebook's globals into an instance.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    seed: int = Field(ge=0, description="seed of every random number")
    out: str = Field(description="JSON file for metrics and claims, empty for none")
    figures: str = Field(description="folder for the figures, empty for none")
    enforce: bool = Field(description="a false claim stops the run")

    @classmethod
    def check(cls, namespace):
        """The parameters found in `namespace` (pass `globals()`), validated.

        Raises ValueError with one line per problem: a value of wrong type or range, a name that papermill injected
        but the notebook does not have, a file `out` or folder `figures` that cannot be written.
        """
        check_names(_injected(namespace.get("In", [])), cls.model_fields, "parameters")
        found = {name: namespace[name] for name in cls.model_fields if name in namespace}
        try:
            parameters = cls(**found)
        except ValidationError as error:
            raise ValueError("\n".join(cls._explain(problem) for problem in error.errors())) from None
        for name, folder in [("out", Path(parameters.out).parent), ("figures", Path(parameters.figures))]:
            if getattr(parameters, name):
                _writable(name, folder)
        if parameters.out and Path(parameters.out).is_dir():
            raise ValueError(f"out: got the folder {parameters.out!r}, accepted: a file that can be written")
        return parameters

    @classmethod
    def _explain(cls, problem):
        name = str(problem["loc"][0])
        got = "nothing" if problem["type"] == "missing" else repr(problem["input"])
        accepted = problem["msg"].removeprefix("Input should be ").removeprefix("a valid ")
        return f"{name}: got {got}, accepted: {accepted} ({cls.model_fields[name].description})"


def check_names(names, accepted, where):
    """Raise ValueError for the first of `names` that is not among `accepted`, with the nearest known name."""
    for name in names:
        if name not in accepted:
            near = difflib.get_close_matches(name, accepted, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"{where}: got unknown name {name!r}{hint}, accepted: {', '.join(accepted)}")


def profile_parameters(profile, notebook):
    """The parameters that notebooks/profiles/<profile>.yaml sets for `notebook`, a dict; {} where it sets none.

    Raises ValueError for an unknown profile, and for a name that is not in the notebook's parameters cell.
    """
    profiles = sorted(path.stem for path in (NOTEBOOKS / "profiles").glob("*.yaml"))
    if profile not in profiles:
        raise ValueError(f"profile: got {profile!r}, accepted: {', '.join(profiles)}")
    sections = yaml.safe_load((NOTEBOOKS / "profiles" / f"{profile}.yaml").read_text()) or {}
    check_names(sections, [path.stem for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))], f"profile {profile}")
    chosen = sections.get(notebook) or {}
    check_names(chosen, list(inspect_notebook(str(NOTEBOOKS / f"{notebook}.ipynb"))), f"profile {profile}, {notebook}")
    return chosen


def _injected(history):
    """Names that papermill's injected cell assigns; it is the one that starts with '# Parameters'."""
    cells = [cell for cell in history if cell.startswith("# Parameters\n")]
    return [target.id for cell in cells[-1:] for line in ast.parse(cell).body
            if isinstance(line, ast.Assign) for target in line.targets]


def _writable(name, folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{name}: got {str(folder)!r} ({error.strerror}), accepted: a place that can be written") from None
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{name}: got {str(folder)!r} (not writable), accepted: a place that can be written")
