"""What `anyformer demo` trains for finance: daily prices that matplotlib carries, so nothing is downloaded.

* What is forecast is how much a share moves in a day and how much of it is traded, not where its price goes: prices of
  liquid markets are close to a random walk, and no model here claims to beat that.
* Volatility is the logarithm of the daily range, which is near to normal (Alizadeh, Brandt and Diebold 2002).
* The split is by time. The held-out rows repeat the last `LOOK_BACK` training rows, which are history there and no target.
"""

from __future__ import annotations

import numpy as np

from anyformer.task import Demo

LOOK_BACK, HORIZON = 64, 5
"""Trading days."""
TRAIN_SHARE = 0.75


def volatility() -> Demo:
    """Daily range and volume of one share, both as logarithms, a week ahead."""
    from matplotlib import cbook

    with np.load(str(cbook.get_sample_data("goog.npz", asfileobj=False)), allow_pickle=False) as arrays:
        prices = arrays["price_data"]
    rows = [
        {"date": str(day), "log_range": f"{np.log(np.log(high / low)):.6f}", "log_volume": f"{np.log(volume):.6f}"}
        for day, high, low, volume in zip(prices["date"], prices["high"], prices["low"], prices["volume"], strict=True)
    ]
    split = int(len(rows) * TRAIN_SHARE)
    return Demo(
        data=f"daily range and volume of GOOG, {len(rows)} days to 2008, from matplotlib; held out: the last quarter",
        train=rows[:split],
        valid=rows[split - LOOK_BACK :],
        settings={"config.look_back": LOOK_BACK, "config.horizon": HORIZON, "training.steps": 400},
    )
