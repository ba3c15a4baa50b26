"""Write a custom loss, check it on every device, and train the same model on each.

    python own_loss_everywhere.py
    python own_loss_everywhere.py --device cpu --device cuda

Two networks learn the 10% and the 90% quantile of a patient's diabetes score, so that four in five
scores should lie between them. The library has no quantile loss; here it is in a dozen lines.
`bp.testing.check` compares its gradient with derivatives computed another way, and every device
with NumPy. Then the same training runs on each usable device, from the same weights and in the
same order, and a table compares the losses. Needs the extra `sklearn` for its data.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_diabetes

import bp_arrays as bp


@dataclass(frozen=True)
class QuantileLoss(bp.Loss):
    """ℓ = Σ_j q r_j where r_j = t_j − y_j >= 0, else (q − 1) r_j; least at the quantile q of t.

    Koenker and Bassett, "Regression Quantiles", 1978.
    """

    q: float = 0.5

    def per_sample(self, y, t, ctx):
        xp, q, r = ctx.xp, self.q, t - y
        losses = xp.sum(xp.maximum(q * r, (q - 1.0) * r), axis=-1)
        # not xp.where(r < 0.0, 1.0 - q, -q): two Python numbers have no dtype, as the check says
        return losses, lambda c: c * (xp.astype(r < 0.0, y.dtype) - q)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", action="append", help="repeatable (default: all usable)")
    options = parser.parse_args()
    usable = [str(status.device) for status in bp.devices() if status.usable]
    devices = options.device or usable

    report = bp.testing.check(QuantileLoss(q=0.9), input_shape=1, devices=devices)
    print(report)
    if not report.ok:
        raise SystemExit("the check failed: nothing is trained")

    x, t = load_diabetes(return_X_y=True)
    x, t = x / x.std(axis=0), t[:, None] / 100.0
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:332], order[332:]

    print("\ndevice             loss q=0.1   loss q=0.9   scores between the two, test patients")
    for device in devices:
        bounds, losses = [], []
        for q in (0.1, 0.9):
            net = bp.Sequential(bp.Linear(16), bp.Tanh(), bp.Linear(1))
            model = bp.Model(net, input_shape=10, device=device, seed=0)
            history = bp.fit(
                model,
                x[train],
                t[train],
                loss=QuantileLoss(q=q),
                optimizer=bp.Adam(0.01),
                epochs=40,
                batch_size=32,
                penalty=bp.L2Penalty(3.0),  # without it, the network memorizes these 332 patients
            )
            bounds.append(model.predict(x[test]))
            losses.append(history["loss"][-1])
        low, high = bounds
        inside = ((t[test] >= low) & (t[test] <= high)).mean()
        print(f"{device:15} {losses[0]:13.6f}{losses[1]:13.6f}   {inside:.0%}")


if __name__ == "__main__":
    main()
