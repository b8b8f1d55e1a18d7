"""What a notebook claims: measured, judged, shown, recorded.

    claim = Claims("01_add_fisher_information", parameters)
    claim("01.theorem-1", "Y shrinks the variance", "UML Theorem 1", ratio, (low, high), holds=high < 1)
    ...
    claim.table(); claim.write()
"""
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path

from IPython.display import Markdown

PACKAGES = ("numpy", "scipy", "torch", "POT", "scikit-learn", "transformers", "papermill")


class FalseClaim(AssertionError):
    """A claim that did not hold; shown in a notebook as its one line, without a traceback."""

    def _render_traceback_(self):
        return [f"FalseClaim: {self}"]


class Claims:
    """All claims and metrics of one run of one notebook.

    parameters is the notebook's validated `lib.parameters.Parameters`. With parameters.enforce False (a run too small
    to judge) a false claim is recorded and does not stop the run, unless it is exact.
    """

    def __init__(self, notebook, parameters):
        self.notebook, self.parameters = notebook, parameters
        self.claims, self.metrics = {}, {}
        self.started = time.time()

    def __call__(self, id, statement, paper, value, interval=None, expected=None, holds=None, exact=None):
        """Judge one claim and print it on one line.

        id         stable name, '<notebook number>.<words-with-hyphens>'; claiming it again replaces it
        statement  what is claimed, in words, the same whatever the numbers are
        paper      the item of the paper it speaks of, or 'ours'
        value      the measured number; interval (low, high) around it, None where the claim is exact
        expected   what theory says, where it says a number
        holds      the verdict; left out, it is whether `expected` lies in the interval
        exact      must hold in a run of any size; left out, it is whether there is no interval

        Raises FalseClaim where it does not hold; what is known so far then goes to <out>.failed.json.
        """
        if holds is None:
            if expected is None or interval is None:
                raise ValueError(f"holds: got None for claim {id}, accepted: a verdict, or both `expected` and `interval`")
            holds = interval[0] <= expected <= interval[1]
        self.claims[id] = dict(
            id=id, statement=statement, paper=paper, value=float(value), holds=bool(holds),
            interval=None if interval is None else [float(bound) for bound in interval],
            expected=None if expected is None else float(expected))
        line = f"{_verdict(holds)} {id}: {statement}. Measured {_measured(self.claims[id])}"
        print(line)
        exact = interval is None if exact is None else exact
        if not holds and (self.parameters.enforce or exact):
            self._save(".failed.json")
            raise FalseClaim(line)

    def metric(self, name, value):
        """Record a number, or a list of numbers, under `name`; shown nowhere."""
        self.metrics[name] = value.tolist() if hasattr(value, "tolist") else value

    def table(self):
        """All claims so far as a Markdown table."""
        rows = [f"| {_verdict(c['holds'])} | `{c['id']}` | {c['statement']} | {c['paper']} | {_measured(c)} |"
                for c in self.claims.values()]
        return Markdown("\n".join(["| | claim | in words | speaks of | measured |", "|---|---|---|---|---|", *rows]))

    def write(self):
        """Write everything to the JSON file at parameters.out, whole or not at all; nothing where `out` is empty."""
        self._save(".json")

    def _save(self, ending):
        if not self.parameters.out:
            return
        out = Path(self.parameters.out)
        record = dict(
            notebook=self.notebook, parameters=self.parameters.model_dump(), seed=self.parameters.seed,
            versions={"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}},
            duration_s=round(time.time() - self.started, 3), claims=list(self.claims.values()), metrics=self.metrics)
        failed = out.with_suffix(".failed.json")
        write_atomically(failed if ending == ".failed.json" else out, json.dumps(record, indent=1) + "\n")
        if ending == ".json":
            failed.unlink(missing_ok=True)


def write_atomically(path, content):
    """Write text or bytes to `path` so that nobody ever sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content if isinstance(content, bytes) else content.encode())
    partial.replace(path)


def _verdict(holds):
    return "holds" if holds else "FALSE"


def _measured(claim):
    text = f"{claim['value']:.3g}"
    if claim["interval"]:
        text += " [{:.3g}, {:.3g}]".format(*claim["interval"])
    return text if claim["expected"] is None else f"{text}, theory {claim['expected']:.3g}"
