"""What runs found, gathered: tables of claims, the ledger CLAIMS.md, two gatherings compared.

    python batch.py ledger <profile> <seed> ...    claims.csv, runs.csv and CLAIMS.md of a grid
    python batch.py compare <a> <b>                which claims moved between two such folders

runs.csv has a row for every claim of every run, with commit and machine; claims.csv a row for every
claim: mean over seeds, 95 % Student interval (where there is one seed, the interval of that run),
in how many of its notebook's runs it held. Empty cells: nothing to say.
"""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import yaml
from scipy import stats

from lib.claims import FAILS, HOLDS, measured, write_atomically
from lib.intervals import mean_interval
from lib.parameters import NOTEBOOKS, ParameterError

FAR = 3  # standard errors; what moved by more is named
INTRODUCTION = """# Ledger of claims

Every claim of the evidence notebooks, as `make reproduce` measured it and `make figures` wrote it
here. Intervals are those of the run where there is one seed, else 95 % over seeds. *Paper* names
the item that a claim speaks of. Do not edit by hand.
"""
PAPERS = """
## The papers, item by item

Where each is taught, what was measured of it (mark, claim), where it is written and tested. What is
missing is said. From notebooks/papers.yaml.

| item | what it says | lesson | measured | code | test |
|---|---|---|---|---|---|
"""


def gather(folder, *paths):
    """Write claims.csv, runs.csv and CLAIMS.md of the records at `paths` into `folder`."""
    runs = _runs(paths)
    claims = combined([record for _, record in runs])
    write_atomically(Path(folder) / "runs.csv", table(one_by_one(runs)))
    write_atomically(Path(folder) / "claims.csv", table(claims))
    evidence = {record["notebook"] for path, record in runs if "evidence" in path.parts}
    text = ledger([claim for claim in claims if claim["notebook"] in evidence])
    write_atomically(Path(folder) / "CLAIMS.md", text)


def merge(folder, *paths):
    """Bring runs.csv and claims.csv in `folder` up to date with the records at `paths`.

    Every notebook has the seeds that it has. A notebook whose claims read otherwise than in the old
    rows loses these: another notebook judged them.
    """
    folder = Path(folder)
    runs = _runs(paths)
    claims = combined([record for _, record in runs])
    rows = _read_rows(table(one_by_one(runs)))
    made = {(row["notebook"], row["seed"]) for row in rows}
    if (folder / "claims.csv").exists():
        old = _read_rows((folder / "claims.csv").read_text())
        here = {name: _sentences(name, claims) for name, _ in made}
        kept = {row["notebook"] for row in old}
        kept -= {name for name, said in here.items() if said != _sentences(name, old)}
        claims += [row for row in old if row["notebook"] in kept - {*here}]
        rows += [
            row
            for row in _read_rows((folder / "runs.csv").read_text())
            if row["notebook"] in kept and (row["notebook"], row["seed"]) not in made
        ]
    rows.sort(key=lambda row: (row["notebook"], int(row["seed"])))
    write_atomically(folder / "runs.csv", table(rows))
    write_atomically(folder / "claims.csv", table(combined(_records(rows, claims))))


def _runs(paths):
    """(path, record) of every path."""
    for path in paths:
        if not Path(path).exists():
            raise ParameterError(f"{path}: got no such file, accepted: records of complete runs")
    return [(Path(path), json.loads(Path(path).read_text())) for path in paths]


def _sentences(notebook, claims):
    return [(claim["id"], claim["sentence"]) for claim in claims if claim["notebook"] == notebook]


def _records(rows, claims):
    """The records of which `rows` of runs.csv were made, as far as `combined` asks."""
    words = {claim["id"]: claim for claim in claims}
    found = {}
    for row in rows:
        numbers = [float(row[name]) if row[name] else None for name in ("low", "high")]
        claim = {name: float(row[name]) if row[name] else None for name in ("value", "expected")}
        claim |= {name: row[name] == "True" for name in ("holds", "exact")}
        claim["interval"] = None if None in numbers else numbers
        run = found.setdefault((row["notebook"], int(row["seed"])), [])
        run.append(words[row["id"]] | claim)
    return [
        {"notebook": notebook, "parameters": {"seed": seed}, "claims": run}
        for (notebook, seed), run in found.items()
    ]


def one_by_one(runs):
    """A row for every claim of every (path, record)."""
    rows = []
    for path, record in runs:
        machine = {name: record.get("run", {}).get(name) for name in MACHINE}
        for claim in record["claims"]:
            low, high = claim["interval"] or (None, None)
            row = {"notebook": record["notebook"], "seed": record["parameters"]["seed"]}
            row |= {name: claim[name] for name in ("id", "value", "expected", "holds", "exact")}
            row |= {"low": low, "high": high, "judged": machine["commit"]}
            rows.append({**row, **machine, "record": str(path)})
    return rows


MACHINE = ("commit", "clean", "platform", "processor", "blas", "seconds")


def combined(records):
    """A row for every claim, over the seeds of its notebook."""
    rows = []
    for notebook in sorted({record["notebook"] for record in records}):
        runs = [record for record in records if record["notebook"] == notebook]
        seeds = [run["parameters"]["seed"] for run in runs]
        for id in dict.fromkeys(claim["id"] for run in runs for claim in run["claims"]):
            same = [claim for run in runs for claim in run["claims"] if claim["id"] == id]
            values = np.array([claim["value"] for claim in same], dtype=float)
            interval = same[0]["interval"] or (None, None)
            if len(same) > 1:
                interval = mean_interval(values)[1] if np.isfinite(values).all() else (None, None)
            theory = {claim["expected"] for claim in same}
            held = sum(claim["holds"] for claim in same)
            rows.append(
                {
                    "notebook": notebook,
                    "id": id,
                    "sentence": same[0]["sentence"],
                    "paper": same[0]["paper"],
                    "number": same[0]["number"],
                    "value": float(values.mean()),
                    "low": interval[0],
                    "high": interval[1],
                    "expected": theory.pop() if len(theory) == 1 else None,
                    "exact": all(claim["exact"] for claim in same),
                    "held": held,
                    "runs": len(runs),
                    "seeds": " ".join(map(str, seeds)),
                }
            )
    return rows


def _read_rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def table(rows):
    """Rows, dicts of the same keys, as the text of a CSV file."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0] if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def ledger(claims):
    """CLAIMS.md of the rows of `combined`: a table per notebook, then the papers item by item."""
    lines = [INTRODUCTION.rstrip("\n")]
    for notebook in dict.fromkeys(claim["notebook"] for claim in claims):
        rows = [claim for claim in claims if claim["notebook"] == notebook]
        link = f"[{notebook}](notebooks/evidence/{notebook}.ipynb)"
        seeds = rows[0]["seeds"].replace(" ", ", ")
        lines += ["", f"## {link}", "", f"Seeds: {seeds}.", ""]
        lines += ["| | id | claim | measured | paper |", "|---|---|---|---|---|"]
        for claim in rows:
            cells = [mark(claim), f'<a id="{claim["id"]}"></a>`{claim["id"]}`', claim["sentence"]]
            lines.append(_row([*cells, in_words(claim), claim["paper"]]))
    return "\n".join(lines) + "\n" + papers({claim["id"]: claim for claim in claims})


def mark(claim):
    return HOLDS if claim["held"] == claim["runs"] else FAILS


def in_words(claim):
    """The number of a claim, and in how many runs it held where that is not all."""
    interval = None if claim["low"] is None else (claim["low"], claim["high"])
    words = measured({**claim, "interval": interval})
    return words if mark(claim) == HOLDS else f"{words}; {claim['held']} of {claim['runs']} runs"


def papers(claims):
    """The section on the papers' items, from {id: claim}."""
    text = PAPERS
    for item in yaml.safe_load((NOTEBOOKS / "papers.yaml").read_text()):
        found = [id for id in item.get("claims", []) if id in claims]
        cells = [f"{mark(claims[id])} [{id}](#{id})" for id in found]
        cells += [f"{id}: not run" for id in item.get("claims", []) if id not in claims]
        cells += [f"*Not here:* {item['missing']}"] if "missing" in item else []
        lesson, _, cell = item.get("lesson", "").partition("#")
        link = f"[{lesson[:2]}](notebooks/{lesson}.ipynb), cell {cell}" if lesson else ""
        code, test = (f"`{item[key]}`" if key in item else "" for key in ("code", "test"))
        text += _row([item["item"], item["says"], link, "<br>".join(cells), code, test]) + "\n"
    return text


def _row(cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def compare(first, second):
    """Print how claims of one claims.csv, or its folder, moved to another; 1 where a verdict did.

    Far is more than FAR standard errors of the difference, see `distance`. Claims of which it says
    nothing are judged by their verdict alone: numbers of another processor need not agree.
    """
    a, b = _read(first), _read(second)
    both = [id for id in a if id in b]
    turned = [id for id in both if mark(a[id]) != mark(b[id])]
    apart = {id: distance(a[id], b[id]) for id in both}
    far = [id for id in both if (apart[id] or 0) > FAR and id not in turned]
    for title, ids in (("verdict turned", turned), (f"more than {FAR} standard errors", far)):
        for id in ids:
            by = "" if apart[id] is None else f", {apart[id]:.1f} standard errors apart"
            print(f"{id}: {title}{by}")
            for name, claims in ((first, a), (second, b)):
                print(f"    {mark(claims[id])} {in_words(claims[id])}  ({name})")
    for name, one, other in ((first, a, b), (second, b, a)):
        alone = [id for id in one if id not in other]
        if alone:
            print(f"only in {name}: {' '.join(alone)}")
    alone = sum(apart[id] is None for id in both)
    words = f", {alone} judged by their verdict alone" if alone else ""
    print(f"{len(both)} claims in both: {len(turned)} turned, {len(far)} moved far{words}")
    if alone < len(both) and not far:
        most = max(both, key=lambda id: apart[id] or 0)
        print(f"the farthest: {most}, {apart[most] or 0:.1f} standard errors")
    if not both:
        accepted = "claims.csv of the same notebooks"
        raise ParameterError(f"compare: got no claim that is in both, accepted: {accepted}")
    return 1 if turned else 0


def distance(a, b):
    """How far two values of a claim are apart, in standard errors of the difference.

    Of several seeds a standard error is that of their mean; of one it is a quarter of the run's
    interval (too much where that has few draws or a higher level than 95 %). None for exact claims,
    for what has no interval, and where one seed meets others: its interval does not say how seeds
    differ.
    """
    errors = [standard_error(claim) for claim in (a, b)]
    one = a["seeds"] != b["seeds"] and 1 in (len(claim["seeds"].split()) for claim in (a, b))
    if None in errors or a["exact"] or b["exact"] or one:
        return None
    far = abs(a["value"] - b["value"])
    return far / math.hypot(*errors) if any(errors) else math.inf if far else 0.0


def standard_error(claim):
    if claim["low"] is None:
        return None
    seeds = len(claim["seeds"].split())
    halves = stats.t.ppf(0.975, seeds - 1) if seeds > 1 else 2
    return (claim["high"] - claim["low"]) / (2 * halves)


def _read(path):
    """{id: claim} of a claims.csv, or of the one in a folder."""
    path = Path(path)
    if path.is_dir():
        folder, part = path, path / "incomplete"
        path = folder / "claims.csv"
        if not path.exists() and (part / "claims.csv").exists():
            path = part / "claims.csv"
            print(f"{folder} is not complete; these are the runs that left a record: {part}")
    try:
        rows = _read_rows(path.read_text(encoding="utf-8"))
        for row in rows:
            if missing := {"sentence", "number", "paper", "seeds"} - {*row}:
                raise KeyError(*missing)
            for name in ("value", "low", "high", "expected", "held", "runs"):
                row[name] = float(row[name]) if row[name] else None
            row["held"], row["runs"] = int(row["held"]), int(row["runs"])
            row["exact"] = row["exact"] == "True"
        return {row["id"]: row for row in rows}
    except (OSError, KeyError, ValueError, TypeError) as error:
        got = f"{type(error).__name__} {error}"
        accepted = "claims.csv as make reproduce writes it, or a folder with one"
        raise ParameterError(f"{path}: got {got}, accepted: {accepted}") from None
