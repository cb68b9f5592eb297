"""The frame of evaluation: run, stopped, gone on with; files, failures, processes. Levels are toys here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

import evaluation_folders as toys
from evaluation_folders import PLACES, STAINS, folders, judge, save, truth_of
from napari_virtual_paint.choices import LEVELS
from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError, ReadError
from napari_virtual_paint.evaluation import EvaluationSettings
from napari_virtual_paint.evaluation.engine import EvaluationProgress, evaluate
from napari_virtual_paint.evaluation.report.build import LEVELS as HEADINGS
from napari_virtual_paint.evaluation.run.tasks import MODULES, level_at


def test_report_has_everything(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    report = judge({"good": painted, "itself": truth}, truth, tmp_path / "report", levels=("toy", "sum"))
    told = json.loads((tmp_path / "report" / "report.json").read_text())
    assert told == report.to_json()
    assert (told["level"], told["fields"], told["predictions"]) == ("toy,sum", 3, ["good", "itself"])
    assert told["toy"]["away"] < 1  # a linear map of the truth comes back but for rounding
    assert told["toy"]["nothing"] is None
    assert told["also"]["itself"]["toy"]["away"] == 0
    assert told["deltas"] == [{"level": "toy", "prediction": "itself", "delta": -told["toy"]["away"]}]
    assert told["sum"]["sum"] > 0
    means = pd.read_csv(tmp_path / "report" / "tables" / "toy_means.csv")
    assert set(means["source"]) == {"truth", "good", "itself"}
    assert "Nuclei_Mean" in pd.read_parquet(tmp_path / "report" / "profiles.parquet")
    about = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert about["predictions"] == {"good": str(painted), "itself": str(truth)}
    assert about["fields"]["one"]["predictions"]["good"] == "one"
    assert "A toy." in told["notes"]
    assert (tmp_path / "report" / "report.html").stat().st_size > 1000
    assert not (tmp_path / "report" / "failed.csv").exists()


def test_stopped_and_gone_on_with(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    toys.seen.clear()
    running = evaluate({"": painted}, truth, ("toy",), output=tmp_path / "r", settings=EvaluationSettings(workers=1), places=PLACES)
    for step in running:
        if step.field:
            break
    running.close()
    assert toys.seen == ["one"]
    (tmp_path / "r" / ".fields" / ".left.partial").write_text("half")
    (tmp_path / "r" / ".fields" / f"part.000002.{32 * 'a'}.json").write_text("{")  # a power cut
    whole = judge(painted, truth, tmp_path / "r").to_json()
    assert toys.seen == ["one", "three", "two"] or toys.seen == ["one", "two", "three"]
    assert whole == judge(painted, truth, tmp_path / "other").to_json()
    assert not (tmp_path / "r" / ".fields" / ".left.partial").exists()


def test_small_fields_are_evaluated_and_stored_together(tmp_path: Path) -> None:
    names = tuple(f"f{number:02d}" for number in range(9))
    painted, truth = folders(tmp_path, names)
    (painted / "f04.ome.tif").write_bytes(b"II*\0" + b"\0" * 60)
    (truth / "f05.ome.tif").unlink()
    save(truth / "f05.ome.tif", np.zeros((2, 24, 24), np.uint16))  # of which the level makes an error
    toys.seen.clear()
    steps: list[EvaluationProgress] = []
    report = judge(painted, truth, tmp_path / "r", steps)
    assert list(report.failed["field"]) == ["f04", "f05"]
    assert toys.seen == [name for name in names if name != "f04"]
    assert [step.field for step in steps if step.field] == list(names)
    assert len(list((tmp_path / "r" / ".fields").glob("part.*.toy_means.arrow"))) == 4  # two fields each, none of f04 and f05
    # Changed fields are stored anew; the order and the other fields' rows stay.
    before = report.findings["toy"].tables["toy_means"]
    for name in ("f01", "f07"):
        (painted / f"{name}.ome.tif").unlink()
        save(painted / f"{name}.ome.tif", truth_of(20))
    toys.seen.clear()
    after = judge(painted, truth, tmp_path / "r").findings["toy"].tables["toy_means"]
    assert toys.seen == ["f01", "f05", "f07"]
    assert after["field"].tolist() == before["field"].tolist()
    changed = (after["mean"] != before["mean"]) & (after["source"] != "truth")
    assert set(after["field"][changed]) == {"f01", "f07"}


def test_results_that_an_earlier_version_stored_are_evaluated_again(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    whole = judge(painted, truth, tmp_path / "r").to_json()
    folder = tmp_path / "r" / ".fields"
    for part in folder.glob("part.*"):
        part.unlink()
    former = [folder / "a.b%2F0.toy.json", folder / "a.b%2F0.toy.toy_means.parquet"]
    for file in former:
        file.write_text("{}")
    toys.seen.clear()
    steps: list[EvaluationProgress] = []
    assert judge(painted, truth, tmp_path / "r", steps).to_json() == whole
    assert len(toys.seen) == 3
    assert sum("stored by an earlier version" in step.message for step in steps) == 1
    assert not any(file.exists() for file in former)


def test_finished_report_is_read_back(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    first = judge(painted, truth, tmp_path / "r")
    page = (tmp_path / "r" / "report.html").stat().st_mtime_ns
    toys.seen.clear()
    again = judge(painted, truth, tmp_path / "r")
    assert toys.seen == []
    assert again.to_json() == first.to_json()
    assert (tmp_path / "r" / "report.html").stat().st_mtime_ns == page
    picture = again.findings["toy"].figures[0].images[0]
    assert picture[:2] == ("truth", "first field")
    assert np.array_equal(picture[2], first.findings["toy"].figures[0].images[0][2])
    assert again.findings["toy"].headline == first.findings["toy"].headline


def test_changed_image_is_judged_again(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    before = judge(painted, truth, tmp_path / "r").to_json()
    (painted / "two.ome.tif").unlink()
    save(painted / "two.ome.tif", np.random.default_rng(9).normal(size=(2, 24, 24)).astype(np.float32) ** 3)
    toys.seen.clear()
    after = judge(painted, truth, tmp_path / "r").to_json()
    assert toys.seen == ["two"]
    assert after["toy"]["away"] > before["toy"]["away"]


def test_damaged_field_is_a_row(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    (painted / "two.ome.tif").write_bytes(b"II*\0" + b"\0" * 60)
    save(truth / "zero.ome.tif", np.zeros((2, 24, 24), np.uint16))
    save(painted / "zero.ome.tif", np.zeros((2, 24, 24), np.uint16))
    (painted / "three.ome.tif").unlink()
    save(painted / "three.ome.tif", truth_of(2, size=20))
    steps: list[EvaluationProgress] = []
    report = judge(painted, truth, tmp_path / "r", steps)
    failed = pd.read_csv(tmp_path / "r" / "failed.csv").set_index("field")
    assert list(failed.index) == ["three", "two", "zero"]
    assert "20 rows and the truth 24" in failed.loc["three", "reason"]
    assert failed.loc["zero", "level"] == "toy"
    assert "ZeroDivisionError" in (tmp_path / "r" / ".fields" / "zero.error.txt").read_text()
    assert (report.to_json()["failed"], report.to_json()["toy"]["n"]) == (3, 2)
    assert [step.field for step in steps if step.failed] == ["three", "two", "zero"]
    assert steps[-1].done == pytest.approx(steps[-1].total)


def test_only_damaged_fields_are_an_error(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path, ("one", "two"))
    for file in painted.iterdir():
        file.unlink()
        save(file, truth_of(0, size=20))
    with pytest.raises(InputError, match=r"None of the 2 fields can be evaluated; the first, one: .*20 rows"):
        judge(painted, truth, tmp_path / "r")
    assert judge(truth, truth, tmp_path / "r", fields=("one",)).fields == 1  # a question that came to nothing is no obstacle


def test_another_question_is_refused(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    judge(painted, truth, tmp_path / "r")
    with pytest.raises(InputError, match=r"another evaluation \(gamma was 0\.3 and is now 0\.5\)"):
        judge(painted, truth, tmp_path / "r", settings=EvaluationSettings(gamma=0.5))
    with pytest.raises(InputError, match="would replace the input"):
        judge(painted, truth, truth)


def test_nothing_kept_without_output(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    before = set(tmp_path.rglob("*"))
    assert judge(painted, truth, None).output is None
    assert set(tmp_path.rglob("*")) == before


def test_time_points_are_fields(tmp_path: Path) -> None:
    series = np.stack([truth_of(i)[:, None] for i in range(3)])
    save(tmp_path / "truth.ome.tif", series)
    save(tmp_path / "painted.ome.tif", series.astype(np.float32))
    report = judge(tmp_path / "painted.ome.tif", tmp_path / "truth.ome.tif", tmp_path / "r")
    means = report.findings["toy"].tables["toy_means"]
    assert sorted(set(means["field"])) == ["truth/t0", "truth/t1", "truth/t2"]
    assert report.fields == 1


def test_missing_stain_is_left_out(tmp_path: Path) -> None:
    save(tmp_path / "truth.ome.tif", truth_of(0))
    save(tmp_path / "painted.ome.tif", truth_of(0)[1:], ("er",))
    report = judge(tmp_path / "painted.ome.tif", tmp_path / "truth.ome.tif", None)
    assert report.context.stains == ("ER",)
    assert any("DNA" in note for note in report.notes)
    save(tmp_path / "third.ome.tif", truth_of(0)[:1], ("DNA",))
    with pytest.raises(InputError, match="No stain is in the truth and in all of the predictions"):
        judge({"a": tmp_path / "painted.ome.tif", "b": tmp_path / "third.ome.tif"}, tmp_path / "truth.ome.tif", None)


def test_stains_pair_by_name_in_every_field(tmp_path: Path) -> None:
    """Later files that name their stains in another order, or by other names, are scored against the right ones."""
    names = {"one": STAINS, "two": STAINS[::-1], "three": ("ConA", "Hoechst 33342")}
    for number, (name, channels) in enumerate(names.items()):
        truth = truth_of(number)
        save(tmp_path / "truth" / f"{name}.ome.tif", truth if name == "one" else truth[::-1], channels)
        save(tmp_path / "painted" / f"{name}.ome.tif", truth.astype(np.float32))
    report = judge(tmp_path / "painted", tmp_path / "truth", None, levels=("pixels",))
    assert report.fields == 3
    for stain in STAINS:
        assert report.findings["pixels"].section[stain]["pcc_low"] == pytest.approx(1)


def test_a_field_with_other_stains_fails_alone(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    (truth / "two.ome.tif").unlink()
    save(truth / "two.ome.tif", truth_of(1), ("RNA", "Mito"))
    report = judge(painted, truth, None, levels=("pixels",))
    assert list(report.failed["field"]) == ["two"]
    assert "it has no channel 'DNA', which the first field has; it has RNA, Mito" in report.failed["reason"].iloc[0]


def test_the_users_own_names_pair_stains_and_are_part_of_the_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = truth_of(0)
    save(tmp_path / "truth.ome.tif", truth[::-1], ("Cy2", "Cy5"))
    save(tmp_path / "painted.ome.tif", truth.astype(np.float32))
    (tmp_path / "names.yaml").write_text("DNA: [Cy5]\nER: Cy2\n")
    files = [str(tmp_path / name) for name in ("painted.ome.tif", "truth.ome.tif")]
    assert main(["evaluate", *files, "--json", "--synonyms", str(tmp_path / "names.yaml")]) == 0
    out, err = capsys.readouterr()
    assert {name: row["pcc"] for name, row in json.loads(out)["channels"].items()} == pytest.approx(dict.fromkeys(STAINS, 1.0))
    assert "DNA is scored against Cy5" in err
    asked = ["evaluate", *files, "--level", "pixels", "--workers", "1", "-o", str(tmp_path / "report"), "--json"]
    assert main([*asked, "--synonyms", str(tmp_path / "names.yaml")]) == 0
    assert json.loads(capsys.readouterr().out)["pixels"]["Cy5"]["pcc"] == pytest.approx(1)
    assert main(asked) == 2
    assert "it holds another evaluation" in capsys.readouterr().err


def test_names_of_predictions(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    with pytest.raises(InputError, match="can't be called 'truth'"):
        judge({"truth": painted}, truth, None)
    assert list(judge({"": truth}, truth, None).predictions) == ["truth (prediction)"]
    with pytest.raises(ReadError, match="no such file"):
        judge(tmp_path / "absent", truth, None)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    painted, truth = folders(tmp_path, ("one", "two"))
    (painted / "two.ome.tif").write_bytes(b"")
    command = ["evaluate", str(painted), str(truth), "--level", "pixels", "--workers", "1", "--name", "mine"]
    assert main([*command, "-o", str(tmp_path / "r"), "--json"]) == 3
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["level"], told["fields"], told["failed"], told["predictions"]) == ("pixels", 1, 1, ["mine"])
    assert told["pixels"]["DNA"]["pcc"] == pytest.approx(1)
    assert "two failed: " in err
    assert Path(told["report"]).is_file()
    for wrong in (command, [*command[:3], "-o", str(tmp_path / "q")], [*command[:4], "pixel"]):
        try:
            code = main(wrong)
        except SystemExit as stop:
            code = int(str(stop.code))
        assert (code, capsys.readouterr().out) == (2, "")


def test_a_program_is_told_of_progress_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    painted, truth = folders(tmp_path)
    monkeypatch.setenv("VIRTUAL_PAINT_PROGRESS", "json")
    command = ["evaluate", str(painted), str(truth), "--level", "pixels", "--workers", "1", "-o", str(tmp_path / "r"), "--json"]
    assert main(command) == 0
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    messages = list(dict.fromkeys(step["message"] for step in told))
    assert messages[:2] == ["Starting", "Opening the images"]
    assert messages[2] == "Evaluating: 0 of 3 fields"
    assert messages[-1] == "Writing the report"
    assert "Evaluating: 3 of 3 fields" in messages
    known = [step for step in told if step["total"]]
    assert len({step["total"] for step in known}) == 1
    assert [step["done"] for step in known] == sorted(step["done"] for step in known)
    assert all(step["seconds_left"] > 0 for step in known[:-1])
    assert known[-1]["seconds_left"] == 0


def test_processes_and_one_that_dies(tmp_path: Path) -> None:
    painted, truth = folders(tmp_path)
    deadly = truth_of(7)
    deadly[0, 0, 0] = toys.DEADLY
    save(truth / "deadly.ome.tif", deadly)
    save(painted / "deadly.ome.tif", deadly)
    steps: list[EvaluationProgress] = []
    report = judge(painted, truth, tmp_path / "r", steps, settings=EvaluationSettings(workers=2))
    assert list(report.failed["field"]) == ["deadly"]
    assert "died twice" in report.failed["reason"][0]
    assert report.to_json()["toy"]["n"] == 6
    assert any("another one takes its place" in step.message for step in steps)
    (tmp_path / "alone").mkdir()
    (truth / "deadly.ome.tif").unlink()
    assert report.to_json()["toy"] == judge(painted, truth, tmp_path / "alone").to_json()["toy"]
    assert not [child for child in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]


def test_the_help_names_the_levels_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    from napari_virtual_paint.cli import main
    from napari_virtual_paint.evaluation import LEVELS

    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert ", ".join(LEVELS) in " ".join(capsys.readouterr().out.split())


def test_every_level_has_its_object_and_its_heading_in_the_report() -> None:
    for name in LEVELS:
        assert level_at(MODULES[name]).name == name
    assert set(HEADINGS) == set(LEVELS)
