"""Agreement of counts: an example computed by hand."""

from __future__ import annotations

import pytest

from napari_virtual_paint.counting.agreement import agreement_of


def test_bias_and_limits_by_hand() -> None:
    """Differences 1, -1, 3: mean 1, SD 2, limits 1 -/+ 3.92."""
    found = agreement_of([11, 9, 23], [10, 10, 20])
    assert (found.n, found.painted, found.real, found.bias, found.sd) == (3, 43, 40, 1.0, 2.0)
    assert found.limits == pytest.approx((-2.92, 4.92))
    assert found.bias_percent == pytest.approx(7.5)
    assert found.pearson == pytest.approx(0.991, abs=1e-3)
    assert "bias +1.00 a field, limits of agreement -2.9 to +4.9" in found.words("nuclei")


def test_one_field_has_no_limits() -> None:
    found = agreement_of([5], [0])
    assert (found.bias, found.limits, found.sd, found.pearson, found.bias_percent) == (5.0, None, None, None, None)
    assert found.to_json()["limits"] is None
