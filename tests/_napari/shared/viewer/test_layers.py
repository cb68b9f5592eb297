"""Stack <-> layers: axes, channels, units and transforms survive both ways."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from napari.layers import Image, Labels

from napari_virtual_paint._napari.shared.viewer.appearance import blending_for, contrast_limits
from napari_virtual_paint._napari.shared.viewer.geometry import Geometry
from napari_virtual_paint._napari.shared.viewer.layers import KEY, layer_data_from_stack, stack_from_layers, view_point, visible_region
from napari_virtual_paint.channel_colors import channel_color
from napari_virtual_paint.errors import InputError
from napari_virtual_paint.stack import PixelSize, Stack

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "arguments", "axes", "expected"),
    [
        ((6, 7), {}, None, (1, 1, 1, 6, 7)),
        ((3, 6, 7), {}, None, (1, 1, 3, 6, 7)),
        ((3, 6, 7), {"axis_labels": ("c", "y", "x")}, None, (1, 3, 1, 6, 7)),
        ((3, 6, 7), {"axis_labels": ("Time", "y", "x")}, None, (3, 1, 1, 6, 7)),
        ((3, 6, 7), {"units": ("second", "um", "um")}, None, (3, 1, 1, 6, 7)),
        ((3, 6, 7), {}, "CYX", (1, 3, 1, 6, 7)),
        ((2, 3, 6, 7), {}, None, (2, 1, 3, 6, 7)),
        ((2, 3, 6, 7), {}, "ZCYX", (1, 3, 2, 6, 7)),
        ((2, 4, 3, 6, 7), {}, None, (2, 4, 3, 6, 7)),
        ((6, 7, 3), {"rgb": True}, None, (1, 3, 1, 6, 7)),
        ((5, 6, 7, 4), {"rgb": True}, None, (1, 3, 5, 6, 7)),
        ((3, 6, 7), {"metadata": {KEY: {"axes": "CYX"}}}, None, (1, 3, 1, 6, 7)),
        ((3, 6, 7), {"metadata": {KEY: {"axes": "CYX"}}, "axis_labels": ("t", "y", "x")}, None, (3, 1, 1, 6, 7)),
        ((2, 3, 6, 7), {"axis_labels": ("c", "angle", "y", "x")}, None, (1, 2, 3, 6, 7)),
        ((2, 3, 6, 7), {"axis_labels": ("field", "c", "y", "x")}, None, (1, 3, 2, 6, 7)),
    ],
)
def test_one_layer_gives_tczyx(shape, arguments, axes, expected):
    data = RNG.integers(0, 255, shape, dtype=np.uint8)
    source = stack_from_layers([Image(data, **arguments)], axes)
    assert source.stack.shape == expected
    flat = data[..., :3] if arguments.get("rgb") else data
    assert np.sort(np.asarray(source.stack.data).ravel()).tolist() == np.sort(flat.ravel()).tolist()
    assert source.stack.rgb == bool(arguments.get("rgb"))


def test_the_order_of_axes_is_kept():
    data = RNG.random((2, 3, 6, 7))
    stack = stack_from_layers([Image(data)], "ZCYX").stack
    np.testing.assert_array_equal(stack.data[0, 1, 0], data[0, 1])


def test_layers_become_channels_lazily():
    planes = [Image(da.from_array(RNG.random((6, 7)), chunks=3), name=name) for name in ("low", "mid", "high")]
    stack = stack_from_layers(planes).stack
    assert isinstance(stack.data, da.Array)
    assert stack.channels == ("low", "mid", "high")
    np.testing.assert_array_equal(np.asarray(stack.data[0, 2, 0]), np.asarray(planes[2].data))


def test_multiscale_gives_full_resolution():
    full = RNG.random((64, 64))
    layer = Image([full, full[::2, ::2]], multiscale=True)
    np.testing.assert_array_equal(stack_from_layers([layer]).stack.data[0, 0, 0], full)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("dims", "labels", "expected"), [
    (("channel", "y", "x"), None, (1, 3, 1, 6, 7)),
    (("time", "y", "x"), None, (3, 1, 1, 6, 7)),
    (("a", "b", "c"), None, None),
    (("dim_0", "dim_1", "dim_2"), None, (1, 1, 3, 6, 7)),
    (("channel", "y", "x"), ("z", "y", "x"), (1, 1, 3, 6, 7)),
])  # fmt: skip
def test_xarrays_are_images(dims, labels, expected, lazy):
    data = RNG.random((3, 6, 7))
    array = xr.DataArray(da.from_array(data, chunks=3) if lazy else data, dims=dims)
    layer = Image(array, contrast_limits=(0, 1), **({"axis_labels": labels} if labels else {}))
    if expected is None:
        with pytest.raises(InputError, match="of unknown meaning"):
            stack_from_layers([layer])
        return
    stack = stack_from_layers([layer]).stack
    assert stack.shape == expected
    assert isinstance(stack.data, da.Array if lazy else np.ndarray)
    np.testing.assert_array_equal(np.asarray(stack.data).reshape(3, 6, 7), data)


def test_several_xarrays_become_channels():
    layers = [Image(xr.DataArray(RNG.random((6, 7)), dims=("y", "x")), name=name) for name in ("one", "two")]
    stack = stack_from_layers(layers).stack
    np.testing.assert_array_equal(np.asarray(stack.data)[0, 1, 0], np.asarray(layers[1].data))


@pytest.mark.parametrize(("shape", "noted"), [((64, 64, 2), True), ((10, 64, 64, 3), True), ((64, 64, 64), False), ((64, 2), False)])
def test_images_of_few_columns_are_noted(shape, noted):
    layer = Image(np.zeros(shape, np.uint8), name="odd", rgb=False)
    notes = stack_from_layers([layer]).stack.notes
    assert bool(notes) == noted
    assert all("'odd'" in note and f"images of {shape[-1]} columns" in note for note in notes)
    labels = "tzyx"[-len(shape) :]
    assert stack_from_layers([Image(np.zeros(shape, np.uint8), axis_labels=tuple(labels), rgb=False)]).stack.notes == ()


def test_units_become_pixel_size():
    layer = Image(np.zeros((4, 3, 6, 7)), scale=(30, 500, 0.1, 0.2), units=("s", "nm", "um", "um"))
    stack = stack_from_layers([layer]).stack
    assert stack.pixel_size == pytest.approx(PixelSize(0.5, 0.1, 0.2))
    assert stack.time_interval == 30
    assert stack_from_layers([Image(np.zeros((6, 7)), scale=(2, 2))]).stack.pixel_size == PixelSize()


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "No image layer"),
        ([Labels(np.zeros((4, 4), int), name="cells")], "'cells' is no image"),
        ([Image(np.zeros((4, 4)), name="a"), Image(np.zeros((4, 5)), name="b")], "'a' and 'b' differ in size"),
        ([Image(np.zeros((2, 2, 2, 2, 4, 4)), name="deep")], "'deep' has 6 axes"),
        ([Image(np.zeros((2, 4, 4, 3)), rgb=True, axis_labels=("c", "y", "x"), name="odd")], "'odd' has both"),
        ([Image(np.zeros((6, 2, 7)), axis_labels=("y", "c", "x"), name="mid")], "'mid' has the axes y, c, x by its labels"),
        ([Image(np.zeros((6, 7, 2)), axis_labels=("y", "x", "c"), name="last")], "'last' has the axes y, x, c by its labels"),
        ([Image(np.zeros((6, 7)), axis_labels=("x", "y"), name="turned")], "'turned' has the axes x, y by its labels"),
        ([Image(np.zeros((2, 6, 7)), axis_labels=("y", "y", "x"), name="twice")], "'twice' has the axes y, y, x by its labels"),
        ([Image(np.zeros((2, 6, 7)), axis_labels=("x", "what", "y"), name="some")], "'some' has"),
    ],
)
def test_what_can_not_be_used_is_named(layers, words):
    with pytest.raises(InputError, match=words):
        stack_from_layers(layers)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"scale": (2, 0.5, 0.25), "translate": (1, 2, 3), "units": ("um", "um", "um"), "axis_labels": ("z", "y", "x")},
        {"rotate": (10, 0, 30), "scale": (2, 1, 1)},
        {"shear": (0.1, 0.2, 0.3)},
        {"affine": np.array([[1, 0, 0, 4], [0, 0.8, -0.6, 5], [0, 0.6, 0.8, 6], [0, 0, 0, 1.0]])},
    ],
)
def test_stains_lie_on_their_input(arguments):
    layer = Image(RNG.random((4, 6, 7)), **arguments)
    source = stack_from_layers([layer])
    (made,) = layer_data_from_stack(source.stack, source.geometry)
    copy = Image(made[0], **made[1])
    corners = np.array([(0, 0, 0), (3, 5, 6), (1, 2, 3)])
    for corner in corners:
        np.testing.assert_allclose(copy.data_to_world(corner), layer.data_to_world(corner), atol=1e-6)
    assert copy.units == layer.units
    assert copy.axis_labels == layer.axis_labels


def test_planes_folded_by_a_model_give_a_plane():
    layer = Image(RNG.random((3, 6, 7)), scale=(4, 0.5, 0.5), units=("um",) * 3)
    source = stack_from_layers([layer])
    painted = Stack(np.zeros((1, 2, 1, 6, 7), np.float32), ("DNA", "ER"))
    made = layer_data_from_stack(painted, source.geometry)
    assert [item[0].shape for item in made] == [(6, 7), (6, 7)]
    assert made[0][1]["scale"] == (0.5, 0.5)
    assert [item[1]["name"] for item in made] == ["DNA", "ER"]


def test_folded_planes_in_a_time_series_stay_under_every_plane():
    layer = Image(np.zeros((5, 3, 6, 7)), scale=(1, 4, 1, 1))
    source = stack_from_layers([layer])
    made = layer_data_from_stack(Stack(np.zeros((5, 1, 1, 6, 7), np.float32), ("DNA",)), source.geometry)[0]
    copy = Image(made[0], **made[1])
    assert copy.data.shape == (5, 1, 6, 7)
    assert copy.scale[1] == 12
    assert copy.data_to_world((0, 0, 0, 0))[1] == 4


@pytest.mark.parametrize("axes", ["TCYX", "ZCYX", "TCZYX", "ZTYX", "CTZYX"])
def test_every_axis_of_the_stains_moves_with_its_own_slider(axes):
    lengths = {"T": 2, "C": 3, "Z": 4, "Y": 6, "X": 7}
    layer = Image(np.zeros([lengths[axis] for axis in axes]), scale=[2.0 if axis == "C" else 1.0 for axis in axes])
    source = stack_from_layers([layer], axes)
    t, _, z, y, x = source.stack.shape
    painted = RNG.random((t, 1, z, y, x))
    made = layer_data_from_stack(Stack(painted, ("DNA",)), source.geometry)[0]
    copy = Image(made[0], **made[1])
    for channel in (0, 2) if "C" in axes else (0,):
        at = {"T": 1, "C": channel, "Z": 3, "Y": 5, "X": 2}
        world = layer.data_to_world([at[axis] for axis in axes])
        place = tuple(round(value) for value in copy.world_to_data(world))
        assert copy.data[place] == painted[min(1, t - 1), 0, min(3, z - 1), 5, 2]


def test_what_is_in_view_is_right_in_mixed_units(make_napari_viewer):
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((50, 50)), scale=(1, 1), units=("um", "um"))
    layer = viewer.add_image(np.zeros((50, 50)), scale=(1000, 1000), units=("nm", "nm"))
    viewer.scene.camera.zoom = 100
    for center in ((10, 10), (30, 40)):
        unit = float(viewer.layers.extent.world[1, 0] - viewer.layers.extent.world[0, 0]) / 49
        viewer.scene.camera.center = (center[0] * unit, center[1] * unit)
        _, _, y, x = view_point(viewer, stack_from_layers([layer]).geometry)
        assert (y, x) == pytest.approx(center, abs=0.01)


def test_arrays_of_stains_are_views():
    painted = np.zeros((1, 2, 1, 6, 7), np.float32)
    made = layer_data_from_stack(Stack(painted, ("DNA", "ER")))
    painted[0, 1, 0, 2, 2] = 5
    assert made[1][0][2, 2] == 5


def test_files_give_units_where_they_are_known():
    geometry = Geometry.of_stack(Stack(np.zeros((2, 1, 3, 4, 5)), pixel_size=PixelSize(None, 0.5, 0.5), time_interval=60))
    assert geometry.axes == "TZYX"
    assert geometry.units == ("second", "pixel", "micrometer", "micrometer")
    assert geometry.layer_arguments()["scale"] == (60, 1, 0.5, 0.5)


def test_provenance_travels_in_metadata():
    stack = Stack(np.zeros((1, 1, 1, 4, 4)), ("DNA",), provenance={"model": "m", "version": "1"})
    noted = layer_data_from_stack(stack, metadata={"role": "stain"})[0][1]["metadata"][KEY]
    assert noted["provenance"] == {"model": "m", "version": "1"}
    assert noted["channel"] == "DNA"
    assert stack_from_layers([Image(np.zeros((4, 4)), metadata={KEY: noted})]).stack.provenance["model"] == "m"


@pytest.mark.parametrize(
    ("name", "colormap"),
    [
        ("DNA", "blue"),
        ("Hoechst 33342", "blue"),
        ("ER predicted", "green"),
        ("RNA", "yellow"),
        ("AGP", "bop orange"),
        ("Mito", "magenta"),
        ("MitoTracker", "magenta"),
        ("MAP2", "green"),
        ("NFH", "red"),
        ("Brightfield z+4", "gray"),
        ("Phase", "gray"),
        ("membrane", "cyan"),
        ("marker", "cyan"),
    ],
)
def test_colormaps_fit_the_stain(name, colormap):
    assert channel_color(name).colormap == colormap
    assert blending_for(name) == ("translucent_no_depth" if colormap == "gray" else "additive")


def test_contrast_is_robust():
    pixels = RNG.normal(100, 10, (200, 200))
    pixels[0, 0], pixels[1, 1] = 1e6, np.nan
    low, high = contrast_limits(pixels)
    assert 88 < low < 95
    assert 120 < high < 135
    assert contrast_limits(np.full((4, 4), 7)) is None
    assert contrast_limits(np.full((4, 4), np.nan)) is None
    assert contrast_limits(np.array([[False, True]])) == (0, 1)


@pytest.mark.parametrize(
    "arguments", [{}, {"scale": (0.5, 0.5), "translate": (10, 20)}, {"rotate": 90, "translate": (0, 200)}, {"multiscale": True}]
)
def test_visible_region_is_what_the_canvas_shows(make_napari_viewer, arguments):
    viewer = make_napari_viewer()
    data = np.zeros((200, 200), np.uint8)
    layer = viewer.add_image([data, data[::2, ::2]] if arguments.get("multiscale") else data, **arguments)
    geometry = stack_from_layers([layer]).geometry
    viewer.scene.camera.center = tuple(layer.data_to_world((60, 80)))
    viewer.scene.camera.zoom = 10 / layer.scale[0]
    half = np.asarray(viewer.canvas.size) / 20 if "rotate" not in arguments else np.asarray(viewer.canvas.size)[::-1] / 20
    y, x = visible_region(viewer, geometry)
    assert (y.start, y.stop) == pytest.approx((max(0, 60 - half[0]), min(200, 60 + half[0])), abs=2)
    assert (x.start, x.stop) == pytest.approx((max(0, 80 - half[1]), min(200, 80 + half[1])), abs=2)
    viewer.scene.camera.center = tuple(layer.data_to_world((5000, 5000)))
    assert visible_region(viewer, geometry) is None
    viewer.dims.ndisplay = 3
    assert visible_region(viewer, geometry) is None
