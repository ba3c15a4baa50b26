"""Predict a column of a CSV file that has numbers, texts and missing values.

    python mixed_table.py penguins.csv --target species
    python mixed_table.py houses.csv --target price --device cuda

Numbers are imputed with the median and scaled, texts are imputed with the most frequent one and
become one column for each; both are learned from the training rows only, in one pipeline with the
network. A column of texts is classified, a column of numbers is predicted as a number. Needs pandas
and the extra `sklearn`.
"""

import argparse
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import bp_arrays as bp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a CSV file with a header line")
    parser.add_argument("--target", required=True, help="the column to predict")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, torch:cpu, ...")
    options = parser.parse_args()

    table = pd.read_csv(options.file)
    table = table.dropna(subset=options.target)  # a row without a target teaches nothing
    y = table.pop(options.target)
    numbers = make_column_selector(dtype_include="number")
    texts = make_column_selector(dtype_exclude="number")
    missing = table.isna().sum().sum()
    print(f"{len(table)} rows, {len(numbers(table))} columns of numbers, {len(texts(table))} of "
          f"texts, {missing} missing values")  # fmt: skip

    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"),
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            ),
            texts,
        ),
    ).set_output(transform="pandas")  # so that the network knows the names of its columns
    settings = {
        "hidden_layer_sizes": (32,),
        "solver": bp.AdamW(0.01, weight_decay=0.01),
        "early_stopping": True,
        "max_iter": 300,
        "random_state": 0,
        "device": options.device,
    }
    if pd.api.types.is_numeric_dtype(y):
        inner = bp.MLPRegressor(loss="huber", **settings)
        network = TransformedTargetRegressor(inner, transformer=StandardScaler())
        baseline, scoring = DummyRegressor(), "r2"
    else:
        network = bp.MLPClassifier(**settings)
        baseline, scoring = DummyClassifier(), "accuracy"
    pipeline = Pipeline([("columns", columns), ("network", network)])

    print(f"{scoring} in 5-fold cross-validation")
    for name, estimator in (("the baseline", baseline), ("the network", pipeline)):
        print(f"  {name:14} {cross_val_score(estimator, table, y, scoring=scoring).mean():.3f}")

    pipeline.fit(table, y)
    fitted = getattr(pipeline["network"], "regressor_", pipeline["network"])
    print(f"epoch {fitted.history_.kept_epoch} of {fitted.n_iter_} scored best and was kept")
    fitted.save("network.safetensors")  # the network alone, without pickle
    joblib.dump(pipeline, "pipeline.joblib")  # all of it: a pickle, so open only your own
    again = joblib.load("pipeline.joblib")
    print(f"the first rows: {', '.join(map(str, again.predict(table[:5])))}")


if __name__ == "__main__":
    main()
