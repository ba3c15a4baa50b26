"""The default of `bp-arrays train` on tables that packages ship, against linear models and MLPs.

    python -m benchmarks.tables

Each table is written as CSV and trained on by the command with no option but --target and --seed. A
linear model and scikit-learn's MLP, with as many iterations as it wants, are trained on the same
rows and scored on the same test rows: accuracy, or R². Requires the extra `tables`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.surroundings import surroundings
from bp_arrays.command_line import _train as command

RESULTS = Path(__file__).parent / "results" / "tables.json"
SEEDS = 5
ITERATIONS = 2000


def from_sklearn(name: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        frame = bunch.frame
        if "target_names" in bunch and name != "linnerud":
            frame["target"] = [str(bunch.target_names[k]) for k in frame["target"]]
        return frame

    return load


def statsmodels(name: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        import importlib

        return importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data

    return load


def vega(name: str) -> Callable[[], pd.DataFrame]:
    def load() -> pd.DataFrame:
        from vega_datasets import local_data

        return getattr(local_data, name)()

    return load


def penguins() -> pd.DataFrame:
    from palmerpenguins import load_penguins

    return load_penguins()


TABLES: dict[str, tuple[Callable[[], pd.DataFrame], str, tuple[str, ...]]] = {
    "iris": (from_sklearn("iris"), "target", ()),
    "wine": (from_sklearn("wine"), "target", ()),
    "breast cancer": (from_sklearn("breast_cancer"), "target", ()),
    "digits": (from_sklearn("digits"), "target", ()),
    "diabetes": (from_sklearn("diabetes"), "target", ()),
    "linnerud": (from_sklearn("linnerud"), "Weight", ("Waist", "Pulse")),
    "penguins": (penguins, "species", ()),
    "penguins, mass": (penguins, "body_mass_g", ()),
    "cars": (vega("cars"), "Miles_per_Gallon", ("Name",)),
    "barley": (vega("barley"), "yield", ()),
    "Seattle weather": (vega("seattle_weather"), "weather", ()),
    "election 1996": (statsmodels("anes96"), "vote", ("logpopul",)),
    "affairs": (statsmodels("fair"), "rate_marriage", ()),
    "doctor visits": (statsmodels("randhie"), "mdvis", ()),
    "star 98": (statsmodels("star98"), "NABOVE", ("NBELOW",)),
    "state crime": (statsmodels("statecrime"), "violent", ()),
}
"""The table, its target, and columns that are left out because they give the target away."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="tables whose name has it")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, help=f"the file of the results, such as {RESULTS.name}")
    args = parser.parse_args()
    report: dict[str, Any] = {**surroundings(), "seeds": args.seeds, "tables": []}
    for name in TABLES:
        if args.only in name:
            result = measured(name, args.seeds)
            print(line(result), flush=True)
            report["tables"].append(result)
            if args.out:
                args.out.write_text(json.dumps(report, indent=1) + "\n")
    behind = [r["name"] for r in report["tables"] if not r["within"]]
    print(f"within one standard error: all but {', '.join(behind) or 'none'}")


def measured(name: str, seeds: int) -> dict[str, Any]:
    """Train on one table with each seed, which also draws the test rows."""
    load, target, drop = TABLES[name]
    frame = load().drop(columns=list(drop))
    scores: dict[str, list[float]] = {"ours": [], "linear": [], "MLP": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        frame.to_csv(path, index=False)
        for seed in range(seeds):
            job, result = ours(path, target, seed)
            metric = "accuracy" if job.data.classes else "r2"
            scores["ours"].append(result.test[metric])
            table = pd.read_csv(path, keep_default_na=True)
            numbers = job.data.row_numbers
            learned = numbers[np.concatenate([job.parts.train, job.parts.validation])]
            held_out = numbers[job.parts.test]
            names = [column.name for column in job.data.spec.columns]
            for peer, model in peers(job.data.task, seed).items():
                x, t = table[names], table[target]
                if job.data.classes:
                    t = t.astype(str)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    model.fit(x.iloc[learned], t.iloc[learned])
                scores[peer].append(float(model.score(x.iloc[held_out], t.iloc[held_out])))
    means = {peer: float(np.mean(values)) for peer, values in scores.items()}
    best = max(("linear", "MLP"), key=means.__getitem__)
    differences = np.array(scores["ours"]) - np.array(scores[best])
    error = float(differences.std(ddof=1) / np.sqrt(len(differences))) if seeds > 1 else 0.0
    return {
        "name": name,
        "rows": len(frame),
        "metric": metric,
        "epochs": result.history.epochs,
        "seconds": round(result.seconds, 2),
        "scores": scores,
        "means": means,
        "best peer": best,
        "difference": float(differences.mean()),
        "standard error of the difference": error,
        "within": bool(differences.mean() >= -error),
    }


def ours(path: Path, target: str, seed: int, *options: str) -> tuple[Any, Any]:
    """Train as `bp-arrays train PATH --target TARGET --seed SEED` does."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = [str(path), "--target", target, "--seed", str(seed), "--device", "cpu", *options]
    args = parser.parse_args(words)
    job = command.prepare(args)
    return job, command.train(job, progress=False)


def peers(task: str, seed: int) -> dict[str, Any]:
    """A linear model and an MLP, on columns that are filled, scaled and one-hot encoded."""
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include=["number", "bool"]),
        ),
        (
            make_pipeline(
                SimpleImputer(strategy="constant", fill_value="missing"),
                OneHotEncoder(handle_unknown="ignore"),
            ),
            make_column_selector(dtype_exclude=["number", "bool"]),
        ),
    )
    if task == "classification":
        linear: Any = LogisticRegression(max_iter=ITERATIONS)
        network: Any = MLPClassifier(max_iter=ITERATIONS, random_state=seed)
    else:
        linear, network = Ridge(1.0), MLPRegressor(max_iter=ITERATIONS, random_state=seed)
    return {"linear": make_pipeline(columns, linear), "MLP": make_pipeline(columns, network)}


def line(result: dict[str, Any]) -> str:
    means = "  ".join(f"{peer} {mean:7.4f}" for peer, mean in result["means"].items())
    mark = "" if result["within"] else "  BEHIND"
    error = result["standard error of the difference"]
    return (
        f"{result['name']:<16} {result['rows']:>6} rows  {means}  "
        f"difference {result['difference']:+.4f} ± {error:.4f}  {result['epochs']} epochs, "
        f"{result['seconds']} s{mark}"
    )


if __name__ == "__main__":
    main()
