"""Whether sweeps tell a painter that follows a feature from one that doesn't."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cell_packages import FEATURES, draft
from napari_virtual_paint.cells.cp2image import feature_response
from napari_virtual_paint.cells.cp2image.feature_response import SWEPT, responses
from napari_virtual_paint.cells.cp2image.model import CellModel, open_cell_model
from napari_virtual_paint.cells.cp2image.package import save_cell_model
from napari_virtual_paint.cells.cp2image.pairs import how_measured
from napari_virtual_paint.cells.measurement.segment import Thresholds
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress

AREA = FEATURES[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CellModel:
    return open_cell_model(save_cell_model(tmp_path_factory.mktemp("cells") / "toy.zip", draft()))


def discs(model: CellModel, values: np.ndarray, sign: float = 1.0) -> np.ndarray:
    """Draw a nucleus of the area asked for in both channels; of less area the more is asked for, with a negative sign."""
    area = 300 + sign * (values[:, 0] - 300)
    y, x = np.mgrid[: model.size, : model.size] - (model.size - 1) / 2
    inside = (y**2 + x**2)[None] < (np.clip(area, 20, 900) / np.pi)[:, None, None]
    drawn = np.where(inside[:, None], 2000.0, 100.0) + np.random.default_rng(0).normal(0, 5, (len(values), 2, model.size, model.size))
    return drawn.astype(np.float32)


def run(model: CellModel, **options: object) -> feature_response.Response:
    items = list(responses(model, [AREA], cells=4, **options))
    assert all(isinstance(item, Progress) for item in items[:-1])
    assert items[-2].done == items[-2].total
    return items[-1][0]


def test_a_painter_that_follows(model: CellModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_response, "generate", discs)
    found = run(model, percentiles=(5, 35, 65, 95), follow=False)
    assert found.measured.shape == (4, 4)
    assert np.all(np.diff(found.requested) > 0)
    assert np.all(np.diff(found.measured, axis=1) > 0)
    np.testing.assert_allclose(
        found.measured, np.broadcast_to(found.requested, (4, 4)), rtol=0.3
    )  # where an edge is put is the segmentation's choice
    assert found.median == 1


def test_a_painter_that_goes_the_other_way(model: CellModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_response, "generate", lambda model, values: discs(model, values, -1))
    assert run(model, percentiles=(5, 35, 65, 95)).median == -1


def test_a_painter_that_does_not_care(model: CellModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_response, "generate", lambda model, values: discs(model, np.full_like(values, 300)))
    assert abs(run(model, percentiles=(5, 35, 65, 95)).median) < 0.9


def test_a_feature_that_is_not_there(model: CellModel) -> None:
    with pytest.raises(InputError, match="Nuclei_No_Such"):
        list(responses(model, ["Nuclei_No_Such"]))


def test_how_real_cells_were_measured() -> None:
    known = pd.DataFrame({"Metadata_Scale": [255.0], "Metadata_ThresholdNuclei": [0.2], "Metadata_ThresholdCells": [0.1]})
    scale, _, limits = how_measured(known)
    assert (scale, limits[0].nuclei, limits[0].cells) == (255, 0.2, 0.1)
    alone = how_measured(known.assign(Metadata_Tile=[40]))[2]
    assert alone == [Thresholds()], "a place of a montage parts signal from background by itself"
    assert how_measured(pd.DataFrame(index=[0])) == (1.0, None, None)


@pytest.mark.parametrize("follow", [True, False], ids=["others-follow", "alone"])
def test_simulated_cells_follow_what_is_swept(follow: bool) -> None:
    *_, found = responses(open_cell_model("simulated-cells"), SWEPT, cells=8, percentiles=(5, 25, 50, 75, 95), follow=follow)
    assert {each.feature: each.median for each in found if each.median < 0.9} == {}
