"""Which image a patch is drawn from: each as likely as the others, or each plate, batch and treatment as likely as the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from napari_virtual_paint.errors import InputError


class Draw:
    """Draws images, by a generator of random numbers that the caller gives.

    Parameters
    ----------
    told
        What is known of each image, by column.
    columns
        Columns whose combinations are to be equally likely, each image of a combination as likely as its others. Without any, each image is
        as likely as the others.

    Raises
    ------
    InputError
        If no image tells a column.
    """

    def __init__(self, told: Sequence[Mapping[str, str]], columns: Sequence[str] = ()) -> None:
        self.count = len(told)
        columns = [column.casefold() for column in columns]
        for column in columns:
            if not any(column in one for one in told):
                known = ", ".join(dict.fromkeys(key for one in told for key in one)) or "nothing"
                raise InputError(f"data.balance: no image tells its {column}; known is {known}.")
        self.groups: dict[tuple[str, ...], list[int]] = {}
        for index, one in enumerate(told):
            if columns:
                self.groups.setdefault(tuple(one.get(column, "") for column in columns), []).append(index)
        self._groups = [self.groups[key] for key in sorted(self.groups)]

    def __call__(self, rng: np.random.Generator) -> int:
        """Return the position of the next image."""
        if not self._groups:
            return int(rng.integers(self.count))
        group = self._groups[int(rng.integers(len(self._groups)))]
        return group[int(rng.integers(len(group)))]
