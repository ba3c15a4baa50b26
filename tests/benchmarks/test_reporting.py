"""Tables, charts and lines from numbers that are given, not measured."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import lines, main
from benchmarks.contestants import OURS
from benchmarks.load import ONE_THREAD, Load, load_table
from benchmarks.measuring import Result
from benchmarks.readme_tables import ABSENT, write_tables
from benchmarks.surroundings import surroundings, warnings
from benchmarks.sweeps import line_through
from benchmarks.workloads import Workload

PAGE = "before\n<!-- speed-cpu -->\nold\n<!-- /speed-cpu -->\nafter\n"


def report():
    return {
        **surroundings(),
        "rounds": 3,
        "networks": [
            {
                "name": "3-2, 1",
                "microseconds": {"bp_arrays": 10.0, "matmuls alone": 4.0, "jax.jit": 8.0},
                "ratio": {"matmuls alone": 2.5, "jax.jit": 1.25},
            },
            {
                "name": "4-2, 1",
                "microseconds": {"bp_arrays": 1234.0, "matmuls alone": 9.0},
                "ratio": {"matmuls alone": 137.1},
            },
        ],
        "memory": [],
    }


def test_the_page_gets_its_table_and_keeps_the_rest(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(PAGE)
    write_tables(page, tmp_path)
    assert ABSENT in page.read_text() and "old" not in page.read_text()
    (tmp_path / "speed-cpu.json").write_text(json.dumps(report()))
    write_tables(page, tmp_path)
    once = page.read_text()
    assert "| 3-2, 1 | **10** | 4 (2.50) | 8 (1.25) |" in once
    assert "| 4-2, 1 | **1,234** | 9 (137.10) | – |" in once
    assert "A peer is faster in 1 of 2 rows" in once
    assert once.startswith("before\n") and once.endswith("after\n")
    write_tables(page, tmp_path)
    assert page.read_text() == once


def test_the_table_of_layers_has_a_column_for_each_contestant(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("<!-- layers-2 -->\n<!-- /layers-2 -->\n")
    rows = [
        ("a net", {"bp_arrays": 3.0, "a": 4.0, "b": 6.0}, {"a": 0.75, "b": 0.5}),
        ("a layer", {"bp_arrays": 1.0, "b": 2.0}, {"b": 0.5}),
    ]
    values = {name: value for name, value in report().items() if name not in ("networks", "memory")}
    names = ("name", "milliseconds", "ratio")
    layers = [dict(zip(names, row, strict=True)) for row in rows]
    (tmp_path / "layers-2.json").write_text(json.dumps(values | {"layers": layers}))
    write_tables(page, tmp_path)
    assert "| ms | bp_arrays | a | b |" in page.read_text()
    assert "| a net | **3.00** | 4.00 (0.75) | 6.00 (0.50) |" in page.read_text()
    assert "| a layer | **1.00** | – | 2.00 (0.50) |" in page.read_text()


def test_the_table_of_loads_shows_who_had_how_much_of_the_cores():
    times, cores = {OURS: 40.0, ONE_THREAD: 40.0, "b": 20.0}, {OURS: 0.4, ONE_THREAD: 0.4, "b": 0.8}
    row = Load("a net", 4, times, {ONE_THREAD: 1.0, "b": 2.0}, cores)
    assert "| a net | 4 | 40 µs | 1.00 | 2.00 | **2.00** | 0.40 | 0.80 |" in load_table([row])


def test_charts_are_pictures(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from benchmarks.charts import speed_chart, sweep_chart

    speed_chart(report(), tmp_path / "a.png")
    sweep = {
        "name": "depth", "unit": "layer", "work": [1.0, 2.0], "microseconds": {"bp_arrays": [1, 2]},
        "fixed": {"bp_arrays": 0.5}, "slope": {"bp_arrays": 1.0},
    }  # fmt: skip
    sweep_chart({"sweeps": [sweep]}, tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_line_is_exact_where_the_points_are_on_one():
    assert line_through([1.0, 4.0, 9.0], [5.0, 11.0, 21.0]) == pytest.approx((3.0, 2.0))
    assert line_through([1.0, 2.0], [1.0, 3.0]) == pytest.approx((0.0, 15 / 13))


def test_other_work_is_marked():
    result = Result(Workload((3, 2), 1, 1))
    for name, loss in (("bp_arrays", 1.0), ("PyTorch", 1.0), ("jax.jit", 1.01)):
        result.times[name], result.losses[name] = [2.0], [loss]
    said = lines(result).splitlines()
    assert "NOT THE SAME" not in said[2] and said[3].endswith("NOT THE SAME")


def test_variables_that_slow_numpy_down_are_warned_of(monkeypatch):
    monkeypatch.delenv("OPENBLAS_L2_SIZE", raising=False)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    assert any("OPENBLAS_CORETYPE=Prescott is set" in line for line in warnings())
    assert surroundings()["variables"]["OPENBLAS_CORETYPE"] == "Prescott"


def test_a_run_writes_each_network_and_can_be_narrowed(tmp_path, capsys, monkeypatch):
    from benchmarks import __main__ as program
    from benchmarks.contestants import CPU, FLOOR, OURS

    small = [Workload((n, 3), 5, 4) for n in (4, 5, 6, 7)]
    monkeypatch.setattr(program.workloads, "CPU", small)
    monkeypatch.setitem(program.CONTESTANTS, "cpu", {name: CPU[name] for name in (OURS, FLOOR)})
    assert main(["cpu", "--rounds", "1", "--only", "5-3", "--out", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "speed-cpu.json").read_text())
    assert [network["name"] for network in written["networks"]] == ["5-3, 5"]
    assert written["networks"][0]["ratio"][FLOOR] > 0.0
    assert (tmp_path / "speed-cpu.png").exists()
    assert "5-3, 5 (18 parameters)" in capsys.readouterr().out
