"""C_max: against simulated noise, whose ceiling is known, by every way to know the noise; and what can't be relied on says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_virtual_paint.cli import main
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.metrics import Camera, Controls, Estimated, Given, NoiseSource, Repeat, compare, estimate_noise
from napari_virtual_paint.metrics.ceiling import ceiling, ceiling_of
from napari_virtual_paint.samples import SimulationSettings, noiseless_stains, simulate_field
from napari_virtual_paint.samples.camera import expose
from napari_virtual_paint.stack import Stack
from napari_virtual_paint.writing import write

ELECTRONS, READ = 0.01, 8.0
STAINS = ("DNA", "AGP")


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """Two stains without noise, (2, Y, X)."""
    return np.asarray(noiseless_stains(SimulationSettings(size=256, seed=11)).select(STAINS).data[0, :, 0])


def shoot(clean: np.ndarray, seed: int, electrons: float = ELECTRONS) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([expose(plane, rng, electrons, READ) for plane in clean])


def stack(planes: np.ndarray) -> Stack:
    return Stack(planes[None, :, None], STAINS)


@pytest.fixture(scope="module")
def truth(clean: np.ndarray) -> Stack:
    return stack(shoot(clean, 1))


def pcc(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def sds(clean: np.ndarray, truth: Stack) -> dict[str, float]:
    return {name: float((truth.data[0, i, 0] - clean[i]).std()) for i, name in enumerate(STAINS)}


@pytest.mark.parametrize("way", ["sd", "camera", "repeat", "estimate"])
def test_every_way_finds_the_correlation_of_a_perfect_prediction(clean: np.ndarray, truth: Stack, way: str) -> None:
    sources: dict[str, NoiseSource] = {
        "sd": Given(sds(clean, truth)),
        "camera": Camera(1 / ELECTRONS, 0.0, READ),
        "repeat": Repeat(stack(shoot(clean, 2))),
        "estimate": Estimated(),
    }
    found = compare(stack(clean), truth, noise=sources[way])
    assert found.ceilings is not None
    for i, name in enumerate(STAINS):
        best = pcc(clean[i], truth.data[0, i, 0])
        assert best < 0.995  # so that there is something to find
        assert found.ceilings[name].how == way
        assert found.ceilings[name].value == pytest.approx(best, abs=0.008)
        assert found.channels[name].pcc == pytest.approx(best, abs=1e-9)


def test_controls_give_what_the_paper_s_formula_gives(truth: Stack) -> None:
    rng = np.random.default_rng(3)
    controls = [stack(rng.normal(500, sd, (2, 256, 256)).astype(np.float32)) for sd in (90.0, 110.0)]
    found = Controls(controls).of("AGP", truth.data[:, 1])
    assert found.variance == pytest.approx((90**2 + 110**2) / 2, rel=0.03)
    assert found.reliable
    snr = (truth.data[0, 1].astype(float).var() - found.variance) / found.variance
    assert ceiling(truth.data[0, 1], found.variance**0.5) == pytest.approx(np.sqrt(snr / (1 + snr)))


def test_the_simulator_s_stain_is_its_noiseless_one_with_noise() -> None:
    settings = SimulationSettings(size=96, seed=5)
    noisy, still = simulate_field(settings).stains.data.astype(float), noiseless_stains(settings).data
    rest = (noisy - still)[still < 60000]
    assert abs(rest.mean()) < 0.5
    assert pcc(noisy, still) > 0.999
    assert 5 < rest.std() < 200


def test_smoothed_noise_is_told_to_be_unreliable(clean: np.ndarray) -> None:
    blurred = ndimage.gaussian_filter(shoot(clean, 4).astype(np.float32), (0, 0.8, 0.8))[1]
    found = ceiling_of(blurred[None, None], Estimated().of("AGP", blurred[None, None]))
    assert not found.reliable
    assert any("anything from" in note for note in found.notes)


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (np.minimum(np.random.default_rng(0).normal(1000, 80, (64, 64)), 1050).astype(np.uint16), "highest value"),
        (np.random.default_rng(0).integers(100, 102, (64, 64)).astype(np.uint16), ""),
        (np.add.outer(np.arange(64.0), np.arange(64.0)), "No noise"),
        (np.full((64, 64), np.nan), "no numbers"),
        (np.zeros((8, 8)), "small"),
    ],
)
def test_an_estimate_that_can_t_be_made_says_why(image: np.ndarray, word: str) -> None:
    found = estimate_noise(image)
    assert not found.reliable
    assert any(word in note for note in found.notes)


def test_a_control_with_structure_and_a_wrong_noise_are_told(clean: np.ndarray, truth: Stack) -> None:
    uneven = Controls([stack(clean.astype(np.float32))]).of("DNA", truth.data[:, 0])
    assert not uneven.reliable
    too_much = ceiling_of(truth.data[:, 0], Given({"": 1e6}).of("DNA", truth.data[:, 0]))
    assert (too_much.value, too_much.reliable) == (0.0, False)
    above = ceiling_of(truth.data[:, 0], Given({"DNA": 900.0}).of("dna", truth.data[:, 0]), pcc=0.99)
    assert not above.reliable
    assert "above the ceiling" in above.notes[0]
    assert Given({"ER": 3.0}).of("DNA", truth.data[:, 0]).variance is None
    assert Repeat(truth).of("DNA", truth.data[:, 0]).variance is None


def test_ceiling_of_nothing_is_refused() -> None:
    assert ceiling(np.array([0.0, 2.0]), 0.0) == 1.0
    for image, noise in ((np.ones(4), 1.0), (np.array([0, np.nan]), 1.0), (np.arange(4), -1.0)):
        with pytest.raises(InputError):
            ceiling(image, noise)


@pytest.fixture
def files(tmp_path: Path, clean: np.ndarray, truth: Stack) -> tuple[str, str, str]:
    repeat = write(stack(shoot(clean, 2)), tmp_path / "repeat.ome.tif")
    return str(write(stack(clean), tmp_path / "pred.ome.tif")), str(write(truth, tmp_path / "truth.ome.tif")), str(repeat)


def test_the_command_tells_the_ceiling_only_where_it_is_asked_for(
    files: tuple[str, str, str], clean: np.ndarray, truth: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    known = ",".join(f"{name}={sd:.1f}" for name, sd in sds(clean, truth).items())
    assert main(["evaluate", *files[:2], "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert set(plain) == {"channels", "mean"}
    assert set(plain["channels"]["DNA"]) == set(plain["mean"]) == {"pcc", "ssim", "psnr", "mse", "mae"}
    for options in (
        ["--noise", "estimate"],
        ["--noise-repeat", files[2]],
        ["--noise-sd", known],
        ["--noise-camera", "100,0,8"],
    ):
        assert main(["evaluate", *files[:2], *options, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["channels"]["AGP"]["pcc"] == plain["channels"]["AGP"]["pcc"]
        assert told["channels"]["AGP"]["c_max"] == pytest.approx(plain["channels"]["AGP"]["pcc"], abs=0.03)
        assert told["mean"]["c_max"] == pytest.approx(np.mean([told["channels"][name]["c_max"] for name in STAINS]))
        assert set(told["noise"]["DNA"]) == {"noise_sd", "how", "reliable", "notes"}
    assert main(["evaluate", *files[:2], "--noise-control", files[2]]) == 0
    captured = capsys.readouterr()
    assert "C_max" in captured.out
    assert "?" in captured.out
    assert "noise:" in captured.err
    assert main(["evaluate", *files[:2], "--noise-sd", "4"]) == 0
    capsys.readouterr()
    assert main(["evaluate", *files[:2], "--noise-sd", "Foo=1"]) == 2
    assert "Foo, which is no channel here; there are DNA" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--noise-sd", "DNA=x"],
        ["--noise-camera", "1,2,3,4"],
        ["--noise-sd", "-1"],
        ["--noise-sd", "1", "--noise", "estimate"],
    ],
)
def test_wrong_options_are_told(files: tuple[str, str, str], wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *files[:2], *wrong])
    assert end.value.code == 2
