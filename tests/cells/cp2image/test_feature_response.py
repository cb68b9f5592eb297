"""Whether sweeps tell a painter that follows a feature from one that doesn't."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cell_packages import FEATURES, draft
from napari_virtual_paint.cells.cp2image import feature_response
from napari_virtual_paint.cells.cp2image.feature_response import Response, responses, swept_features
from napari_virtual_paint.cells.cp2image.model import CellModel, open_cell_model
from napari_virtual_paint.cells.cp2image.package import save_cell_model
from napari_virtual_paint.cells.cp2image.pairs import how_measured
from napari_virtual_paint.counting.segmentation import Thresholds
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.runtime.progress import Progress

AREA = FEATURES[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CellModel:
    return open_cell_model(save_cell_model(tmp_path_factory.mktemp("cells") / "toy.zip", draft()))


def discs(model: CellModel, values: np.ndarray, share: float = 1.0, seed: object = 0) -> np.ndarray:
    """Draw a nucleus in both channels that shows a share of the change of area that is asked for, away from 300."""
    area = 300 + share * (values[:, 0] - 300)
    y, x = np.mgrid[: model.size, : model.size] - (model.size - 1) / 2
    nearest = np.argsort(np.argsort((y**2 + x**2 + 1e-3 * np.arctan2(y, x)).ravel())).reshape(y.shape)
    inside = nearest[None] < np.rint(np.clip(area, 20, 900))[:, None, None]
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


@pytest.mark.parametrize(("share", "rank"), [(1.0, 1), (0.5, 1), (0.05, 1), (-1.0, -1)])
def test_the_gain_is_the_share_of_the_change_that_is_drawn(
    model: CellModel, monkeypatch: pytest.MonkeyPatch, share: float, rank: float
) -> None:
    """A picture that shows a twentieth of the change has a perfect rank correlation: what the gain is for."""
    monkeypatch.setattr(feature_response, "generate", lambda model, values, seed: discs(model, values, share))
    found = run(model, percentiles=(5, 35, 65, 95), follow=False)
    assert found.gain == pytest.approx(share, rel=0.15, abs=0.01)  # where an edge is put is the segmentation's choice
    assert found.median == pytest.approx(rank, abs=0.11)


def test_a_painter_that_does_not_care(model: CellModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_response, "generate", lambda model, values, seed: discs(model, values, 0.0))
    found = run(model, percentiles=(5, 35, 65, 95))
    assert found.gain == pytest.approx(0, abs=1e-6)
    assert found.median == 0


def test_angles_are_continued_beyond_their_period() -> None:
    asked = np.arange(-80.0, 81.0, 20.0)
    shown = asked + 25  # drawn 25 degrees on, so it jumps back by 180 at the end
    half = asked / 2
    still = np.full(len(asked), 88.0) + np.array([0, 4, -4] * 3)  # about one direction, on both sides of the jump
    measured = (np.stack([shown, half, still]) + 90) % 180 - 90
    found = Response("Nuclei_AreaShape_Orientation", asked, measured, 180.0)
    assert found.gains == pytest.approx([1, 0.5, 0], abs=0.02)
    assert found.spearman[:2] == pytest.approx([1, 1])
    plain = Response("Nuclei_AreaShape_Orientation", asked, measured)
    assert plain.gains[0] < 0.5


def test_cells_that_are_hardly_found_have_no_gain() -> None:
    asked = np.arange(6.0)
    measured = np.stack([asked, np.where(asked < 4, asked, np.nan), np.where(asked < 2, asked, np.nan), np.full(6, np.nan)])
    found = Response("Nuclei_AreaShape_Area", asked, measured)
    assert found.gains == pytest.approx([1, 1, 0, 0])
    assert found.spearman == pytest.approx([1, 1, 0, 0])


def test_the_swept_features_are_found_whatever_the_channels_are_called(tmp_path) -> None:
    channels = ("OrigBlue", "OrigGreen")
    textures = [
        f"Nuclei_Texture_{kind}_OrigBlue_{scale}_{way}" for kind in ("Contrast", "Entropy") for scale in (3, 5, 10) for way in ("00", "01")
    ]
    names = ["Nuclei_AreaShape_Area", "Nuclei_Intensity_MeanIntensity_OrigBlue", "Nuclei_Intensity_MeanIntensity_OrigGreen", *textures]
    model = SimpleNamespace(features=tuple(names), channels=channels)
    found, lacking = swept_features(model, "OrigBlue")
    assert found == ("Nuclei_AreaShape_Area", "Nuclei_Intensity_MeanIntensity_OrigBlue", "Nuclei_Texture_Contrast_OrigBlue_5_00")
    assert lacking == ("orientation of the nucleus", "area of the cytoplasm")


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
    simulated = open_cell_model("simulated-cells")
    *_, found = responses(simulated, swept_features(simulated)[0][:4], cells=8, percentiles=(5, 25, 50, 75, 95), follow=follow)
    assert {each.feature: each.median for each in found if each.median < 0.9} == {}
