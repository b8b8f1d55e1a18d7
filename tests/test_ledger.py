"""Tables of what runs found, the ledger of them, the papers item by item, and what moved."""

import csv
import importlib
import json
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from ledger import combined, compare, gather, ledger, merge
from lib.parameters import NOTEBOOKS, ParameterError

ROOT = Path(__file__).parent.parent
ITEMS = yaml.safe_load((ROOT / "notebooks" / "papers.yaml").read_text())


def record(seed, value, holds=True, expected=1.0, interval=(0.0, 2.0), id="00.a", exact=False):
    claim = dict(id=id, sentence="a | b", number="it", paper="eq. 1", value=value)
    claim |= dict(interval=interval, expected=expected, holds=holds, exact=exact)
    run = dict(commit="c0ffee", clean=True, platform="Linux", processor="p", blas="b", seconds=7)
    return dict(notebook="00_test", parameters=dict(seed=seed), claims=[claim], run=run)


def lines(*records):
    return ledger(combined(records))


def test_the_ledger_of_one_run_is_its_claims():
    text = lines(record(0, 1.25))
    assert '<a id="00.a"></a>`00.a`' in text
    assert "| ✓ |" in text
    assert "a \\| b" in text
    assert "it 1.25 (interval 0 to 2), theory 1" in text
    assert "Seeds: 0." in text


def test_more_seeds_narrow_the_ledger_and_one_false_run_makes_a_claim_false():
    text = lines(*(record(seed, value) for seed, value in enumerate([1.0, 1.2, 1.4])))
    half = 4.302653 * 0.2 / 3**0.5  # Student's t with two degrees of freedom
    assert f"it 1.2 (interval {1.2 - half:.3g} to {1.2 + half:.3g}), theory 1" in text
    assert "Seeds: 0, 1, 2." in text
    text = lines(record(0, 1.0), record(1, 1.2, holds=False), record(2, 1.1))
    assert "| ✗ |" in text and "; 2 of 3 runs |" in text
    assert "theory" not in lines(record(0, 1.0), record(1, 1.2, expected=3.0))


def test_a_price_that_nothing_determined_once_is_undetermined():
    text = lines(record(0, 1.0), record(1, float("nan"), holds=False, interval=None))
    assert "it undetermined" in text and "1 of 2 runs" in text
    assert "(interval 0 to 2)" not in text


def test_a_claim_that_a_run_did_not_reach_is_not_held_there():
    broken = record(1, 1.0, id="00.b")
    rows = combined([record(0, 1.0), broken])
    assert [(row["id"], row["held"], row["runs"]) for row in rows] == [
        ("00.a", 1, 2),
        ("00.b", 1, 2),
    ]


def laid(folder, records, shelf="evidence"):
    paths = []
    for each in records:
        path = (
            folder / "laptop" / shelf / each["notebook"] / f"seed{each['parameters']['seed']}.json"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(each))
        paths.append(path)
    return paths


def test_tables_have_a_row_for_every_claim_and_every_run(tmp_path):
    gather(tmp_path / "out", *laid(tmp_path, [record(0, 1.0), record(3, 1.2, holds=False)]))
    claims, runs = (
        list(csv.DictReader((tmp_path / "out" / f"{name}.csv").read_text().splitlines()))
        for name in ("claims", "runs")
    )
    assert [(row["held"], row["runs"], row["seeds"]) for row in claims] == [("1", "2", "0 3")]
    assert float(claims[0]["value"]) == pytest.approx(1.1)
    assert [(row["seed"], row["value"], row["holds"]) for row in runs] == [
        ("0", "1.0", "True"),
        ("3", "1.2", "False"),
    ]
    assert runs[0]["commit"] == "c0ffee" and runs[0]["seconds"] == "7"
    assert "00.a" in (tmp_path / "out" / "CLAIMS.md").read_text()


def test_more_seeds_join_the_tables_unless_the_claims_read_otherwise_now(tmp_path):
    out = tmp_path / "seeds"

    def tables(*records):
        merge(out, *laid(tmp_path / "new", records))
        return [
            list(csv.DictReader((out / name).read_text().splitlines()))
            for name in ("claims.csv", "runs.csv")
        ]

    one, other = record(0, 1.0), {**record(0, 5.0, id="01.a"), "notebook": "01_other"}
    first = tables(one, other)
    assert first == tables(one, other)
    claims, runs = tables(record(2, 1.4, holds=False), record(0, 1.2))
    assert [(row["value"], row["seeds"], row["held"]) for row in claims] == [
        (repr((1.2 + 1.4) / 2), "0 2", "1"),
        ("5.0", "0", "1"),
    ]
    assert [(row["seed"], row["value"]) for row in runs] == [
        ("0", "1.2"),
        ("2", "1.4"),
        ("0", "5.0"),
    ]
    assert runs[0]["judged"] == runs[0]["commit"] == "c0ffee"
    renamed = record(3, 1.0)
    renamed["claims"][0]["sentence"] = "another"
    claims, runs = tables(renamed)
    assert [(row["seeds"], row["sentence"]) for row in claims] == [("3", "another"), ("0", "a | b")]
    assert [row["seed"] for row in runs] == ["3", "0"]


def test_lessons_are_in_the_tables_and_not_in_the_ledger(tmp_path):
    gather(tmp_path, *laid(tmp_path, [record(0, 1.0)], shelf=""))
    assert "00.a" in (tmp_path / "claims.csv").read_text()
    assert "00.a" not in (tmp_path / "CLAIMS.md").read_text()


@pytest.fixture
def two(tmp_path):
    """Writes the tables of two gatherings; returns their folders."""

    def write(*pair):
        for name, records in zip("ab", pair):
            gather(tmp_path / name, *laid(tmp_path / "records" / name, records))
        return tmp_path / "a", tmp_path / "b"

    return write


def test_what_moved_is_named_in_standard_errors(two, capsys):
    a, b = two([record(0, 1.0)], [record(0, 1.0 + 3.1 * 8**0.5 / 4)])  # intervals are 2 wide
    assert compare(a, b) == 0
    out = capsys.readouterr().out
    assert "00.a: more than 3 standard errors, 3.1 standard errors apart" in out
    assert out.endswith("1 claims in both: 0 turned, 1 moved far\n")
    a, b = two([record(0, 1.0)], [record(0, 1.0 + 2.9 * 8**0.5 / 4)])
    assert compare(a, b) == 0
    first, farthest = capsys.readouterr().out.splitlines()
    assert first == "1 claims in both: 0 turned, 0 moved far"
    assert farthest == "the farthest: 00.a, 2.9 standard errors"


def test_a_verdict_that_turned_is_an_exit_code(two, capsys):
    assert compare(*two([record(0, 1.0)], [record(0, 1.0, holds=False)])) == 1
    assert "00.a: verdict turned" in capsys.readouterr().out


def test_claims_without_an_interval_are_judged_by_their_verdict(two, capsys):
    exact = [[record(0, value, interval=None)] for value in (1e-9, 5.0)]
    assert compare(*two(*exact)) == 0
    assert capsys.readouterr().out.endswith("0 moved far, 1 judged by their verdict alone\n")
    exact = [[record(seed, value * seed, exact=True) for seed in (0, 1)] for value in (1e-9, 5.0)]
    assert compare(*two(*exact)) == 0
    assert capsys.readouterr().out.endswith("0 moved far, 1 judged by their verdict alone\n")


def test_one_seed_is_no_measure_for_another(two, capsys):
    assert compare(*two([record(0, 1.0)], [record(1, 99.0)])) == 0
    assert capsys.readouterr().out.endswith("1 judged by their verdict alone\n")


def test_seeds_are_compared_by_the_standard_errors_of_their_means(two, capsys):
    a = [record(seed, value) for seed, value in enumerate([0.0, 1.0, 2.0])]
    b = [record(seed, value + 3.1 * (2 / 3) ** 0.5) for seed, value in enumerate([0.0, 1.0, 2.0])]
    assert compare(*two(a, b)) == 0
    assert "more than 3 standard errors, 3.1 standard errors apart" in capsys.readouterr().out


def test_a_certain_change_is_far(two, capsys):
    counts = [[record(seed, value) for seed in (0, 1)] for value in (3.0, 4.0)]
    assert compare(*two(*counts)) == 0
    assert "inf standard errors apart" in capsys.readouterr().out


def test_what_there_is_of_a_grid_that_is_not_complete_is_compared_and_said(two, capsys):
    a, b = two([record(0, 1.0)], [record(0, 1.0, holds=False)])
    (b / "incomplete").mkdir()
    (b / "claims.csv").rename(b / "incomplete" / "claims.csv")
    assert compare(a, b) == 1
    assert capsys.readouterr().out.startswith(f"{b} is not complete; these are the runs that left")


def test_claims_of_one_side_are_counted(two, capsys):
    more = record(0, 1.0)
    more["claims"] += record(0, 1.0, id="00.b")["claims"]
    a, b = two([record(0, 1.0)], [more])
    assert compare(a / "claims.csv", b) == 0
    assert f"only in {b}: 00.b\n" in capsys.readouterr().out


def test_what_cannot_be_compared_is_one_line(two, tmp_path):
    a, b = two([record(0, 1.0)], [record(0, 1.0, id="00.b")])
    with pytest.raises(ParameterError, match="no claim that is in both, accepted: claims.csv of"):
        compare(a, b)
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    for path in (tmp_path / "nowhere", tmp_path / "odd.csv", tmp_path):
        with pytest.raises(ParameterError, match="accepted: claims.csv as make reproduce") as error:
            compare(a, path)
        assert "\n" not in str(error.value)


def test_the_readme_counts_the_runs_of_more_seeds_in_which_claims_held():
    now, claims = (
        list(csv.DictReader((ROOT / folder / "claims.csv").read_text().splitlines()))
        for folder in ("figures", "figures/seeds")
    )
    readme = (ROOT / "README.md").read_text()
    for name in (path.stem for path in (NOTEBOOKS / "evidence").glob("[0-9]*.ipynb")):
        rows = [claim for claim in claims if claim["notebook"] == name]
        said = [(row["id"], row["sentence"]) for row in now if row["notebook"] == name]
        assert said == [(row["id"], row["sentence"]) for row in rows], "of an older notebook"
        (seeds,) = {row["seeds"] for row in rows}
        last = len(seeds.split()) - 1
        assert seeds.split() == [str(seed) for seed in range(last + 1)]
        held, runs = (sum(int(row[key]) for row in rows) for key in ("held", "runs"))
        link = f"[{name}](notebooks/evidence/{name}.ipynb)"
        assert f"| {link} | {len(rows)} | 0 to {last} | {held} of {runs} |" in readme


# The papers, item by item


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["item"])
def test_everything_named_beside_an_item_is_there(item):
    assert item["says"] and set(item) & {"claims", "code", "missing"}
    known = re.findall(r'<a id="([\w.-]+)"></a>', (ROOT / "CLAIMS.md").read_text())
    assert set(item.get("claims", [])) <= set(known)
    if "lesson" in item:
        name, _, cell = item["lesson"].partition("#")
        cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
        assert cell in [each.id for each in cells]
    if "code" in item:
        room, name = item["code"].split(".")
        assert hasattr(importlib.import_module(f"lib.{room}"), name)
        file, test = item["test"].split("::")
        assert f"def {test}(" in (ROOT / "tests" / file).read_text()


def test_the_ledger_lists_every_item_and_what_was_not_run():
    text = ledger([])
    assert all(f"| {item['item']} |" in text for item in ITEMS)
    assert "01.theorem-3: not run" in text and "*Not here:*" in text
