"""What a notebook finds: judged, shown as people read it, recorded.

    claim = Claims("01_information", p)
    claim("01.theorem-1", "With Y the variance falls to the predicted share", ratio, (low, high),
          number="variance with Y over variance without", paper="UML Theorem 1", expected=theory)

A claim that does not hold never stops a notebook: a reader who changes a parameter sees that this
finding is gone, and reads on. Batch runs (batch.py) read the record and fail where it is false.
"""

import importlib.metadata
import json
import math
import os
import platform
import time
from html import escape
from pathlib import Path

import numpy as np
from IPython.display import display

from lib.parameters import PACKAGES
from lib.validation import invalid

HOLDS, FAILS = "✓", "✗"


class Claims:
    """All claims and metrics of one run of one notebook; `parameters` as check_parameters gives."""

    def __init__(self, notebook, parameters):
        self.notebook, self.parameters = notebook, parameters
        self.claims, self.metrics, self.started = {}, {}, time.time()

    def __call__(
        self,
        id,
        sentence,
        value,
        interval=None,
        *,
        number,
        paper="ours",
        expected=None,
        holds=None,
        exact=None,
    ):
        """Judge one claim, show it, record it.

        id         stable name, '<notebook number>.<words-with-hyphens>'
        sentence   what is claimed, the same whatever the numbers are
        value      the measured number; interval (low, high) around it, None where it is exact
        number     what the number is, in words, with its unit: 'gain in accuracy, points'
        paper      the item of a paper that it speaks of, or 'ours'
        expected   what theory says, where it says a number
        holds      the verdict; left out, it is whether `expected` lies in the interval
        exact      must hold in a run of any size; left out, it is whether there is no interval

        A quotient 0 / 0 is NaN: where a number is, the claim is not shown, and says
        "undetermined". Raises ValueError for a claim that holds in spite of a NaN, and for a
        verdict that is not True or False.
        """
        if holds is None and expected is not None and interval is not None:
            holds = interval[0] <= expected <= interval[1]
        if not isinstance(holds, (bool, np.bool_)):
            raise invalid(f"claim {id}, holds", holds, "True or False, or expected and interval")
        numbers = [value, *(interval or ()), *([] if expected is None else [expected])]
        if holds and any(math.isnan(float(x)) for x in numbers):
            raise invalid(f"claim {id}", numbers, "numbers that are not NaN, if it holds")
        self.claims[id] = dict(
            id=id,
            sentence=sentence,
            number=number,
            paper=paper,
            value=float(value),
            interval=None if interval is None else [float(bound) for bound in interval],
            expected=None if expected is None else float(expected),
            holds=bool(holds),
            exact=bool(interval is None if exact is None else exact),
        )
        display(Shown(self.claims[id]))
        self._write()

    def metric(self, name, value):
        """Record a number, or lists or an array of numbers, under `name`; shown nowhere."""
        value = value.tolist() if hasattr(value, "tolist") else value
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise invalid(f"metric {name}", value, "numbers, strings, and lists of them") from None
        self.metrics[name] = value
        self._write()

    def _write(self):
        """Bring the record in the file parameters.out up to date; '' is no file."""
        if self.parameters.out:
            versions = {name: importlib.metadata.version(name) for name in PACKAGES}
            record = dict(
                notebook=self.notebook,
                parameters=self.parameters.model_dump(),
                versions={"python": platform.python_version(), **versions},
                duration_s=round(time.time() - self.started, 3),
                claims=list(self.claims.values()),
                metrics=self.metrics,
            )
            write_atomically(self.parameters.out, json.dumps(record, indent=1) + "\n")


class Shown:
    """A claim for the eye: one line in a terminal, a box that wraps in a notebook."""

    def __init__(self, claim):
        self.claim = claim

    def __repr__(self):
        mark = HOLDS if self.claim["holds"] else f"{FAILS} not shown by this run:"
        return f"{mark} {self.claim['sentence']}: {measured(self.claim)} ({self.claim['id']})"

    def _repr_html_(self):
        text = {name: escape(str(value)) for name, value in self.claim.items()}
        mark, colour = (HOLDS, "#00755e") if self.claim["holds"] else (FAILS, "#b01e2e")
        note = "" if self.claim["holds"] else "<em>Not shown by this run:</em> "
        return (
            "<!-- a finding -->\n"  # what JupyterLab shows in place of a folded output
            f'<div style="border-left: 4px solid {colour}; padding: 2px 10px; max-width: 60em">'
            f"<strong>{mark}</strong> {note}{text['sentence']}.<br>"
            f"<small>{escape(measured(self.claim))} · {text['paper']} · {text['id']}</small></div>"
        )


def measured(claim):
    """The number of a claim in words: what it is, its interval, what theory says."""
    text = f"{claim['number']} {_number(claim['value'])}"
    if claim["interval"]:
        text += " (interval {} to {})".format(*map(_number, claim["interval"]))
    return text if claim["expected"] is None else f"{text}, theory {_number(claim['expected'])}"


def _number(value):
    if math.isnan(value):
        return "undetermined"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def write_atomically(path, content):
    """Write text or bytes to `path` so that nobody ever sees half of it.

    Raises ValueError with the folder where it cannot be written, for instance on a full disk.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content if isinstance(content, bytes) else content.encode())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        accepted = "a folder with free space that can be written"
        raise invalid("folder", f"{path.parent} ({error.strerror})", accepted) from error
