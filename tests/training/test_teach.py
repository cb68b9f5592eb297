"""Teaching: from a model and a few pairs to a model of its own, with its scores before and after."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from foreign_packages import toy_05
from napari_virtual_paint.errors import InputError, ModelError
from napari_virtual_paint.models import Card, check_model, open_model, save_model
from napari_virtual_paint.networks import build
from napari_virtual_paint.normalize import Step
from napari_virtual_paint.training.fine_tuning import read_report
from napari_virtual_paint.training.teach import TeachRequest, plan_fine_tuning, teach

pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")

CONFIG = {"in_channels": 1, "out_channels": 2, "depth": 2, "width": 4}


def package_at(folder: Path, **changes: Any) -> Path:
    """Write a package of a small network: brightfield to DNA and ER."""
    torch.manual_seed(0)
    settings = {**CONFIG, **changes.pop("config", {})}
    texts: dict[str, Any] = {"id": "old", "name": "An old network", "description": "For tests.", "version": "1.0.0"}
    options: dict[str, Any] = {"channels": ("Brightfield",), "stains": ("DNA", "ER"), "dims": 2, "card": Card(trained_on="Old cells.")}
    options = {**texts, **options, "architecture": "UNet", "test_input": np.random.default_rng(0).normal(size=(1, 32, 32)), **changes}
    return save_model(folder, build(options["architecture"], settings).eval(), config=settings, **options)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package_at(tmp_path_factory.mktemp("package") / "old")


def write_field(folder: Path, number: int, names: tuple[str, ...] | None = ("DNA", "ER"), side: int = 48) -> None:
    """Write a field and its stains: a blur of the field, and its negative."""
    rng = np.random.default_rng(number)
    image = rng.normal(size=(side, side))
    image = image + np.roll(image, 1, 0) + np.roll(image, 1, 1)
    stains = np.stack([image, -image, image**2])[: len(names or "12")]
    for part, pixels, axes, channels in (("input", image, "YX", None), ("target", stains, "CYX", names)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        metadata = {"axes": axes} | ({"Channel": {"Name": list(channels)}} if channels else {})
        tifffile.imwrite(
            folder / part / f"field{number}.ome.tif", (1000 + 100 * pixels).clip(0).astype(np.uint16), ome=True, metadata=metadata
        )


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four pairs in the folders input and target."""
    folder = tmp_path_factory.mktemp("fields")
    for number in range(4):
        write_field(folder, number)
    return folder


def request_of(package: Path, fields: Path, output: Path, **changes: Any) -> TeachRequest:
    return TeachRequest(str(package), (str(fields),), output, **{"steps": 6, **changes})


@pytest.fixture(scope="module")
def taught(package: Path, fields: Path, tmp_path_factory: pytest.TempPathFactory) -> TeachRequest:
    request = request_of(package, fields, tmp_path_factory.mktemp("taught") / "new")
    teach(request, command="virtual-paint teach old fields -o new")
    return request


def weights(package: Path) -> dict[str, torch.Tensor]:
    return open_model(package).network.state_dict()


def test_the_taught_model_is_better_and_its_card_says_so(taught: TeachRequest) -> None:
    info = open_model(taught.output).info
    assert check_model(taught.output).ok
    assert (info.id, info.stains, info.channels) == ("new", ("DNA", "ER"), ("Brightfield",))
    assert info.card.scores["DNA"]["pcc"] > info.card.before["DNA"]["pcc"] + 0.03
    assert info.card.scores["ER"]["pcc"] > info.card.before["ER"]["pcc"] + 0.5
    assert "old 1.0.0 (Old cells), taught further on 4 fields of " in info.card.trained_on
    assert "1 whole image" in info.card.held_out_on
    text = info.card.to_markdown()
    assert "| stain | pcc | ssim | pcc before | ssim before |" in text
    assert info.card.more_images in text


def test_the_report_tells_before_after_and_whether_more_fields_would_help(taught: TeachRequest) -> None:
    report, info = read_report(taught.run), open_model(taught.output).info
    for stain in info.stains:
        assert report["before"][stain]["pcc"] == pytest.approx(info.card.before[stain]["pcc"])
        assert report["after"][stain]["pcc"] == pytest.approx(info.card.scores[stain]["pcc"])
    assert [point["fields"] for point in report["advice"]["curve"]] == [1, 3]
    assert report["advice"]["sentence"] == info.card.more_images


def test_the_same_request_goes_on_where_it_was_broken_off(taught: TeachRequest, tmp_path: Path) -> None:
    request = replace(taught, output=tmp_path / "new")

    def break_off(progress: Any) -> None:
        if progress.phase.startswith("training on half") and progress.step == 4:
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        teach(request, break_off)
    assert not request.output.exists()
    seen: list[Any] = []
    teach(request, seen.append)
    assert not [progress for progress in seen if progress.phase == "training"]
    mine, theirs = weights(request.output), weights(taught.output)
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_before_is_what_the_model_paints_of_the_held_out_field(taught: TeachRequest, package: Path, fields: Path) -> None:
    from napari_virtual_paint.painting import PaintSettings, paint
    from napari_virtual_paint.reading import read
    from napari_virtual_paint.runtime.generators import run_to_end

    held = (taught.run / "inputs.json").read_text()
    assert "field0" in held
    name = open_model(taught.output).info.card.held_out_on.split("(")[1].split(")")[0]
    painted = run_to_end(paint(open_model(package), read(fields / "input" / f"{name}.ome.tif"), PaintSettings(device="cpu"))).stack
    truth = read(fields / "target" / f"{name}.ome.tif")
    for place, stain in enumerate(("DNA", "ER")):
        one, other = (np.asarray(stack.data[0, place, 0], float).ravel() for stack in (painted, truth))
        assert read_report(taught.run)["before"][stain]["pcc"] == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-3)


def test_another_stain_gets_a_row_of_its_own(package: Path, tmp_path: Path) -> None:
    for number in range(2):
        write_field(tmp_path, number, ("ER", "Lysosomes"))
    request = request_of(package, tmp_path, tmp_path / "new", steps=2)
    plan = plan_fine_tuning(request)
    assert plan.stains == ("ER", "Lysosomes")
    assert plan.values["fine_tuning"]["replay"] == 0
    teach(request)
    report = read_report(request.run)
    assert report["before"]["Lysosomes"] is None
    assert report["before"]["ER"]["pcc"] is not None
    assert set(report["after"]) == {"ER", "Lysosomes"}


def test_another_name_of_a_stain_is_that_stain(package: Path, tmp_path: Path) -> None:
    write_field(tmp_path, 0, ("ER", "Hoechst"))
    assert plan_fine_tuning(request_of(package, tmp_path, tmp_path / "new")).stains == ("DNA", "ER")


def test_a_single_field_is_held_out_in_part(package: Path, tmp_path: Path) -> None:
    write_field(tmp_path, 0)
    assert plan_fine_tuning(request_of(package, tmp_path, tmp_path / "new")).values["split"] == {
        "validation": {"side": "right", "fraction": 0.25}
    }


def test_a_fixed_scale_is_taken_anew(fields: Path, tmp_path: Path) -> None:
    fixed = (Step("fixed_zero_mean_unit_variance", True, {"mean": [3.0], "std": [7.0]}),)
    old = package_at(tmp_path / "old", preprocessing=fixed)
    (step,) = plan_fine_tuning(request_of(old, fields, tmp_path / "new")).values["normalize"]["input"]["steps"]
    pixels = np.stack([tifffile.imread(path) for path in sorted((fields / "input").iterdir())]).astype(float)
    assert step["values"]["mean"] == pytest.approx([pixels.mean()], rel=1e-6)
    assert step["values"]["std"] == pytest.approx([pixels.std()], rel=1e-6)


def test_a_model_keeps_its_own_steps(package: Path, fields: Path, tmp_path: Path) -> None:
    steps = plan_fine_tuning(request_of(package, fields, tmp_path / "new")).values["normalize"]["input"]["steps"]
    assert [Step(**step) for step in steps] == list(open_model(package).info.preprocessing)


def test_a_program_can_t_be_taught(fields: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"its weights are TorchScript, a finished program that can't be taught"):
        plan_fine_tuning(request_of(toy_05(tmp_path / "toy"), fields, tmp_path / "new"))


def test_what_does_not_fit_is_told_before_anything_is_written(package: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "fields", tmp_path / "new"
    write_field(folder, 0)
    write_field(folder, 1, side=40)
    write_field(folder, 2, side=48)
    (folder / "target" / "field1.ome.tif").write_bytes((folder / "target" / "field0.ome.tif").read_bytes())
    with pytest.raises(InputError, match=r"field1\.ome\.tif: its 48 x 48 px at 1 time points don't fit the 40 x 40 px"):
        teach(request_of(package, folder, output))
    unnamed = tmp_path / "unnamed"
    write_field(unnamed, 0, ("A", "B", "C"))
    tifffile.imwrite(unnamed / "target" / "field0.ome.tif", np.zeros((3, 48, 48), np.uint16), ome=True, metadata={"axes": "CYX"})
    with pytest.raises(InputError, match=r"have 3 channels without names, and old paints 2 \(DNA, ER\); name them by --stains"):
        teach(request_of(package, unnamed, output))
    with pytest.raises(InputError, match=r"1 stains are named, but the stained images have 3 channels"):
        teach(request_of(package, unnamed, output, stains=("DNA",)))
    two = tmp_path / "two"
    write_field(two, 0)
    tifffile.imwrite(two / "input" / "field0.ome.tif", np.zeros((2, 48, 48), np.uint16), ome=True, metadata={"axes": "CYX"})
    with pytest.raises(ModelError, match=r"wants the channel Brightfield and the image has 2 without names"):
        teach(request_of(package, two, output))
    with pytest.raises(InputError, match="there is no such table or folder"):
        teach(request_of(package, tmp_path / "nothing", output))
    (tmp_path / "empty" / "input").mkdir(parents=True)
    with pytest.raises(InputError, match="it holds no image"):
        teach(request_of(package, tmp_path / "empty", output))
    assert not output.exists()
    assert not output.with_name("new.run").exists()


def test_a_request_that_changed_is_not_taken_for_the_same(taught: TeachRequest) -> None:
    kept = (taught.run / "teach.yaml").read_text()
    with pytest.raises(InputError, match="this run was started with other settings"):
        teach(replace(taught, seed=1))
    assert (taught.run / "teach.yaml").read_text() == kept
    assert json.loads((taught.run / "teach.json").read_text())["seed"] == 0
