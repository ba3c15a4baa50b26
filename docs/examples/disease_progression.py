"""Predict how diabetes progresses within a year, in a scikit-learn pipeline.

    python disease_progression.py
    python disease_progression.py --device cuda

442 patients, ten measurements each, and a score a year later: the data set `diabetes` that comes
with scikit-learn. The network is one step of a pipeline; a grid search chooses its size, its
dropout and its penalty by cross-validation. A ridge regression is the baseline: on a table as small
as this, a network has to earn its place. Needs the extra `sklearn`.
"""

import argparse

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bp_arrays as bp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda, torch:cpu, ...")
    options = parser.parse_args()

    x, t = load_diabetes(return_X_y=True, scaled=False)
    x_train, x_test, t_train, t_test = train_test_split(x, t, test_size=0.25, random_state=0)

    network = bp.MLPRegressor(
        activation="tanh",
        learning_rate_init=0.01,
        max_iter=400,
        early_stopping=True,
        random_state=0,
        device=options.device,
    )
    pipeline = make_pipeline(
        StandardScaler(),
        TransformedTargetRegressor(network, transformer=StandardScaler()),
    )
    inside = "transformedtargetregressor__regressor__"
    search = GridSearchCV(
        pipeline,
        {
            inside + "hidden_layer_sizes": [(16,), (64,)],
            inside + "dropout": [0.0, 0.2],
            inside + "alpha": [1e-4, 1.0],
        },
        scoring="neg_mean_absolute_error",
        cv=3,
    )
    search.fit(x_train, t_train)

    chosen = {name.removeprefix(inside): value for name, value in search.best_params_.items()}
    print(f"chosen by {search.n_splits_}-fold cross-validation: {chosen}")

    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 20))).fit(x_train, t_train)
    always = np.full_like(t_test, t_train.mean())
    print(f"\nmean absolute error on {len(t_test)} test patients, whose scores lie between "
          f"{t_test.min():.0f} and {t_test.max():.0f}")  # fmt: skip
    for name, predicted in (
        ("the mean, always", always),
        ("ridge regression", ridge.predict(x_test)),
        ("the network", search.predict(x_test)),
    ):
        print(f"  {name:18} {mean_absolute_error(t_test, predicted):5.1f}")


if __name__ == "__main__":
    main()
