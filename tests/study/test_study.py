"""Studies of generalisation: their configuration, their units stopped and gone on with, their tables."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError, VirtualPaintError
from napari_virtual_paint.models import open_model
from napari_virtual_paint.plates.simulation.design import PlateDesign
from napari_virtual_paint.runtime.generators import run_to_end
from napari_virtual_paint.runtime.progress import Progress
from napari_virtual_paint.runtime.worker_pool import WorkerPool
from napari_virtual_paint.samples import CELL_TYPES, TREATMENTS, SimulationSettings, simulate_field
from napari_virtual_paint.samples.settings import STANDARD, effect_of
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.study import executors, run, units
from napari_virtual_paint.study.config import StudyConfig, load_study, schema
from napari_virtual_paint.study.run import StudyResult, study
from napari_virtual_paint.study.tables import as_matrix, matrices
from napari_virtual_paint.study.units import TestUnit, TrainingUnit, all_units, check_apart, flat, painted
from napari_virtual_paint.training.config.data import Data
from napari_virtual_paint.training.config.run import TrainConfig
from napari_virtual_paint.training.data.find import find
from napari_virtual_paint.training.data.split import held_out, trained_on
from napari_virtual_paint.writing import write
from small_models import write_toy
from small_training import TOY
from worker_tasks import fork

pytest.importorskip("lightning", reason="training needs the extra train (Lightning)")
pytest.importorskip("plotly", reason="the report needs the extra evaluate")

STUDY: dict[str, Any] = {
    "name": "toy",
    "output": "out",
    "domains": {
        "compact": {"simulate": {"fields": 4, "size": 64, "cell_type": "simulated-compact"}},
        "spread, toxic": {
            "simulate": {"fields": 4, "size": 64, "cell_type": "simulated-spread", "treatments": ["mitoxantrone"], "seed": 9}
        },
    },
    "training": {
        **{name: TOY[name] for name in ("network", "patch", "batch", "device", "threads")},
        "data": {"target_channels": ["DNA", "ER"]},
        "split": {"validation": 0.25, "test": 0.25},
        "steps": 2,
        "epoch": 1,
    },
    "seeds": [0],
    "sizes": [1],
}


def config_of(folder: Path, **changes: Any) -> StudyConfig:
    folder.mkdir(exist_ok=True)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
    return load_study(path)


def to_end(steps: Any, seen: list[Progress] | None = None) -> StudyResult:
    return run_to_end(steps, None if seen is None else seen.append)


def tables(result: StudyResult) -> tuple[str, str]:
    return (result.files["scores"].read_text(), result.files["matrices"].read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    """A study that was never stopped."""
    return to_end(study(config_of(tmp_path_factory.mktemp("whole")), workers=0))


def test_every_model_is_tested_on_every_domain(whole: StudyResult) -> None:
    assert (whole.finished, whole.existing) == (4, 0)
    names = ["compact", "spread, toxic"]
    assert set(zip(whole.scores["train"], whole.scores["test"], strict=True)) == {(a, b) for a in names for b in names}
    assert {"DNA", "ER"} == set(whole.scores["stain"])
    pcc = whole.scores[(whole.scores["metric"] == "pcc") & (whole.scores["stain"] == "DNA")].set_index(["train", "test"])["value"]
    assert pcc.nunique() == 4
    found = as_matrix(whole.config, whole.matrices, {"level": "pixels", "metric": "pcc", "stain": "DNA"}, "difference")
    assert found.loc["compact", "compact"] == 0 == found.loc["spread, toxic", "spread, toxic"]
    assert found.loc["compact", "spread, toxic"] == pytest.approx(pcc["compact", names[1]] - pcc[names[1], names[1]])
    assert whole.images == {name: {"train": 2, "validation": 1, "test": 1} for name in names}
    told = json.loads((whole.config.output / "report.json").read_text())
    assert told["matrices"][0]["difference_sd"] is None  # one seed has no spread
    assert "spread, toxic" in (whole.config.output / "report.html").read_text()
    assert whole.files["matrices-pixels"].stat().st_size > 1000


def test_a_study_that_was_killed_goes_on_and_ends_with_the_same_tables(
    whole: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_virtual_paint.training import run as training

    monkeypatch.setattr("napari_virtual_paint.study.figures.draw", lambda *_: {})
    config = config_of(tmp_path)
    saved: list[Path] = []
    real, really = training._save, units._save

    def die_in_training(folder: Path, module: Any) -> None:
        real(folder, module)
        saved.append(folder)
        if len(saved) == 3:  # the second model's first epoch
            raise SystemError

    def die_in_writing(path: Path, values: Any) -> None:
        (path.parent / f".{path.name}.partial").write_text('{"rows": [')
        raise SystemError

    monkeypatch.setattr(training, "_save", die_in_training)
    with pytest.raises(SystemError):
        to_end(study(config, workers=0))
    monkeypatch.setattr(training, "_save", real)
    monkeypatch.setattr(units, "_save", die_in_writing)
    with pytest.raises(SystemError):
        to_end(study(config, workers=0))
    monkeypatch.setattr(units, "_save", really)
    assert sorted(path.name for path in config.output.glob("trainings/[!.]*")) == ["compact-1-s0.json"]
    seen: list[Progress] = []
    result = to_end(study(config, workers=0), seen)
    assert (result.finished, result.existing) == (3, 1)
    assert "1 of 4" in seen[0].message
    assert [step.done for step in seen] == sorted(step.done for step in seen)
    assert seen[-1].done == pytest.approx(seen[-1].total)
    assert tables(result) == tables(whole)


def test_a_cluster_gives_the_same_tables_and_seeds_may_be_added(
    whole: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("napari_virtual_paint.study.figures.draw", lambda *_: {})
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, memory_limit=0) as cluster:
        result = to_end(study(config_of(tmp_path), scheduler=cluster.scheduler_address))
    assert tables(result) == tables(whole)
    more = config_of(tmp_path, seeds=[0, 1])
    assert len([unit for unit in all_units(more) if not unit.is_done(more)]) == 4
    changed = config_of(tmp_path, training={**STUDY["training"], "loss": "mse"})
    with pytest.raises(InputError, match=r"started with other settings \(domains.compact, domains.spread, toxic\)"):
        next(study(changed, workers=0))
    with run._lock(more), pytest.raises(InputError, match="by another run"):
        next(study(more, workers=0))


def test_differences_and_their_spread_by_hand(tmp_path: Path) -> None:
    config = config_of(tmp_path, seeds=[0, 1])
    values = {("compact", "compact"): (0.9, 0.8), ("spread, toxic", "compact"): (0.5, 0.6)}
    rows = [
        {"train": train, "test": test, "seed": seed, "size": "1", "level": "pixels", "stain": "DNA", "metric": "pcc", "value": value}
        for (train, test), scores in values.items()
        for seed, value in enumerate(scores)
    ]
    found = matrices(config, pd.DataFrame(rows)).set_index("train")
    assert found.loc["spread, toxic", ["n", "mean", "difference"]].tolist() == pytest.approx([2, 0.55, -0.3])
    assert found.loc["spread, toxic", "difference_sd"] == pytest.approx(np.std([-0.4, -0.2], ddof=1))
    assert found.loc["compact", ["difference", "difference_sd"]].tolist() == [0, 0]
    assert found["undefined"].tolist() == [0, 0]
    assert matrices(config, pd.DataFrame(rows[:-1]))["undefined"].tolist() == [0, 1]  # no value for a seed: painted as one value
    named = matrices(config.model_copy(update={"baseline": "spread, toxic"}), pd.DataFrame(rows)).set_index("train")
    assert named.loc["compact", "difference"] == pytest.approx(0.3)


def test_images_are_taken_by_what_is_known_of_them() -> None:
    simulate = {"fields": 6, "size": 64, "treatments": ["control", "mitoxantrone"], "doses": [0.2, 1.0, 2.0]}

    def names(**where: Any) -> list[str]:
        return [source.name[-1] for source in find(Data(simulate=simulate, where=where))]

    assert names(treatment="Mitoxantrone") == ["1", "3", "5"]
    assert names(dose={"min": 1}) == ["2", "3", "4", "5"]
    assert names(dose=[0.2, 2], treatment="control") == ["0", "4"]
    with pytest.raises(InputError, match=r"no image has such a dose; there are 0\.2, 1, 2"):
        names(dose={"min": 3})
    with pytest.raises(InputError, match="no image has the column moa; known are treatment, dose, batch, cell_type"):
        names(moa="x")


def test_images_of_a_smaller_number_are_among_those_of_a_larger(tmp_path: Path) -> None:
    domains = {name: {"simulate": {"fields": 12, "size": 64, "seed": seed}} for name, seed in (("a", 0), ("b", 50))}
    config = config_of(tmp_path, domains=domains, sizes=[2, 5, "all"])

    def trained(size: int | str, seed: int = 0) -> set[str]:
        told = config.train_config("a", seed, size)
        sources = find(told.data)
        held = held_out(sources, told.split, told.seed)
        return {source.name for source in trained_on(sources, held, told.split, told.seed)} - held["test"] - held["validation"]

    assert trained(2) < trained(5) < trained("all")
    assert (len(trained(2)), len(trained(5))) == (2, 5)
    assert trained(5, seed=1) == trained(5)


def test_numbers_of_a_section() -> None:
    section = {"DNA": {"pcc": 0.5, "n": 2, "name": "x", "none": None, "foreground": {"pcc": np.float32(0.25)}}, "n": 7, "flag": True}
    assert list(flat(section)) == [("DNA", "pcc", 0.5), ("DNA", "n", 2.0), ("DNA", "foreground_pcc", 0.25), ("", "n", 7.0)]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("threads: 1", "thread: 1", r"training.thread: no such field, perhaps threads is meant \(line \d+\)"),
        ("fields: 4", "fields: none", r"domains.compact.simulate.fields: .* not 'none' \(line \d+\)"),
        ("test: 0.25", "by: batch", "nothing is held out to test on"),
        ("batch: 2", "batch: 2\n  seed: 3", r"training.seed: a study gives this itself"),
        ("sizes:\n- 1", "sizes:\n- most", r"sizes.0: should be 'all', not 'most' \(line \d+\)"),
        ("seeds:\n- 0", "seeds:\n- 0\n- 0", "seeds: list each once"),
        ("sizes:", "baseline: lung\nsizes:", "'lung' is neither 'own' nor a domain"),
        ("spread, toxic:", "Compact:", "two names differ in signs alone"),
        ("patch:\n  - 32", "patch:\n  - 32\n  - 32", "patch must have 2 numbers"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = yaml.safe_dump(STUDY, sort_keys=False)
    assert old in text
    (tmp_path / "study.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        load_study(tmp_path / "study.yaml")


def test_a_recipe_and_what_a_domain_says_of_itself(tmp_path: Path) -> None:
    domains = {**STUDY["domains"], "whole": {"simulate": {"fields": 3, "size": 64, "seed": 50}, "split": {"test": 0.5}}}
    training = {"recipe": "fnet-2d", "split": {"test": 0.25}, "data": {"target_channels": ["DNA"]}}
    config = config_of(tmp_path, domains=domains, training=training)
    told = config.train_config("whole", 3, 5)
    assert (told.network.architecture, told.steps, told.seed) == ("FNet", 250000, 3)
    assert told.data.resample == (0.29, 0.29, 0.29)
    assert (told.split.test, told.split.validation, told.split.train, told.split.seed) == (0.5, 0.2, 5, 0)
    assert told.data.simulate is not None
    assert told.data.simulate.fields == 3
    assert set(schema()["$defs"]["Training"]["properties"]).isdisjoint({"seed", "output", "refit"})


def test_the_published_studies_are_valid() -> None:
    recipes = sorted((Path(__file__).parents[2] / "docs" / "recipes").glob("study-*.yaml"))
    assert len(recipes) == 3
    for path in recipes:
        assert load_study(path).output.name == path.stem.removeprefix("study-")


def test_no_domain_is_tested_on_what_another_learns_from(tmp_path: Path) -> None:
    assert check_apart(config_of(tmp_path))["compact"] == {"train": 2, "validation": 1, "test": 1}
    mixed = {"simulate": {"fields": 4, "size": 64, "cell_type": "simulated-compact"}, "split": {"seed": 1}}
    with pytest.raises(InputError, match="is trained on in 'compact' and tested on in 'mixed'"):
        check_apart(config_of(tmp_path, domains={"compact": STUDY["domains"]["compact"], "mixed": mixed}))
    with pytest.raises(InputError, match="sizes asks for 3 images, but only 2 are left"):
        check_apart(config_of(tmp_path, sizes=[3]))


def test_the_command_says_what_it_would_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config_of(tmp_path)
    assert main(["study", str(tmp_path / "study.yaml"), "--check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trainings"], told["tests"], told["left"]) == (2, 2, 4)
    assert main(["study", str(tmp_path / "nothing.yaml")]) == 2
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True)
class Deed:
    """A unit that does what a test tells it."""

    key: str
    folder: Path

    def run(self, config: StudyConfig) -> Iterator[float]:
        tries = len(list(self.folder.glob(f"{self.key}*")))
        (self.folder / f"{self.key}.{tries}").touch()
        if self.key == "dies" and tries == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.key == "fails":
            raise ValueError("of a library")
        while self.key == "lasts":
            time.sleep(0.01)
        yield 1.0


def wait_for_one(executor: executors.Executor) -> None:
    while not executor.finished():
        pass


def test_a_process_that_dies_is_replaced_and_a_stop_leaves_none(tmp_path: Path) -> None:
    executor = executors.PoolExecutor(config_of(tmp_path), WorkerPool(2, start=fork, retries=2))
    executor.submit(Deed("dies", tmp_path))  # type: ignore[arg-type]
    wait_for_one(executor)
    assert len(list(tmp_path.glob("dies*"))) == 2
    executor.submit(Deed("lasts", tmp_path))  # type: ignore[arg-type]
    executor.submit(Deed("fails", tmp_path))  # type: ignore[arg-type]
    assert not executor.has_room()
    with pytest.raises(VirtualPaintError, match="fails: an unexpected error, ValueError: of a library"):
        wait_for_one(executor)
    processes = [worker.process for worker in executor.pool._workers]
    assert len(processes) == 2
    began = time.monotonic()
    executor.stop()
    assert time.monotonic() - began < 60
    assert not any(process.is_alive() for process in processes)


def test_tests_wait_for_their_models(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    every = all_units(config)
    first, second = TrainingUnit("compact", 1, 0), TrainingUnit("spread, toxic", 1, 0)
    assert executors.ready(every, set(), set(), config) == [first, second]
    assert executors.ready(every, {second}, {first}, config) == []
    assert executors.ready(every, set(), {first, second}, config) == [TestUnit("compact", 1, 0), TestUnit("spread, toxic", 1, 0)]


def test_the_standard_cells_are_as_they_were_and_the_others_differ() -> None:
    plain = SimulationSettings(treatment="mitoxantrone", dose=0.7)
    assert plain.effect == TREATMENTS["mitoxantrone"].at(effect_of(0.7))
    counts = {}
    for name in CELL_TYPES:
        labels = simulate_field(SimulationSettings(size=256, seed=4, cell_type=name)).labels["cell"]
        counts[name] = len(np.unique(labels)) - 1
    assert counts["simulated-compact"] > 1.5 * counts[STANDARD] > 2 * counts["simulated-spread"]
    with pytest.raises(InputError, match="Cell type 'lung' is not known; choose one of simulated-standard"):
        replace(plain, cell_type="lung")


def test_a_plate_tells_a_type_of_cell_that_is_not_the_standard_one() -> None:
    design = PlateDesign((1, 2), size=64)
    assert "cell_type" not in design.columns
    assert "cell_type" not in design.parameters
    spread = PlateDesign((1, 2), size=64, cell_type="simulated-spread")
    assert spread.settings(spread.all_fields[0]).cell_type == "simulated-spread"
    assert spread.metadata["A01"]["cell_type"] == "simulated-spread"
    assert spread.parameters["cell_type"] == "simulated-spread"


def test_channels_and_stains_of_models_and_images_pair_by_name(tmp_path: Path) -> None:
    """A domain whose files name their channels in another order is painted from and scored against the right ones."""
    toy = write_toy(tmp_path / "toy", channels=("Brightfield", "Phase", "DIC"), planes_as_channels=False, z_offsets=None)
    model = open_model(toy)
    pixels = np.random.default_rng(0).integers(0, 4000, (5, 32, 32)).astype(np.uint16)
    for name, order in (("a", [0, 1, 2, 3, 4]), ("b", [2, 4, 0, 1, 3])):
        names = ("Brightfield", "Phase", "DIC", "DNA", "ER") if name == "a" else ("Nomarski", "ConA", "BF", "Phase", "Hoechst 33342")
        write(Stack(pixels[order][None, :, None], names), tmp_path / f"{name}.ome.tif")
    values = {
        **STUDY["training"],
        "id": "tiny",
        "output": "x",
        **dict.fromkeys(("name", "description", "trained_on", "not_for"), "tiny model"),
    }
    found = {}
    for name in "ab":
        config = TrainConfig.model_validate({**values, "data": {"folder": tmp_path, "image": f"{name}*.ome.tif"}})
        (images,) = painted(find(config.data)[0], config, {"toy": model})
        found[name] = {stain: (images.truth[i], images.predictions["toy"][i]) for i, stain in enumerate(images.stains)}
    assert set(found["b"]) == {"ConA", "Hoechst 33342"}
    for one, other in (("DNA", "Hoechst 33342"), ("ER", "ConA")):
        for mine, theirs in zip(found["a"][one], found["b"][other], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_domains_of_other_stains_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    for name, stains in (("one", ("DNA", "ER")), ("two", ("DNA", "RNA"))):
        (tmp_path / name).mkdir()
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 4000, (1, 3, 1, 32, 32)).astype(np.uint16)
            write(Stack(pixels, ("BF", *stains)), tmp_path / name / f"{name}{number}.ome.tif")
    domains = {name: {"folder": name, "image": "*.ome.tif"} for name in ("one", "two")}
    training = {**STUDY["training"], "data": {}}
    with pytest.raises(InputError, match=r"the stains of one \(DNA, ER\) and of two \(DNA, RNA\) can't be paired by name"):
        check_apart(config_of(tmp_path, domains=domains, training=training))
    check_apart(config_of(tmp_path, domains={**domains, "two": {**domains["two"], "synonyms": {"ER": ["RNA"]}}}, training=training))


def test_a_study_goes_on_only_with_its_images(tmp_path: Path) -> None:
    for name in "ab":
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 4000, (1, 2, 1, 32, 32)).astype(np.uint16)
            write(Stack(pixels, ("BF", "DNA")), tmp_path / f"{name}{number}.ome.tif")
    domains = {name: {"folder": ".", "image": f"{name}*.ome.tif"} for name in "ab"}
    config = config_of(tmp_path, domains=domains, training={**STUDY["training"], "data": {}})
    config.output.mkdir()
    run._begin(config)
    run._begin(config)
    asked = config.output / run.ASKED
    stored = json.loads(asked.read_text())
    write(Stack(pixels + 1, ("BF", "DNA")), tmp_path / "b1.ome.tif", overwrite=True)
    with pytest.raises(InputError, match=r"tables or images have changed since this study was started \(domains\.b\)"):
        run._begin(config)
    stored["asked"] = {name: value for name, value in stored["asked"].items() if not name.endswith(".images")}
    asked.write_text(json.dumps(stored))
    run._begin(config)  # begun by an earlier version
