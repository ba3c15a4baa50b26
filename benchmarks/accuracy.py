"""python -m benchmarks.accuracy [--mnist FOLDER] [--out FOLDER]: compare scores with scikit-learn.

Both estimators get the same settings, the same scaled data and the same seed, which sets
the split of the data, the initial weights and the order of the samples. The score is the accuracy
on the held-out samples or, for regression, R². FOLDER holds the 10,000 test digits of MNIST as
IDX files.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bp_arrays as bp
from bp_arrays.readers._idx import read_idx
from bp_arrays.testing import _provenance as provenance

SEEDS = range(5)
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Task:
    """A data set, and the settings of both estimators that differ from their defaults."""

    name: str
    kind: str
    x: Any
    y: Any
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The scores of both estimators on the held-out samples, one per seed."""

    task: Task
    ours: list[float]
    theirs: list[float]

    @property
    def as_good(self) -> bool:
        """Whether our mean is not below theirs by more than the spread between the seeds."""
        spread = max(statistics.stdev(self.ours), statistics.stdev(self.theirs))
        return statistics.mean(self.ours) >= statistics.mean(self.theirs) - spread

    def __str__(self) -> str:
        apart = max(abs(a - b) for a, b in zip(self.ours, self.theirs, strict=True))
        ours, theirs = (
            f"{statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f}"
            for scores in (self.ours, self.theirs)
        )
        verdict = "" if self.as_good else "   WORSE"
        return f"{self.task.name:<29} {ours:>17} {theirs:>17} {apart:>10.1e}{verdict}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--mnist", type=Path, metavar="FOLDER", help="with the t10k IDX files")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    args = parser.parse_args(argv)
    tasks = small_tasks()
    if args.mnist is None:
        print("NOT RUN  mnist: --mnist FOLDER says where the t10k files are")
    else:
        try:
            tasks.append(mnist(args.mnist))
        except (bp.DataError, OSError) as error:
            parser.error(str(error))
    print(f"{'':<29} {'bp_arrays':>17} {'scikit-learn':>17} {'most apart':>10}")
    compared = []
    for task in tasks:
        compared.append(compare(task))
        print(compared[-1], flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "accuracy.json").write_text(json.dumps(report(compared), indent=1) + "\n")
    return 0 if all(comparison.as_good for comparison in compared) else 1


def small_tasks() -> list[Task]:
    """Return the data sets included in scikit-learn, with each solver."""
    tasks = []
    for name, kind, load in (
        ("digits", "MLPClassifier", datasets.load_digits),
        ("breast cancer", "MLPClassifier", datasets.load_breast_cancer),
        ("diabetes", "MLPRegressor", datasets.load_diabetes),
    ):
        x, y = load(return_X_y=True)
        numbers = kind == "MLPRegressor"  # from 25 to 346: Adam's steps must be larger
        adam = {"learning_rate_init": 0.01} if numbers else {}
        sgd = {"solver": "sgd", "learning_rate_init": 0.001 if numbers else 0.1}
        lbfgs = {"solver": "lbfgs", "alpha": 1000.0 if numbers else 1.0, "max_iter": 100}
        for settings in (adam, sgd, lbfgs, adam | {"early_stopping": True}):
            more = "stopped early" if "early_stopping" in settings else settings.get("solver")
            tasks.append(Task(f"{name}, {more or 'adam'}", kind, x, y, settings))
    return tasks


def mnist(folder: Path) -> Task:
    """Return 8,000 of the MNIST test digits for training and 2,000 for scoring."""
    digits = read_idx(folder / "t10k-images-idx3-ubyte.gz")
    return Task("mnist, adam", "MLPClassifier", digits.x, digits.t, {"max_iter": 20})


def compare(task: Task) -> Comparison:
    """Train and score both estimators, once per seed."""
    ours, theirs = (
        [score(getattr(module, task.kind), task, seed) for seed in SEEDS]
        for module in (bp, neural_network)
    )
    return Comparison(task, ours, theirs)


def score(kind: Any, task: Task, seed: int) -> float:
    """Return the score on a fifth of the samples after training on the rest."""
    strata = task.y if task.kind == "MLPClassifier" else None
    x, xv, y, yv = train_test_split(
        np.asarray(task.x, dtype=np.float64),
        task.y,
        test_size=0.2,
        random_state=seed,
        stratify=strata,
    )
    estimator = make_pipeline(StandardScaler(), kind(**task.settings, random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(estimator.fit(x, y).score(xv, yv))


def report(compared: list[Comparison]) -> dict[str, Any]:
    """Return the report, to be stored as JSON."""
    packages = ("scikit-learn", "scipy")
    return {
        "commit": provenance.commit(),
        "versions": provenance.versions()
        | {package: importlib.metadata.version(package) for package in packages},
        "seeds": list(SEEDS),
        "tasks": [
            {
                "name": one.task.name,
                "estimator": one.task.kind,
                "settings": one.task.settings,
                "bp_arrays": {"mean": statistics.mean(one.ours), "scores": one.ours},
                "scikit-learn": {"mean": statistics.mean(one.theirs), "scores": one.theirs},
            }
            for one in compared
        ],
    }


if __name__ == "__main__":
    raise SystemExit(main())
