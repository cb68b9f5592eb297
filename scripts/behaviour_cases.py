"""The cases of `behaviour_digests.py`: what the commands are asked to do. A case's value is all that must stay the same."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import tifffile

from behaviour_bench import SIMULATED, Bench, documents, files, image, plate_images, table

REAL = {
    "cell-painting-brightfield": "cell_painting/brightfield.ome.tif",
    "jurkat-brightfield": "jurkat_flow/experiment_2_g1_0001.ome.tif",
    "neurons-phase": "neurons/phase.ome.tif",
    "simulated-3d": "hipsc_3d_pairs/train_0_brightfield.ome.tif",
}
"""Model -> a real image that it can paint; those that are not here were trained on simulated fields of three planes."""
ONE_PLANE = {"cell-painting-brightfield", "jurkat-brightfield"}
"""Models that paint a simulated field from its middle plane."""
VOLUMES = {"simulated-3d", "neurons-phase"}
"""Models that are given the simulated volume; it has the 13 planes that the second one wants."""
OTHERS = {
    "ecoli": ("ecoli/ds4_brightfield.ome.tif", "--normalize", "series"),
    "phenix": ("phenix_live/transmitted.ome.tif",),
    "nd2": ("vendor_formats/example-timelapse.nd2",),
    "czi": ("vendor_formats/s_1_t_1_c_1_z_1.czi",),
    "lif": ("vendor_formats/LeicaLASX_wavelength-sweep_example.lif",),
}
"""Further real images, painted from their first channel by a model that was not made for them."""
PLATES = (
    "phenix_version5/images",
    "phenix_version5/load_data_version5.csv",
    *(f"imagexpress_exported/9987_Plate_{n}" for n in (3420, 3434, 3435)),
)
LAYOUTS = ("ome-zarr", "ome-zarr-0.4", "opera-phenix", "imagexpress", "yokogawa", "incarta", "loaddata", "table", "pattern")
CELL_MODELS = ("simulated-cells", "jurkat-cells")
TINY = {
    "name": "Tiny model",
    "description": "For comparing.",
    "trained_on": "Simulated fields.",
    "not_for": "Anything else.",
}
TRAIN = {
    **TINY,
    "id": "tiny",
    "output": "tiny.zip",
    "data": {"simulate": {"fields": 2, "size": 96}, "target_channels": ["DNA", "ER"]},
    "split": {"validation": {"side": "right", "fraction": 0.25}},
    "network": {"config": {"depth": 2, "width": 4, "dropout": 0.1}},
    "patch": [32, 32],
    "batch": 2,
    "steps": 6,
    "epoch": 2,
    "augment": {"flips": True, "quarter_turns": True},
    "optimizer": {"lr": 0.01, "schedule": "one_cycle", "clip": 1.0},
    "ema": 0.5,
    "seed": 3,
    "device": "cpu",
    "threads": 1,
}
GAN = {**TRAIN, "objective": {"kind": "cwgan-gp"}, "patch": [64, 64], "steps": 5, "epoch": 5}
TRAIN_CELLS = {
    **TINY,
    "id": "tiny-cells",
    "output": "tiny.zip",
    "data": {
        "simulate": {"treatments": ["control", "mitoxantrone"], "doses": [1.0], "seeds": 2, "size": 256},
        "channels": ["DNA", "ER"],
        "size": 40,
    },
    "held_out": 0.25,
    "generator": {"architecture": "CellPainter", "config": {"width": 4, "max_width": 8, "style": 16}},
    "critic": {"architecture": "ReadingCritic", "config": {"width": 4}},
    "loss": {"pixel": "mse", "pixel_weight": 10, "hidden": 1, "ramp": 0, "reading": 0.2},
    "batch": 6,
    "steps": 6,
    "epoch": 2,
    "population": 8,
    "threads": 1,
}
STUDY = {
    "name": "tiny",
    "output": "out",
    "domains": {
        "compact": {"simulate": {"fields": 4, "size": 64, "cell_type": "simulated-compact"}},
        "spread": {"simulate": {"fields": 4, "size": 64, "cell_type": "simulated-spread", "seed": 9}},
    },
    "training": {
        **{name: TRAIN[name] for name in ("network", "patch", "batch", "device", "threads")},
        "data": {"target_channels": ["DNA", "ER"]},
        "split": {"validation": 0.25, "test": 0.25},
        "steps": 2,
        "epoch": 1,
    },
    "seeds": [0],
    "sizes": [1],
}
Case = tuple[str, str, Callable[..., Any]]
"""Its name, the folder of real data that it needs (or nothing), and what gives the value to digest."""


def predicted(case: str, source: Callable[[Bench], Path], *options: object, suffix: str = ".ome.tif", bench: Bench) -> dict[str, Any]:
    """Paint an image and return the stains, and their SDs where there are any."""
    output = bench.place(case) / f"out{suffix}"
    bench.said("predict", source(bench), "-o", output, "--device", "cpu", *options)
    beside = output.with_name(f"out.sd{suffix}")
    return {"stains": image(output), **({"sd": image(beside)} if beside.exists() else {})}


def of_data(name: str, bench: Bench) -> Path:
    """Return a file of the real data."""
    return bench.data / name


def of_field(bench: Bench) -> Path:
    """Return the brightfield of the first simulated field."""
    return bench.field()


def of_volume(bench: Bench) -> Path:
    """Return the brightfield of the simulated volume."""
    return bench.volume()


def of_coarse(bench: Bench) -> Path:
    """Return a simulated field of larger pixels."""
    made = bench.once("coarse", lambda path: bench.said("simulate", path, "--size", 128, "--pixel-size", 1.0, "--seed", 5, "--batch", 2))
    return made / "field_000" / "brightfield.ome.tif"


def predictions(models: list[str]) -> Iterator[Case]:
    """Paint with every model, in every way."""

    def case(name: str, source: Callable[[Bench], Path], *options: object, needs: str = "", **more: Any) -> Case:
        return f"predict/{name}", needs, lambda bench: predicted(f"predict/{name}", source, *options, bench=bench, **more)

    flat, deep = ("-m", SIMULATED), ("-m", "simulated-3d")
    for model in models:
        plane = ("--channels", "Brightfield 0 um") if model in ONE_PLANE else ()
        yield case(f"simulated/{model}", of_volume if model in VOLUMES else of_field, "-m", model, *plane)
        if model in REAL:
            needs = REAL[model].partition("/")[0]
            yield case(f"real/{model}", partial(of_data, REAL[model]), "-m", model, "--tile", 256, needs=needs)
    for name, (path, *options) in OTHERS.items():
        needs, by = path.partition("/")[0], ("-m", "jurkat-brightfield", "--channels", 0, "--tile", 256)
        yield case(f"other/{name}", partial(of_data, path), *by, *options, needs=needs)
    for blend in ("exact", "median", "gaussian"):
        yield case(f"blend/2d/{blend}", of_field, *flat, "--blend", blend, "--tile", 64)
        yield case(f"blend/3d/{blend}", of_volume, *deep, "--blend", blend, "--tile", 64)
    for turns in ("flips", "full"):
        yield case(f"tta/3d/{turns}", of_volume, *deep, "--tta", turns)
        for merge in ("mean", "median"):
            yield case(f"tta/2d/{turns}-{merge}", of_field, *flat, "--tta", turns, "--merge", merge)
    three = (*flat, "-m", f"{SIMULATED}-l1", "-m", f"{SIMULATED}-gan", "--ensemble")
    yield case("ensemble/mean", of_field, *three)
    yield case("ensemble/median-tta", of_field, *three, "--merge", "median", "--tta", "flips")
    yield case("several", of_field, "-m", f"{SIMULATED}:DNA,ER", "-m", f"{SIMULATED}-l1:Mito")
    yield case("zarr", of_field, *flat, suffix=".ome.zarr")
    yield case("resample", of_coarse, *flat, "--resample")
    yield case("bfloat16", of_field, *flat, "--precision", "bfloat16")
    yield case("channels", of_field, *flat, "--channels", "2,0,1")
    yield "predict/written/tiff", "", written_tiff
    yield "predict/written/zarr", "", written_zarr
    yield "predict/report", "", partial(told_by_predict, three)


def written_tiff(bench: Bench) -> Any:
    """Return the OME-XML of a painted image; its UUID is drawn anew each time."""
    output = bench.place("predict/written/tiff") / "out.ome.tif"
    bench.said("predict", bench.field(), "-m", SIMULATED, "-o", output, "--device", "cpu")
    root = ET.fromstring(tifffile.tiffcomment(output))
    root.attrib.pop("UUID", None)
    found = []
    for each in root.iter():
        text = (each.text or "").strip()
        found.append([each.tag, dict(each.attrib), json.loads(text) if text.startswith("{") else text])
    return found


def written_zarr(bench: Bench) -> Any:
    """Return the files and the metadata of a painted image."""
    output = bench.place("predict/written/zarr") / "out.ome.zarr"
    bench.said("predict", bench.volume(), "-m", "simulated-3d", "-o", output, "--device", "cpu")
    return {"files": files(output), "documents": documents(output)}


def told_by_predict(options: tuple[object, ...], bench: Bench) -> Any:
    """Return what predict tells of one model, and of an ensemble."""
    place = bench.place("predict/report")
    one = bench.json("predict", bench.field(), "-m", SIMULATED, "-o", place / "one.ome.tif", "--device", "cpu")
    several = bench.json("predict", bench.field(), *options, "--tta", "flips", "-o", place / "several.ome.tif", "--device", "cpu")
    return [one, several]


def simulations() -> Iterator[Case]:
    """Make fields of each kind."""
    chosen = {
        "control": (),
        "compact": ("--cell-type", "simulated-compact", "--treatment", "mitoxantrone", "--dose", 0.5),
        "spread": ("--cell-type", "simulated-spread", "--treatment", "actin-disruptor", "--batch", 3),
        "volume": ("--z", 9, "--treatment", "tubulin-disruptor", "--pixel-size", 0.5),
    }
    for name, options in chosen.items():
        yield f"simulate/{name}", "", partial(simulated, name, options)


def simulated(name: str, options: tuple[object, ...], bench: Bench) -> Any:
    """Return a simulated field, its table and what was told."""
    output = bench.place(f"simulate/{name}") / "out"
    told = bench.json("simulate", output, "--size", 128, "--seed", 11, *options)
    images = {name: image(output / name) for name in files(output) if name.endswith(".tif")}
    return {"told": told, "images": images, "table": (output / "fields.csv").read_text("utf-8")}


def plates() -> Iterator[Case]:
    """Make plates, open them, paint them, judge them."""
    yield "plate/simulated", "", lambda bench: {"images": plate_images(bench.plate()), "documents": documents(bench.plate())}
    yield "plate/default", "", lambda bench: of_painted(bench.painted_plate())
    yield "plate/default/written", "", plate_written
    yield "plate/one-worker", "", partial(plate_painted, "plate/one-worker", "out.zarr", ("--workers", 1))
    yield "plate/tiff", "", partial(plate_painted, "plate/tiff", "out", ("--workers", 2, "--wells", "A1:B2"))
    chosen = ("--workers", 1, "--wells", "A1,C4", "--tta", "flips", "--blend", "gaussian", "--tile", 96, "--no-scores")
    yield "plate/tta-gaussian", "", partial(plate_painted, "plate/tta-gaussian", "out.zarr", chosen)
    yield "plate/in-place", "", plate_in_place
    yield "plate/report", "", plate_report
    for layout in LAYOUTS:
        yield f"plate/layout/{layout}", "", partial(plate_of_layout, layout)
    for name in PLATES:
        yield f"plate/info/{Path(name).name}", "plates", partial(_json_of_data, "plates", name, "plate", "info")
    yield "evaluate/all", "", evaluated
    yield "evaluate/two", "", lambda bench: bench.json("evaluate", bench.field("stains"), bench.field("stains", 1))
    noise = ("--scale", "raw", "--noise", "estimate")
    yield "evaluate/noise", "", lambda bench: bench.json("evaluate", bench.field("stains"), bench.field("stains", 1), *noise)


def _json_of_data(folder: str, name: str, *command: object, bench: Bench) -> Any:
    return bench.json(*command, bench.data / folder / name)


def of_painted(output: Path, job: str = "") -> Any:
    """Return the pixels and scores of a painted plate."""
    folder = output.with_name(f"{output.name}{job}.job")
    return {"images": plate_images(output), "scores": table(folder / "scores.parquet")}


def plate_painted(case: str, name: str, options: tuple[object, ...], bench: Bench) -> Any:
    """Paint the plate; return its pixels and scores."""
    output = bench.place(case) / name
    bench.said("plate", "predict", bench.plate(), "-m", SIMULATED, "--device", "cpu", "-o", output, *options)
    return of_painted(output)


def plate_written(bench: Bench) -> Any:
    """Return the names of all files of a painted plate and its job, its metadata, and the job without paths of the code."""
    output = bench.painted_plate()
    job = output.with_name(f"{output.name}.job")
    rows = [json.loads(path.read_text("utf-8")) for path in sorted((job / "rows").glob("*.json"))]
    return {
        "files": files(output),
        "documents": documents(output),
        "job files": files(job),
        "job": json.loads((job / "job.json").read_text("utf-8")),
        "rows": rows,
    }


def plate_in_place(bench: Bench) -> Any:
    """Paint a copy of the plate in place."""
    plate = bench.place("plate/in-place") / "copy.zarr"
    copytree(bench.plate(), plate)
    bench.said("plate", "predict", plate, "-m", SIMULATED, "--device", "cpu", "--in-place", "--workers", 1, "--wells", "A1:B2")
    return {**of_painted(plate, f".{SIMULATED}"), "documents": documents(plate)}


def plate_report(bench: Bench) -> Any:
    """Return what is told of a plate when it is made again, opened and painted in two goes."""
    output = bench.place("plate/report") / "out.zarr"
    plate = bench.plate()
    paint = ("plate", "predict", plate, "-m", SIMULATED, "--device", "cpu", "--workers", 1, "-o", output)
    return [bench.json("plate", "info", plate), bench.json(*paint, "--wells", "A1:A2"), bench.json(*paint, "--wells", "A1:A3")]


def plate_of_layout(layout: str, bench: Bench) -> Any:
    """Make a small plate of a layout; return its files and what is said to be on it."""
    output = bench.place(f"plate/layout/{layout}") / "plate.zarr"
    told = bench.json("simulate", output, "--plate", "2x2", "--size", 64, "--seed", 3, "--layout", layout)
    painted = output.with_name("painted")
    bench.said("plate", "predict", output, "-m", SIMULATED, "--device", "cpu", "--workers", 1, "--wells", "A1,B2", "-o", painted)
    return {"told": told, "files": files(output), "info": bench.json("plate", "info", output), "painted": of_painted(painted)}


def evaluated(bench: Bench) -> Any:
    """Judge the painted plate at all levels; return the JSON and every table.

    The report's page is left out: it holds the time that it took.
    """
    output = bench.place("evaluate/all") / "REPORT"
    told = bench.json("evaluate", bench.painted_plate(), bench.plate(), "--level", "all", "-o", output)
    tables = {path.name: path.read_text("utf-8") for path in sorted((output / "tables").glob("*.csv"))}
    return {"told": told, "files": files(output), "tables": tables}


def cells() -> Iterator[Case]:
    """Measure, draw and walk among single cells."""
    yield "cells/measure/simulated", "", lambda bench: {"table": bench.cells().read_bytes()}
    yield "cells/measure/labels", "", partial(measured, "labels", lambda bench: bench.field("stains"), "--labels", "labels.ome.tif")
    montage = partial(of_data, "jurkat_flow/experiment_1_prophase_0001.ome.tif")
    yield "cells/measure/jurkat", "jurkat_flow", partial(measured, "jurkat", montage)
    for model in CELL_MODELS:
        yield f"cells/generate/{model}/vector", "", partial(generated, model, False, ".ome.tif")
        yield f"cells/generate/{model}/measured", "", partial(generated, model, True, ".ome.tif")
        yield f"cells/generate/{model}/png", "", partial(generated, model, False, ".png")
        yield f"cells/walk/{model}/stepwise", "", partial(walked, model, ("--to", 5, "--step", 100))
        yield f"cells/walk/{model}/line", "", partial(walked, model, ("--to", 7, "--along", "line", "--frames", 4))
    yield "cells/evaluate", "", cells_evaluated


def measured(name: str, source: Callable[[Bench], Path], *options: object, bench: Bench) -> Any:
    """Measure an image; return the table and what was told."""
    output = bench.place(f"cells/measure/{name}") / "cells.csv"
    told = bench.json("cells", "measure", source(bench), "-o", output, *options)
    return {"told": told, "table": output.read_bytes()}


def generated(model: str, real: bool, suffix: str, bench: Bench) -> Any:
    """Draw cells of a table that was measured, or of three vectors of two features, the others at their medians."""
    place = bench.place(f"cells/generate/{model}-{real}-{suffix[1:]}")
    vectors = place / "vectors.csv"
    vectors.write_text("Nuclei_AreaShape_Area,Cells_AreaShape_Area\n300,900\n500,1500\n200,700\n", encoding="utf-8")
    output = place / f"out{suffix}"
    told = bench.json("cells", "generate", model, bench.cells() if real else vectors, "-o", output)
    return {"told": told, "cells": output.read_bytes() if suffix == ".png" else image(output)}


def walked(model: str, options: tuple[object, ...], bench: Bench) -> Any:
    """Walk among the cells in a model's package, as intensities and as a film."""
    place = bench.place(f"cells/walk/{model}-{len(options)}")
    told = bench.json("cells", "walk", model, "--from", 0, *options, "-o", place / "out.ome.tif")
    bench.said("cells", "walk", model, "--from", 0, *options, "-o", place / "out.gif")
    return {"told": told, "frames": image(place / "out.ome.tif"), "film": (place / "out.gif").read_bytes()}


def cells_evaluated(bench: Bench) -> Any:
    """Score a model of cells on the simulated fields."""
    images = [bench.field("stains", number) for number in range(2)]
    return bench.json("cells", "evaluate", "simulated-cells", bench.cells(), *images, "--network", "cells")


def about_models(models: list[str]) -> Iterator[Case]:
    """Look at every model, carry one elsewhere, compare images with their training inputs."""
    yield "models/list", "", lambda bench: bench.json("models", "list")
    yield "models/online", "", lambda bench: bench.json("models", "list", "--online")
    for model in models:
        for action in ("show", "check"):
            yield f"models/{action}/{model}", "", partial(_json, "models", action, model)
        if model in REAL:
            path = REAL[model]
            yield f"domain/real/{model}", path.partition("/")[0], partial(_json_of_data, "", path, "domain", "-m", model)
        plane = ("--channels", "Brightfield 0 um") if model in ONE_PLANE else ()
        yield f"domain/simulated/{model}", "", partial(domain, model, plane)
    yield "models/export/zip", "", partial(exported, ".zip")
    yield "models/export/torchscript", "", partial(exported, ".pt")
    yield "models/domain", "", summarised
    yield "register/painted", "", registered
    yield "register/stains", "", registered_stains


def _json(*command: object, bench: Bench) -> Any:
    return bench.json(*command)


def domain(model: str, options: tuple[object, ...], bench: Bench) -> Any:
    """Compare simulated images with what a model learned from."""
    images = [bench.volume()] if model in VOLUMES else [bench.field(), bench.field(number=1), of_coarse(bench)]
    return bench.json("domain", *images, "-m", model, *options)


def exported(suffix: str, bench: Bench) -> Any:
    """Export a model, bring it back where it is a package, and paint with it."""
    output = bench.place(f"models/export{suffix}") / f"out{suffix}"
    told = bench.json("models", "export", "jurkat-brightfield", "-o", output)
    package = output
    if suffix == ".pt":
        package = output.with_name("back.zip")
        bench.json("models", "import", output, "--name", "Back", "--outputs", "DNA", "--inputs", "Brightfield", "-o", package)
    stains = predicted(f"models/export{suffix}/predict", of_field, "-m", package, "--channels", 1, bench=bench)
    return {"told": told, "shown": bench.json("models", "show", package), "stains": stains}


def summarised(bench: Bench) -> Any:
    """Summarise training inputs into a new package, and compare an image with them."""
    output = bench.place("models/domain") / "new.zip"
    told = bench.json("models", "domain", SIMULATED, "--images", bench.field(), bench.field(number=1), "-o", output)
    return [told, bench.json("domain", of_coarse(bench), "-m", output)]


def registered(bench: Bench) -> Any:
    """Find brightfield in a stain; return the matrix and the painted stains on the stain's grid."""
    output = bench.place("register/painted") / "laid.ome.tif"
    chosen = ("-m", SIMULATED, "--channel", "ER", "--painted", "--device", "cpu", "-o", output)
    told = bench.json("register", bench.field(), bench.field("stains"), *chosen)
    return {"told": told, "laid": image(output), "beside": json.loads(output.with_name("laid.json").read_text("utf-8"))}


def registered_stains(bench: Bench) -> Any:
    """Find a stain in another one, without a model."""
    output = bench.place("register/stains") / "laid.ome.zarr"
    chosen = ("--channel", "RNA", "--stain", "ER", "--fit", "rigid", "--rotation", 5)
    told = bench.json("register", bench.field("stains"), bench.field("stains"), *chosen, "-o", output)
    return {"told": told, "laid": image(output)}


def trainings() -> Iterator[Case]:
    """Train small models and a small study; look at what configurations may hold."""
    yield "train/pixel", "", partial(trained, "train/pixel", TRAIN)
    yield "train/cwgan-gp", "", partial(trained, "train/cwgan-gp", GAN)
    yield "train/check", "", trained_check
    yield "train/recipes", "", partial(_json, "train", "--recipes")
    yield "train/schema", "", lambda bench: schema(json.loads(bench.said("train", "--schema")))
    yield "cells/train", "", trained_cells
    yield "study/tiny", "", studied
    yield "study/schema", "", lambda bench: schema(json.loads(bench.said("study", "--schema")))


def schema(whole: dict[str, Any]) -> Any:
    """Return a JSON schema without what names and describes the code: titles, descriptions, and the names of its parts."""
    parts = whole.get("$defs", {})

    def inline(value: Any, above: tuple[str, ...]) -> Any:
        if isinstance(value, list):
            return [inline(item, above) for item in value]
        if not isinstance(value, dict):
            return value
        name = str(value.get("$ref", "")).rpartition("/")[2]
        if name:
            return "above" if name in above else inline(parts[name], (*above, name))
        # A field may itself be called title or description: then what stands there is a schema, and no text.
        told = {key for key in ("title", "description") if isinstance(value.get(key), str)}
        left = {key: inline(item, above) for key, item in value.items() if key not in {"$defs", "discriminator", *told}}
        return left

    return inline(whole, ())


def configured(case: str, values: dict[str, Any], bench: Bench) -> Path:
    """Write a configuration; JSON is YAML, too."""
    path = bench.place(case) / "run.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def trained(case: str, values: dict[str, Any], bench: Bench) -> Any:
    """Train; return the scores, the curve, the card and what the model paints."""
    config = configured(case, values, bench)
    told, package = bench.json("train", config), config.with_name("tiny.zip")
    stains = predicted(f"{case}/predict", of_field, "-m", package, bench=bench)
    curve = next(config.parent.rglob("curve.csv")).read_text("utf-8")
    return {"told": told, "curve": curve, "shown": bench.json("models", "show", package), "stains": stains}


def trained_check(bench: Bench) -> Any:
    """Look at pairs of which one is shifted."""
    place = bench.place("train/check")
    values = {**TRAIN, "data": {"folder": "pairs", "input": "*_in.ome.tif", "target": "*_out.ome.tif", "target_channels": ["DNA"]}}
    (place / "pairs").mkdir()
    for number in range(2):
        (place / "pairs" / f"{number}_in.ome.tif").write_bytes(bench.field(number=number).read_bytes())
        (place / "pairs" / f"{number}_out.ome.tif").write_bytes(bench.field("stains", 0).read_bytes())
    return bench.json("train", configured("train/check", values, bench), "--check")


def trained_cells(bench: Bench) -> Any:
    """Train a model of cells; return the scores, the curve and what it draws."""
    config = configured("cells/train", TRAIN_CELLS, bench)
    told, output = bench.json("cells", "train", config), config.with_name("drawn.ome.tif")
    bench.said("cells", "generate", config.with_name("tiny.zip"), bench.cells(), "-o", output)
    return {"told": told, "curve": next(config.parent.rglob("curve.csv")).read_text("utf-8"), "cells": image(output)}


def studied(bench: Bench) -> Any:
    """Run a small study; return what it tells and its tables."""
    config = configured("study/tiny", STUDY, bench)
    check, told = bench.json("study", config, "--check"), bench.json("study", config)
    output = config.parent / "out"
    return {"check": check, "told": told, "tables": {path.name: path.read_text("utf-8") for path in sorted(output.glob("*.csv"))}}


def _given(text: str, bench: Bench) -> str:
    return text


def helps(bench: Bench) -> Iterator[Case]:
    """Show the help of every command and of every action of it, found in the help itself."""

    def walk(command: tuple[str, ...]) -> Iterator[Case]:
        text = bench.said(*command, "--help")
        yield "/".join(("help", *command)), "", partial(_given, text)
        for action in re.findall(r"^ {4}([a-z][a-z-]*)(?: {2,}|$)", text, re.MULTILINE):
            yield from walk((*command, action))

    yield from walk(())
    yield "help/version", "", lambda bench: bench.ended("--version")[0]


def errors() -> Iterator[Case]:
    """Ask for what can't be done: exit codes and sentences."""
    field = of_field
    given: dict[str, Callable[[Bench], tuple[object, ...]]] = {
        "no-command": lambda bench: (),
        "unknown-command": lambda bench: ("predcit",),
        "no-arguments": lambda bench: ("predict",),
        "no-file": lambda bench: ("predict", "missing.tif", "-m", SIMULATED, "-o", "x.ome.tif"),
        "no-model": lambda bench: ("predict", field(bench), "-m", "simulated-cell-paintng", "-o", "x.ome.tif"),
        "suffix": lambda bench: ("predict", field(bench), "-m", SIMULATED, "-o", "x.png"),
        "too-few-channels": lambda bench: ("predict", field(bench), "-m", SIMULATED, "--channels", "0", "-o", "x.ome.tif"),
        "unknown-channel": lambda bench: ("predict", field(bench), "-m", SIMULATED, "--channels", "a,b,c", "-o", "x.ome.tif"),
        "unknown-stain": lambda bench: ("predict", field(bench), "-m", f"{SIMULATED}:DAN", "-o", "x.ome.tif"),
        "no-such-package": lambda bench: ("models", "check", "missing.zip"),
        "broken-package": lambda bench: ("models", "check", bench.cells(), "--json"),
        "other-sizes": lambda bench: ("evaluate", field(bench), of_coarse(bench)),
        "no-level": lambda bench: ("evaluate", field(bench), field(bench), "-o", "REPORT"),
        "no-plate": lambda bench: ("plate", "info", "missing.zarr"),
        "no-plate-in-place": lambda bench: ("plate", "predict", field(bench), "-m", SIMULATED, "--in-place"),
        "no-cells-model": lambda bench: ("cells", "generate", "nobody", bench.cells(), "-o", "x.ome.tif"),
        "no-such-rows": lambda bench: ("cells", "generate", "jurkat-cells", bench.cells(), "--rows", "900:", "-o", "x.ome.tif"),
        "no-configuration": lambda bench: ("train",),
        "unknown-field": lambda bench: ("train", configured("errors/unknown-field", {**TRAIN, "stpes": 3}, bench)),
        "wrong-study": lambda bench: ("study", configured("errors/wrong-study", {**STUDY, "levels": ["pixel"]}, bench), "--check"),
        "elsewhere": lambda bench: ("register", of_coarse(bench), bench.field("stains"), "--channel", "DNA", "--stain", "0"),
    }
    for name, arguments in given.items():
        yield f"errors/{name}", "", partial(refused, arguments)


def refused(arguments: Callable[[Bench], tuple[object, ...]], bench: Bench) -> Any:
    """Return the exit code and the program's own lines, without progress."""
    code, out, words = bench.ended(*arguments(bench))
    lines = [line for line in words.splitlines() if line.startswith("virtual-paint") and not re.search(r": \d+ %, about", line)]
    return {"code": code, "stdout": out, "stderr": lines}


def all_cases(bench: Bench) -> Iterator[Case]:
    """Yield every case; the slow ones first, so that none is waited for at the end."""
    models = [each["id"] for each in bench.json("models", "list")["models"]]
    yield from plates()
    yield from trainings()
    yield from cells()
    yield from predictions(models)
    yield from simulations()
    yield from about_models(models)
    yield from errors()
    yield from helps(bench)
