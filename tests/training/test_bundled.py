"""The bundled models: sound, small, with a whole card, and made by the recipes that lie in the repository."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import napari_virtual_paint
from napari_virtual_paint.models import check_model, open_model
from napari_virtual_paint.training import load_config

ROOT = Path(__file__).parents[2]
BUNDLED = Path(napari_virtual_paint.__file__).parent / "models" / "bundled"
STAINS = {
    "simulated-cell-painting": ("DNA", "ER", "RNA", "AGP", "Mito"),
    "simulated-cell-painting-l1": ("DNA", "ER", "RNA", "AGP", "Mito"),
    "simulated-cell-painting-gan": ("DNA", "ER", "RNA", "AGP", "Mito"),
    "simulated-3d": ("DNA", "Membrane"),
    "cell-painting-brightfield": ("DNA", "ER", "RNA", "AGP", "Mito"),
    "neurons-phase": ("DAPI", "MAP2", "NFH"),
    "jurkat-brightfield": ("DNA",),
}
MEGABYTES = 4_000_000


def test_there_are_seven() -> None:
    assert {path.name.removesuffix(".zip") for path in BUNDLED.iterdir() if path.suffix == ".zip"} == set(STAINS)


@pytest.mark.parametrize("name", STAINS)
def test_a_bundled_model_is_sound_and_small(name: str) -> None:
    path = BUNDLED / f"{name}.zip"
    assert path.stat().st_size <= MEGABYTES
    report = check_model(path)
    assert report.ok, report.checks


@pytest.mark.parametrize("name", STAINS)
def test_its_card_is_whole_and_names_its_recipe(name: str) -> None:
    info = open_model(name).info
    card = info.card
    assert info.stains == STAINS[name]
    assert set(card.scores) == set(info.stains)
    assert all(0 < row["pcc"] < 1 and 0 < row["ssim"] < 1 for row in card.scores.values())
    assert card.trained_on
    assert card.held_out_on
    assert card.not_for
    assert card.made_with == f"virtual-paint train docs/recipes/{name}.yaml"
    config = load_config(ROOT / "docs" / "recipes" / f"{name}.yaml")
    assert (config.id, config.network.architecture) == (info.id, info.architecture)
    assert all(info.config[key] == value for key, value in config.network.config.items())


def test_a_package_tells_nothing_of_the_machine_that_made_it() -> None:
    for path in sorted(BUNDLED.glob("*.zip")):
        with zipfile.ZipFile(path) as package:
            for item in package.namelist():
                if item.endswith((".yaml", ".md")):
                    text = package.read(item).decode()
                    assert "/tmp" not in text, (path.name, item)
                    assert "/home" not in text, (path.name, item)
                    assert "/root" not in text, (path.name, item)


def test_simulated_cells_are_painted_well() -> None:
    from napari_virtual_paint.metrics import score
    from napari_virtual_paint.painting import PaintSettings, paint, run_to_end
    from napari_virtual_paint.samples import SimulationSettings, simulate_field

    field = simulate_field(SimulationSettings(size=256, seed=99))
    painted = run_to_end(paint(open_model("simulated-cell-painting"), field.brightfield, PaintSettings(device="cpu"))).stack
    for index, stain in enumerate(STAINS["simulated-cell-painting"]):
        found = score(np.asarray(painted.data)[0, index], np.asarray(field.stains.data)[0, index]).pcc
        assert found is not None
        assert found > (0.7 if stain == "Mito" else 0.85), stain
