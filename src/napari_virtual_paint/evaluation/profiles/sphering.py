"""Sphering: transform profiles so that control wells vary equally in every direction (Moshkov 2022, section 3.4.4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_virtual_paint.evaluation.profiles.table import NEGATIVE, Doubles, Profiles, name_of
from napari_virtual_paint.runtime.extras import require

FEWEST = 6  # least control wells for sphering: with fewer, the axes of variation are arbitrary

STRENGTHS = (1e3, 1e2, 1e1, 1.0, 1e-1, 1e-2, 1e-3)
"""Regularizations to try, mildest first, in units of a feature's variance among the controls, which is 1."""


@dataclass(frozen=True, eq=False)
class Sphere:
    """A sphering transform (ZCA) fitted on control wells."""

    varied: npt.NDArray[np.bool_]  # features (p,) that vary among them; others are unchanged
    fitted: Any  # pycytominer's transform of those

    @classmethod
    def fit(cls, controls: Doubles, strength: float) -> Sphere | None:
        """Fit to control wells (n, p).

        pycytominer adds its regularization to the singular values, Moshkov 2022 his lambda to the eigenvalues of the covariance; here both
        agree where the controls don't vary at all: an axis of variance v is divided by sqrt(v) + sqrt(lambda). With fewer controls than
        features, axes outside their span are divided by the smallest value within it.

        Returns
        -------
        Sphere or None
            None where the controls are linearly dependent, or don't vary.
        """
        import pandas as pd

        operations = require("pycytominer.operations", extra="evaluate", purpose="Profiling")
        varied = np.ptp(controls, axis=0) > 0
        if not varied.any():
            return None
        transform = operations.Spherize(epsilon=float(np.sqrt(strength * (len(controls) - 1))), method="ZCA", return_numpy=True)
        try:
            return cls(varied, transform.fit(pd.DataFrame(controls[:, varied])))
        except ValueError:  # pycytominer's word for controls of too low a rank
            return None

    def apply(self, values: Doubles) -> Doubles:
        """Return profiles (n, p) sphered."""
        import pandas as pd

        found = values.copy()
        if len(values):
            found[:, self.varied] = self.fitted.transform(pd.DataFrame(values[:, self.varied]))
        return found


def sphere(profiles: Profiles, strength: float) -> Profiles | str:
    """Sphere each source by its own control wells, of all plates together.

    Returns
    -------
    Profiles or str
        Why it is impossible, as a sentence.
    """
    controls = profiles.rows(NEGATIVE)
    if len(controls) < FEWEST:
        return (
            f"Profiles are not sphered: it is learnt from {FEWEST} or more negative control wells, and there are {len(controls) or 'none'}."
        )
    values, images = {}, {}
    for source in profiles.sources:
        found = Sphere.fit(profiles.values[source][controls], strength)
        if found is None:
            return f"Profiles are not sphered: the control wells of {name_of(source)} depend on each other, or don't vary."
        values[source], images[source] = found.apply(profiles.values[source]), found.apply(profiles.images[source])
    return profiles.with_values(values, images)
