"""Where pairs come from beside folders of two patterns; balance, whole wells held out, resampling, pairs on the disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.stack import PixelSize, Stack
from napari_virtual_paint.training.config.data import Split
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data import store
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.pairs import load, raw_input
from napari_virtual_paint.training.data.patches import Draw, Sampler
from napari_virtual_paint.training.data.scaling import open_selected
from napari_virtual_paint.training.data.source import PairSource
from napari_virtual_paint.training.data.split import held_out, leaks
from napari_virtual_paint.training.data.store import Mapped
from napari_virtual_paint.writing import write

CHANNELS = ("Brightfield", "DNA", "Mito")


def config(run: Path | None = None, **values: Any) -> TrainConfig:
    words = dict.fromkeys(("name", "description", "trained_on", "not_for", "output"), "tiny model")
    common = {"id": "tiny", **words, "patch": (16, 16), "batch": 2, "network": {"config": {"depth": 2, "width": 4}}}
    return TrainConfig.model_validate({**common, "run": run, **values})


def noise(seed: int, channels: int = 3, size: int = 32) -> Any:
    return np.random.default_rng(seed).integers(0, 4000, (channels, size, size)).astype(np.uint16)


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    folder = tmp_path / "BR01"
    folder.mkdir()
    for number, well in enumerate(("A01", "A02", "B01", "B02")):
        for field in (1, 2):
            for channel, image in zip(CHANNELS, noise(10 * number + field), strict=True):
                tifffile.imwrite(folder / f"{well}_{field}_{channel}.tif", image)
    (tmp_path / "map.csv").write_text("well,Treatment,batch\nA1,DMSO,1\nA2,DMSO,1\nB1,taxol,2\n")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, name in enumerate("abcd"):
        write(Stack(noise(number)[None, :, None], CHANNELS, PixelSize(None, 0.5, 0.5)), tmp_path / f"{name}.ome.tif")
    return tmp_path


def test_the_fields_of_a_plate_are_pairs_told_apart_by_name(plate: Path) -> None:
    chosen = config(data={"plate": {"path": plate, "plate_map": plate.parent / "map.csv"}}, split={"validation": 0.25})
    sources = find(chosen.data)
    assert [source.name for source in sources][:3] == ["A01/1", "A01/2", "A02/1"]
    assert sources[4].metadata == {"plate": "BR01", "well": "B01", "treatment": "taxol", "batch": "2"}
    assert sources[7].metadata == {"plate": "BR01", "well": "B02"}
    data = load(chosen)
    assert (data.channels, data.stains) == (("Brightfield",), ("DNA", "Mito"))
    well = {pair.metadata["well"] for pair in data.holding("validation")}
    assert len(data.holding("validation")) == 2
    assert len(well) == 1
    assert not well & {pair.metadata["well"] for pair in data.holding("train")}


def test_wells_fields_and_channels_of_several_plates_are_chosen(plate: Path) -> None:
    other = plate.with_name("BR02")
    other.mkdir()
    for path in plate.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    data = {"plate": {"path": [plate, other], "wells": "A1:A2", "fields": [0]}, "input_channels": ["DNA"], "target_channels": [2]}
    loaded = load(config(data=data, split={"by": "plate", "validation": ["BR02"]}))
    assert [pair.name for pair in loaded.holding("train")] == ["BR01/A01/1", "BR01/A02/1"]
    assert [pair.name for pair in loaded.holding("validation")] == ["BR02/A01/1", "BR02/A02/1"]
    assert (loaded.channels, loaded.stains) == (("DNA",), ("Mito",))
    np.testing.assert_allclose(loaded.pairs[0].y[0], (noise(1)[2] - noise(1)[2].mean()) / noise(1)[2].std(), atol=1e-4)
    with pytest.raises(InputError, match="lists this plate twice"):
        find(config(data={"plate": [plate, plate]}).data)


def test_plates_of_one_table_are_chosen_by_name(plate: Path) -> None:
    rows = [
        f"{plate.name}/{well}_1_{channel}.tif,{name},{well},{channel}"
        for name, well in (("P1", "A01"), ("P2", "B01"))
        for channel in CHANNELS
    ]
    table = plate.parent / "plates.csv"
    table.write_text("\n".join(["file,plate,well,channel", *rows]))

    def found(**values: Any) -> list[str]:
        return [source.name for source in find(config(data={"plate": {"path": table, **values}}).data)]

    with pytest.raises(InputError, match=r"holds 2 plates \(P1, P2\)"):
        found()
    assert found(plate="P2") == ["B01/0"]
    assert found(plate=["P2", "P1"]) == ["P2/B01/0", "P1/A01/0"]
    with pytest.raises(InputError, match=r"none called 'P3'"):
        found(plate="P3")
    with pytest.raises(InputError, match=r"lists the plate P1 twice"):
        found(plate=["P1", "P1"])
    both = config(data={"plate": {"path": table, "plate": ["P1", "P2"]}}, split={"by": "plate", "validation": ["P2"]})
    data = load(both)
    np.testing.assert_allclose(data.holding("validation")[0].y[0], (noise(21)[1] - noise(21)[1].mean()) / noise(21)[1].std(), atol=1e-4)
    assert both.fingerprint() != config(data={"plate": {"path": table}}, split={"by": "plate", "validation": ["P2"]}).fingerprint()


def test_images_that_hold_both_are_told_apart(images: Path) -> None:
    data = load(config(data={"folder": images, "image": "*.ome.tif"}))
    assert [pair.name for pair in data.pairs] == ["a", "b", "c", "d"]
    assert (data.channels, data.stains) == (("Brightfield",), ("DNA", "Mito"))
    data = load(config(data={"folder": images, "image": "*.ome.tif", "target_channels": ["Mito"]}))
    assert (data.channels, data.stains) == (("Brightfield",), ("Mito",))
    with pytest.raises(InputError, match=r"none of its channels \(Brightfield, DNA, Mito\) is brightfield.*set data.input_channels"):
        load(config(data={"folder": images, "image": "*.ome.tif", "target_channels": ["Brightfield"]}))
    with pytest.raises(InputError, match="no channel 'ER'"):
        load(config(data={"folder": images, "image": "*.ome.tif", "input_channels": ["ER"]}))


def test_planes_are_chosen(tmp_path: Path) -> None:
    stack = Stack(noise(0, 10).reshape(1, 2, 5, 32, 32), ("Brightfield", "DNA"), PixelSize(0.5, 0.2, 0.2))
    write(stack, tmp_path / "a.ome.tif")
    data = {"image": "*.ome.tif", "folder": tmp_path, "planes_as_channels": True, "input_planes": [0, 2, 4], "target_planes": [2]}
    loaded = load(config(data=data, split={"validation": None}))
    assert loaded.channels == ("z0", "z1", "z2")
    assert loaded.pixel_size == (1.0, 0.2, 0.2)
    assert loaded.pairs[0].x.shape == (3, 32, 32)
    expected = stack.data[0, 1, 2]
    np.testing.assert_allclose(loaded.pairs[0].y[0], (expected - expected.mean()) / expected.std(), atol=1e-4)
    with pytest.raises(InputError, match="it has 5 planes, counted from 0, and no plane 5"):
        load(config(data={**data, "target_planes": [5]}, split={"validation": None}))


def test_a_table_tells_of_wells_and_treatments(images: Path) -> None:
    table = images / "pairs.csv"
    table.write_text("Image,Metadata_Well,Batch,treatment\na.ome.tif,a1,1,x\nb.ome.tif,A01,1,\nc.ome.tif,B2,2,x\nd.ome.tif,B03,2,y\n")
    chosen = config(data={"csv": table}, split={"validation": 0.3})
    assert [source.metadata for source in find(chosen.data)] == [
        {"well": "A01", "batch": "1", "treatment": "x"},
        {"well": "A01", "batch": "1"},
        {"well": "B02", "batch": "2", "treatment": "x"},
        {"well": "B03", "batch": "2", "treatment": "y"},
    ]
    held = config(data={"csv": table}, split={"by": "treatment", "validation": ["y"]})
    assert [pair.name for pair in load(held).holding("validation")] == ["d"]
    with pytest.raises(InputError, match=r"split\.by: no image has the column dose; known are well, batch, treatment"):
        load(config(data={"csv": table}, split={"by": "dose"}))
    with pytest.raises(InputError, match="no treatment matches z; there are x, unknown, y"):
        load(config(data={"csv": table}, split={"by": "treatment", "test": ["z"]}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\ninput;target;split\n\n'a';b\nx;y;train\n;\nx;y;later\n", "line 7: split must be train, validation or test, not 'later'"),
        ('input,target,note\nx,y,"two\nlines"\nx,\n', "line 4: a pair needs both input and target"),
        ("input,target\nx,y,z\n", "line 2 has 'z' beyond the 2 columns"),
        ("input,target\n", "the table needs a first line"),
    ],
)
def test_the_line_of_a_fault_in_a_table(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=re.escape(said)):
        find(config(data={"csv": tmp_path / "pairs.csv"}).data)


PLACES = st.tuples(st.sampled_from("PQ"), st.sampled_from(["A01", "A02", "B01", "C01"]), st.integers(1, 4))


@settings(max_examples=60, deadline=None)
@given(st.lists(PLACES, min_size=2, unique=True), st.floats(0.05, 0.6), st.integers(0, 1000), st.sampled_from([None, "well", "plate"]))
def test_no_well_is_both_trained_on_and_held_out(places: list[tuple[str, str, int]], share: float, seed: int, by: str | None) -> None:
    sources = [PairSource(f"{p}/{w}/{f}", "x", "y", metadata={"plate": p, "well": w}) for p, w, f in places]
    count = len({source.metadata["plate"] if by == "plate" else source.well for source in sources})
    if count < 3:
        return
    chosen = held_out(sources, Split(validation=share, test=0.1, by=by), seed)
    held = chosen["validation"] | chosen["test"]
    assert not chosen["validation"] & chosen["test"]
    assert chosen["validation"]
    assert len(held) < len(sources)
    assert leaks(sources, chosen) == []
    groups = [{s.metadata["plate"] if by == "plate" else s.well for s in sources if (s.name in held) == side} for side in (True, False)]
    assert not groups[0] & groups[1]


def test_a_well_that_is_parted_by_name_is_seen() -> None:
    sources = [PairSource(f"A01/{field}", "x", "y", metadata={"well": "A01"}) for field in range(3)]
    assert leaks(sources, held_out(sources, Split(validation=("A01/0",)), 0)) == ["A01"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), min_size=1, max_size=30), st.integers(0, 100))
def test_each_combination_is_drawn_as_often(told: list[tuple[str, str]], seed: int) -> None:
    draw = Draw([{"batch": batch, "treatment": treatment} for batch, treatment in told], ["Batch", "treatment"])
    rng = np.random.default_rng(seed)
    drawn = [draw(rng) for _ in range(1500)]
    combinations = sorted(set(told))
    counts = np.array([sum(told[index] == each for index in drawn) for each in combinations])
    expected = 1500 / len(combinations)
    # Six standard errors: once in a hundred million draws by chance.
    assert (np.abs(counts - expected) <= 6 * np.sqrt(expected) + 1e-9).all()
    largest = max(combinations, key=told.count)
    within = np.array([drawn.count(index) for index, each in enumerate(told) if each == largest])
    assert (np.abs(within - within.mean()) <= 6 * np.sqrt(within.mean()) + 1e-9).all()


def test_without_balance_draws_are_those_of_before() -> None:
    draw, rng, again = Draw([{}] * 7), np.random.default_rng(3), np.random.default_rng(3)
    assert [draw(rng) for _ in range(50)] == [int(again.integers(7)) for _ in range(50)]
    with pytest.raises(InputError, match=r"data\.balance: no image has the column batch; known is nothing"):
        Draw([{}], ["batch"])


def test_a_balanced_step_is_the_same_after_a_resume(plate: Path) -> None:
    data = {"plate": {"path": plate, "plate_map": plate.parent / "map.csv"}, "balance": ["batch"]}
    chosen = config(data=data, split={"validation": None}, batch=8)
    loaded = load(chosen)
    first, again = Sampler(loaded.pairs, chosen), Sampler(load(chosen).pairs, chosen)
    again.batch(0)
    assert torch.equal(first.batch(5).x, again.batch(5).x)
    assert not torch.equal(first.batch(5).x, Sampler(loaded.pairs, config(data={**data, "balance": []}, batch=8)).batch(5).x)


def test_resampling_brings_pairs_to_one_pixel_size(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 4000, 80), (60, 80)).astype(np.uint16)
    write(Stack(np.stack([ramp, ramp])[None, :, None], ("Brightfield", "DNA"), PixelSize(None, 0.5, 0.5)), tmp_path / "a.ome.tif")
    fine = np.stack([np.kron(ramp, np.ones((2, 2), np.uint16))] * 2)
    write(Stack(fine[None, :, None], ("Brightfield", "DNA"), PixelSize(None, 0.25, 0.25)), tmp_path / "b.ome.tif")
    chosen = config(data={"folder": tmp_path, "image": "*.ome.tif", "resample": 1.0}, split={"validation": None})
    data = load(chosen)
    assert [pair.x.shape for pair in data.pairs] == [(1, 30, 40), (1, 30, 40)]
    assert data.pixel_size == (None, 1.0, 1.0)
    np.testing.assert_allclose(data.pairs[0].x, data.pairs[1].x, atol=0.05)
    line = np.asarray(data.pairs[0].x)[0, 15, 5:-5]
    np.testing.assert_allclose(np.diff(line), np.diff(line).mean(), rtol=0.05)
    assert raw_input(chosen).shape == (1, 30, 40)
    bare = tmp_path / "bare"
    bare.mkdir()
    for kind in ("input", "target"):
        tifffile.imwrite(bare / f"{kind}.tif", ramp)
    files = {"folder": bare, "input": "input.tif", "target": "target.tif", "stains": ["DNA"]}
    with pytest.raises(InputError, match=r"its pixel size along y or x is unknown; set data\.pixel_size"):
        load(config(data={**files, "resample": 1.0}, split={"validation": None}))
    told = load(config(data={**files, "resample": [None, 1.0, 1.0], "pixel_size": [None, 0.5, 0.5]}, split={"validation": None}))
    assert told.pairs[0].x.shape == (1, 30, 40)


def test_volumes_are_resampled_along_all_sides(tmp_path: Path) -> None:
    stack = Stack(noise(0, 40, 24).reshape(1, 2, 20, 24, 24), ("Brightfield", "DNA"), PixelSize(1.0, 0.29, 0.29))
    write(stack, tmp_path / "a.ome.tif")
    volume = {"network": {"architecture": "FNet", "config": {"dims": 3, "depth": 2, "mult_chan": 2}}, "patch": (8, 16, 16)}
    data = load(config(data={"folder": tmp_path, "image": "*.ome.tif", "resample": 0.29}, split={"validation": None}, **volume))
    assert data.pairs[0].x.shape == (1, 69, 24, 24)
    assert data.pixel_size == (0.29, 0.29, 0.29)


def test_pairs_on_the_disk_are_those_in_memory_and_are_found_again(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"folder": images, "image": "*.ome.tif"}
    split = {"validation": {"side": "right", "fraction": 0.25}}
    held, mapped = (config(images / "run", data={**data, "memory": memory}, split=split) for memory in (None, 0))
    in_memory, on_disk = load(held), load(mapped)
    assert not any(isinstance(pair.x, Mapped) for pair in in_memory.pairs)
    assert all(isinstance(pair.x, Mapped) and isinstance(pair.y, Mapped) for pair in on_disk.pairs)
    for step in range(4):
        for mine, theirs in zip(Sampler(in_memory.pairs, held).batch(step), Sampler(on_disk.pairs, mapped).batch(step), strict=True):
            assert torch.equal(mine, theirs)

    def closed(source: PairSource) -> None:
        raise AssertionError("it was read again")

    with monkeypatch.context() as patched:
        patched.setattr(PairSource, "open", closed)
        again = load(mapped)
    np.testing.assert_array_equal(np.asarray(again.pairs[2].y), np.asarray(in_memory.pairs[2].y))
    write(Stack(noise(99)[None, :, None], CHANNELS, PixelSize(None, 0.5, 0.5)), images / "c.ome.tif", overwrite=True)
    np.testing.assert_array_equal(np.asarray(load(mapped).pairs[2].y), np.asarray(load(held).pairs[2].y))
    store.forget(mapped)
    assert not (images / "run" / "pairs").exists()


def test_a_pair_that_was_half_written_is_written_again(images: Path) -> None:
    chosen = config(images / "run", data={"folder": images, "image": "*.ome.tif", "memory": 0})
    first = load(chosen)
    folders = sorted((images / "run" / "pairs").iterdir())
    (folders[0] / "0-x.npy").write_bytes(b"cut off")
    folders[1].rename(folders[1].with_name(f".{folders[1].name}.999999999.part"))
    again = load(chosen)
    for mine, theirs in zip(first.pairs, again.pairs, strict=True):
        np.testing.assert_array_equal(np.asarray(mine.x), np.asarray(theirs.x))
    assert sorted((images / "run" / "pairs").iterdir()) == folders


def test_pairs_of_one_size_share_masks_and_places(images: Path) -> None:
    chosen = config(data={"folder": images, "image": "*.ome.tif"}, split={"validation": ["a"]})
    data = load(chosen)
    assert len({id(mask) for pair in data.pairs for mask in pair.parts.values()}) == 2
    assert len({id(places) for places in Sampler(data.holding("train"), chosen).places}) == 1


def test_the_fingerprint_follows_the_draws_and_not_the_place() -> None:
    def digest(**data: Any) -> str:
        return config(data={"folder": "x", **data}).fingerprint()

    assert digest() == digest(memory=1) == digest(checks="off")
    assert len({digest(), digest(balance=["batch"]), digest(resample=0.3), digest(checks="leave_out"), digest(input_planes=[1])}) == 5
    chosen = [{"path": "a", "wells": "A1"}, {"path": "b", "wells": "A1"}, {"path": "a", "wells": "A2"}]
    plates = [config(data={"plate": each}).fingerprint() for each in chosen]
    assert plates[0] == plates[1] != plates[2]


def test_the_weights_are_the_same_from_memory_and_from_the_disk(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")
    from napari_virtual_paint.training import package, train

    found: list[dict[str, torch.Tensor]] = []

    def kept(config: Any, data: Any, scored: Any, network: Any, *_: Any) -> Path:
        assert isinstance(data.pairs[0].x, Mapped) == (config.data.memory == 0)
        found.append(network.state_dict())
        return Path(config.output)

    monkeypatch.setattr(package, "write_package", kept)
    for memory in (None, 0):
        folder = images / f"memory-{memory}"
        values = {"steps": 3, "epoch": 3, "device": "cpu", "threads": 1, "split": {"validation": ["a"]}}
        data = {"folder": images, "image": "*.ome.tif", "memory": memory, "checks": "off"}
        train(config(folder / "run", data=data, output=folder / "tiny", **values))
        assert not (folder / "run" / "pairs").exists()
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_an_image_without_a_stain_is_told(tmp_path: Path) -> None:
    write(Stack(noise(0, 2)[None, :, None], ("Phase", "DIC")), tmp_path / "a.ome.tif")
    item = find(config(data={"folder": tmp_path, "image": "*.ome.tif"}).data)[0]
    with pytest.raises(InputError, match=r"is a stain by its name; set data\.target_channels"):
        open_selected(item, config(data={"folder": tmp_path, "image": "*.ome.tif"}).data)


def test_every_configuration_in_the_guide_is_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "training-pairs.md").read_text("utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    assert len(blocks) >= 8
    for block in blocks:
        assert config(**{"data": {"folder": "x"}, **block})
