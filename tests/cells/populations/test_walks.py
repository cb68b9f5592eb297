"""Walks, sweeps, their pictures and files, and the command."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
from PIL import Image

from fake_cells import CHANNELS, correlated, fake_model
from napari_virtual_paint.cells.populations import walk_export
from napari_virtual_paint.cells.populations.composite import GRAY, captioned, colours_of, composite, difference, limits_of, scaled
from napari_virtual_paint.cells.populations.population import Population
from napari_virtual_paint.cells.populations.walks import cosine, line, mean_of, representative, stepwise, sweep
from napari_virtual_paint.errors import InputError, WriteError
from napari_virtual_paint.reading import read

NAMES = tuple(f"Nuclei_AreaShape_F{i}" for i in range(120))
LIMITS = ((0.0, 1000.0), (0.0, 600.0))


@pytest.fixture(scope="module")
def population() -> Population:
    return Population(correlated(80, 120), NAMES)


@pytest.fixture(scope="module")
def walk(population):
    return stepwise(population, population.values[0], population.values[1], follow=False)


def test_stepwise_takes_the_largest_differences_first(population, walk):
    a, b = population.values[:2]
    assert walk.taken == (0, 50, 100, 120)
    assert np.array_equal(walk.values[0], a)
    assert np.array_equal(walk.values[-1], b)
    apart = np.abs(population.standard(b) - population.standard(a))
    largest = set(np.argsort(-apart)[:50])
    assert {i for i in range(120) if walk.values[1][i] == b[i]} >= largest
    assert all(walk.values[1][i] == a[i] for i in range(120) if i not in largest)


def test_the_features_that_a_step_leaves_follow_those_it_takes(population, walk):
    """By the conditional mean given what was taken, and by default."""
    a, b = population.values[:2]
    found = stepwise(population, a, b)
    taken = np.flatnonzero(walk.values[1] != a)
    expected = population.conditional(a, {int(i): float(b[i]) for i in taken})
    assert np.allclose(found.values[1], expected, rtol=1e-5)
    assert np.array_equal(found.values[1][taken], b[taken])
    assert np.array_equal(found.values[0], a)
    assert np.array_equal(found.values[-1], b)
    followed, left = (population.distance(way.values[1]).mahalanobis for way in (found, walk))
    assert followed < left, "a mixture of two cells is no cell"


def test_scores_are_the_cosine_to_the_end_on_standardised_features(population, walk):
    z = population.standard(walk.values)
    assert walk.scores == pytest.approx([float(row @ z[-1] / np.linalg.norm(row) / np.linalg.norm(z[-1])) for row in z])
    assert walk.scores[-1] == pytest.approx(1.0)
    assert list(walk.scores) == sorted(walk.scores)
    assert cosine([1, 0], [0, 0]) == 0.0


def test_angles_walk_the_shorter_way_round():
    names = ("Nuclei_AreaShape_Area", "Nuclei_AreaShape_Orientation")
    rng = np.random.default_rng(0)
    population = Population(np.column_stack([rng.normal(500, 50, 60), rng.uniform(-90, 90, 60)]), names)
    found = line(population, [500, 80], [540, -80], 5)
    assert np.allclose(found.values[:, 0], [500, 510, 520, 530, 540])
    assert np.allclose(np.abs(found.values[:, 1]), [80, 85, 90, 85, 80])
    assert found.values[1, 1] == pytest.approx(85)
    assert found.values[3, 1] == pytest.approx(-85)


def test_a_mean_of_orientations_is_a_direction():
    names = ("Nuclei_AreaShape_Area", "Nuclei_AreaShape_Orientation")
    population = Population([[500, 88], [510, -86], [520, 89], [530, -87]], names)
    area, orientation = mean_of(population)
    assert area == pytest.approx(515)
    assert orientation == pytest.approx(-89, abs=0.1)


def test_line_is_straight_between_the_means(population):
    a, b = mean_of(population, range(10)), mean_of(population, range(10, 30))
    found = line(population, a, b, 5)
    assert np.allclose(found.values[2], (a + b) / 2, rtol=1e-5)
    assert np.allclose(found.values[0], population.values[:10].mean(axis=0), rtol=1e-4)
    assert len(found) == 5
    assert found.named("DMSO", "drug").captions[0].startswith("DMSO: cosine")


def test_the_representative_is_the_real_cell_nearest_the_mean(population):
    group = np.array([3, 9, 27, 41, 55])
    z = population.standard(population.values[group])
    assert representative(population, group) == group[np.linalg.norm(z - z.mean(axis=0), axis=1).argmin()]
    with pytest.raises(InputError, match="no cell"):
        representative(population, [])


def test_sweep_moves_one_feature_alone_unless_others_follow(population):
    base = population.values[5]
    found = sweep(population, NAMES[4], base=base, follow=False)
    assert found[:, 4] == pytest.approx(population.percentile(NAMES[4], [5, 25, 50, 75, 95]))
    assert np.array_equal(np.delete(found, 4, axis=1), np.delete(np.stack([base] * 5), 4, axis=1))
    followed = sweep(population, NAMES[4], base=base)
    assert np.allclose(followed[:, 4], found[:, 4])
    assert not np.allclose(followed, found)


def test_wrong_steps_and_vectors_are_told(population):
    cell = population.values[0]
    for call in (lambda: stepwise(population, cell, cell, 0), lambda: line(population, cell, cell, 1)):
        with pytest.raises(InputError):
            call()
    with pytest.raises(InputError, match="120 features"):
        stepwise(population, cell[:5], cell)


def test_composite_adds_stains_and_dims_what_lies_below():
    crop = np.zeros((2, 1, 2), np.float32)
    crop[:, 0, 1] = (1000, 600)
    blue, green = colours_of(CHANNELS)
    picture = composite(crop, LIMITS, (blue, green))
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[0, 1].tolist() == [round(255 * min(1.0, a + b)) for a, b in zip(blue, green, strict=True)]
    assert composite(crop, LIMITS, (blue, green), (False, True))[0, 1].tolist() == [round(255 * part) for part in green]
    assert composite(crop, LIMITS, (GRAY, green))[0, 1, 0] == round(255 * (0.5 + green[0]))
    assert composite(crop, LIMITS, (GRAY, green), (True, False))[0, 1, 0] == 255
    assert colours_of(["Brightfield", "DNA stain"])[0] == GRAY


def test_difference_is_orange_where_brighter_and_blue_where_darker():
    a, b = np.zeros((2, 1, 2, 1, 2), np.float32)[:, 0]
    a[0, 0, 0], b[0, 0, 1] = 400, 400
    picture = difference(scaled(a, LIMITS), scaled(b, LIMITS), (True, False))
    assert picture[0, 0, 0] > picture[0, 0, 2]
    assert picture[0, 1, 2] > picture[0, 1, 0]
    assert not difference(a, a, (True, True)).any()


def test_limits_and_captions():
    crops = np.random.default_rng(0).random((10, 2, 16, 16)).astype(np.float32)
    crops[:, 1] = 4.0
    (low, high), flat = limits_of(crops)
    assert 0 < low < 0.05
    assert 0.95 < high < 1
    assert flat == (4.0, 5.0)
    picture = captioned(np.full((33, 33, 3), 9, np.uint8), "a caption", 3)
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    assert (picture[99:] > 100).any()
    assert (picture[:99, :99] == 9).all()


@pytest.fixture(scope="module")
def film():
    model = fake_model(30)
    found = line(Population(model.values, model.features), model.values[0], model.values[1], 4).named("DMSO", "drug")
    return found, model.paint(found.values)


def test_a_gif_holds_every_frame(film, tmp_path):
    found, frames = film
    path = walk_export.save_walk(tmp_path / "walk.gif", found, frames, CHANNELS, LIMITS)
    with Image.open(path) as image:
        assert image.n_frames == 4
        assert image.info["duration"] == 750
        first = np.asarray(image.convert("RGB"), int)
    truth = walk_export.walk_pictures(frames, found.captions, CHANNELS, LIMITS)[0].astype(int)
    assert first.shape == truth.shape
    assert np.abs(first - truth).mean() < 4


def test_a_film_shows_real_cells_above_the_generated_ones(film, tmp_path):
    found, frames = film
    alone = walk_export.walk_pictures(frames, found.captions, CHANNELS, LIMITS)
    both = walk_export.walk_pictures(frames, found.captions, CHANNELS, LIMITS, frames[::-1])
    side = alone[0].shape[1]
    assert [picture.shape for picture in both] == [(alone[0].shape[0] + side, side, 3)] * 4
    rest = slice(30, None)  # below the name in the corner
    assert np.array_equal(both[0][side:][rest], alone[0][rest])
    assert np.array_equal(both[0][rest][: side - 30], alone[3][rest][: side - 30]), "the first step's own real cell"
    path = walk_export.save_walk(tmp_path / "walk.gif", found, frames, CHANNELS, LIMITS, real=frames, provenance={"seed": 7})
    with Image.open(path) as image:
        assert image.height == both[0].shape[0]
        assert json.loads(image.info["comment"]) == {"seed": 7}


def test_a_film_can_be_read_back(film, tmp_path):
    import imageio_ffmpeg

    found, frames = film
    path = walk_export.save_walk(tmp_path / "walk.mp4", found, frames, CHANNELS, LIMITS)
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == 4 + 2 * (walk_export.HOLD - 1)


def test_a_tiff_keeps_intensities_channels_and_pixel_size(film, tmp_path):
    found, frames = film
    path = walk_export.save_walk(tmp_path / "walk.ome.tif", found, frames, CHANNELS, LIMITS, pixel_size=0.65)
    stack = read(path)
    assert stack.shape == (4, 2, 1, 32, 32)
    assert stack.channels == CHANNELS
    assert stack.pixel_size.x == pytest.approx(0.65)
    assert np.array_equal(np.asarray(stack.data)[:, :, 0], frames)


def test_what_can_not_be_written_is_told(film, tmp_path):
    found, frames = film
    with pytest.raises(InputError, match=r"\.gif, \.mp4"):
        walk_export.save_walk(tmp_path / "walk.avi", found, frames, CHANNELS, LIMITS)
    (tmp_path / "walk.gif").write_bytes(b"mine")
    with pytest.raises(WriteError, match="exists already"):
        walk_export.save_walk(tmp_path / "walk.gif", found, frames, CHANNELS, LIMITS)
    assert (tmp_path / "walk.gif").read_bytes() == b"mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["walk.gif"]


def test_the_gallery_is_one_figure(tmp_path):
    from napari_virtual_paint.cells.populations.gallery import gallery, save_gallery

    model = fake_model(30)
    population = Population(model.values, model.features)
    features = model.features[:3]
    figure = gallery(model.paint, population, features, CHANNELS, LIMITS, title="A fake")
    assert len(figure.axes) == 15
    assert [axes.get_title() for axes in figure.axes[:5]] == ["5 %", "25 %", "50 %", "75 %", "95 %"]
    swept = model.paint(sweep(population, features[1]))
    shown = np.asarray(figure.axes[5].images[0].get_array())
    assert np.array_equal(shown, composite(swept[0], LIMITS, colours_of(CHANNELS)))
    save_gallery(figure, tmp_path / "gallery.png")
    with Image.open(tmp_path / "gallery.png") as image:
        assert image.width > image.height > 300
    with pytest.raises(InputError, match=r"\.png, \.pdf"):
        save_gallery(figure, tmp_path / "gallery.bmp")
    with pytest.raises(InputError, match="one feature"):
        gallery(model.paint, population, [], CHANNELS, LIMITS)


def parsed(*words: str) -> argparse.Namespace:
    from napari_virtual_paint.cli import cells_walk

    parser = argparse.ArgumentParser()
    cells_walk.add_parser(parser.add_subparsers())
    return parser.parse_args(["walk", *words])


def test_the_command_walks_between_groups(tmp_path, capsys, monkeypatch):
    cells = pytest.importorskip("napari_virtual_paint.cells.cp2image.model")
    from napari_virtual_paint.cli import cells_walk

    model = fake_model(40)
    monkeypatch.setattr(cells, "open_cell_model", lambda _: model)
    monkeypatch.setattr(cells, "generate", lambda found, values, seed: found.paint(values))
    ends = ["--from", "Metadata_Treatment=DMSO", "--to", "Metadata_Treatment=drug"]
    out = tmp_path / "walk.gif"
    assert cells_walk.run(parsed("fake", *ends, "--step", "5", "-o", str(out), "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["features_taken"] == [0, 5, 10, 12]
    assert report["cosine"][-1] == pytest.approx(1.0)
    assert [found["distance"] for found in (report["most_like"][0], report["most_like"][-1])] == pytest.approx([0, 0]), "the ends are real"
    assert all(0 <= found["row"] < 40 for found in report["most_like"])
    assert out.exists()
    with Image.open(out) as image:
        assert image.height > 1.9 * image.width, "real cells above the generated ones"
        assert json.loads(image.info["comment"])["walk"] == ["DMSO", "drug"]
    assert cells_walk.run(parsed("fake", *ends, "--along", "line", "--frames", "3", "-o", str(tmp_path / "b.gif"))) == 0
    assert "cosine" in capsys.readouterr().out
    with pytest.raises(InputError, match="row 99"):
        cells_walk.run(parsed("fake", "--from", "99", "--to", "1", "-o", str(tmp_path / "c.gif")))
