"""Names of features: taken apart, told from metadata, what counts, units."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from napari_virtual_paint.cells.cellprofiler_names import channels_of, is_feature, is_morphological_feature, middle_contrasts, parse, unit


@pytest.mark.parametrize(
    ("name", "compartment", "group", "channels", "measure"),
    [
        ("Nuclei_AreaShape_Area", "Nuclei", "AreaShape", (), "Area"),
        ("Nuclei_AreaShape_Zernike_4_2", "Nuclei", "AreaShape", (), "Zernike_4_2"),
        ("AreaShape_Area", "", "AreaShape", (), "Area"),
        ("Cells_Intensity_MeanIntensity_DNA", "Cells", "Intensity", ("DNA",), "MeanIntensity"),
        ("Cells_Intensity_MeanIntensity_mito_tubeness", "Cells", "Intensity", ("mito_tubeness",), "MeanIntensity"),
        ("Nuclei_Texture_Contrast_DNA_3_00_256", "Nuclei", "Texture", ("DNA",), "Contrast_3_00_256"),
        ("Nuclei_Texture_Contrast_DNA_3_0", "Nuclei", "Texture", ("DNA",), "Contrast_3_0"),
        ("Nuclei_Texture_Gabor_DNA_3", "Nuclei", "Texture", ("DNA",), "Gabor_3"),
        ("Nuclei_Texture_InfoMeas1_Corr_ER_10_03_256", "Nuclei", "Texture", ("Corr_ER",), "InfoMeas1_10_03_256"),
        ("Nuclei_Granularity_1_DNA", "Nuclei", "Granularity", ("DNA",), "1"),
        ("Cells_Correlation_Correlation_DNA_ER", "Cells", "Correlation", ("DNA", "ER"), "Correlation"),
        ("Cells_Correlation_K_ER_DNA", "Cells", "Correlation", ("ER", "DNA"), "K"),
        ("Cytoplasm_RadialDistribution_FracAtD_DNA_1of4", "Cytoplasm", "RadialDistribution", ("DNA",), "FracAtD_1of4"),
        (
            "Cells_RadialDistribution_RadialCV_mito_tubeness_Overflow",
            "Cells",
            "RadialDistribution",
            ("mito_tubeness",),
            "RadialCV_Overflow",
        ),
        ("Cells_RadialDistribution_ZernikeMagnitude_DNA_0_0", "Cells", "RadialDistribution", ("DNA",), "ZernikeMagnitude_0_0"),
        ("Cells_Neighbors_NumberOfNeighbors_5", "Cells", "Neighbors", (), "NumberOfNeighbors_5"),
        ("Cells_Neighbors_PercentTouching_Adjacent", "Cells", "Neighbors", (), "PercentTouching_Adjacent"),
        ("Nuclei_Children_Cells_Count", "Nuclei", "Children", (), "Cells_Count"),
        ("Cytoplasm_Parent_Cells", "Cytoplasm", "Parent", (), "Cells"),
        ("Nuclei_Number_Object_Number", "Nuclei", "Number", (), "Object_Number"),
        ("Nuclei_Location_Center_X", "Nuclei", "Location", (), "Center_X"),
        ("Nuclei_Location_CenterMassIntensity_X_DNA", "Nuclei", "Location", ("DNA",), "CenterMassIntensity_X"),
        ("Cells_Donut_Large_AreaShape_Area", "Cells_Donut_Large", "AreaShape", (), "Area"),
        ("Nuclei_Mean_PH3_AreaShape_Area", "Nuclei", "Mean", (), "PH3_AreaShape_Area"),
        ("Metadata_Well", "", "", (), "Metadata_Well"),
    ],
)
def test_names_taken_apart(name: str, compartment: str, group: str, channels: tuple[str, ...], measure: str) -> None:
    feature = parse(name)
    assert (feature.name, feature.compartment, feature.group, feature.channels, feature.measure) == (
        name,
        compartment,
        group,
        channels,
        measure,
    )


@pytest.mark.parametrize(
    ("name", "channels", "found", "measure"),
    [
        ("Cells_Correlation_Manders_mito_tubeness_DNA", ("DNA", "mito_tubeness"), ("mito_tubeness", "DNA"), "Manders"),
        ("Cells_Correlation_Manders_DNA_mito_tubeness", ("DNA", "mito_tubeness"), ("DNA", "mito_tubeness"), "Manders"),
        ("Cells_Correlation_RWC_DNA_old_DNA", ("DNA", "DNA_old"), ("DNA_old", "DNA"), "RWC"),
        ("Nuclei_Texture_Contrast_w_1_3_00_256", ("w_1", "w_2"), ("w_1",), "Contrast_3_00_256"),
        ("Nuclei_Texture_Gabor_w_1_3", ("w_1", "w_2"), ("w_1",), "Gabor_3"),
        ("Cells_RadialDistribution_ZernikeMagnitude_w_1_0_0", ("w_1",), ("w_1",), "ZernikeMagnitude_0_0"),
        ("Cells_RadialDistribution_FracAtD_w_1_2of4", ("w_1",), ("w_1",), "FracAtD_2of4"),
    ],
)
def test_channels_told_part_what_the_name_alone_cannot(name: str, channels: tuple[str, ...], found: tuple[str, ...], measure: str) -> None:
    feature = parse(name, channels)
    assert (feature.channels, feature.measure) == (found, measure)


def test_without_channels_an_unclear_pair_stays_one() -> None:
    assert parse("Cells_Correlation_Manders_mito_tubeness_DNA").channels == ("mito_tubeness_DNA",)


@pytest.mark.parametrize(
    "column",
    [
        "Metadata_Well",
        "Metadata_Nuclei_Location_Center_X",
        "Image_Granularity_1_DNA",
        "Image_Metadata_Site",
        "ImageNumber",
        "ObjectNumber",
        "Nuclei_ObjectNumber",
        "Nuclei_Number_Object_Number",
        "Cytoplasm_Parent_Cells",
        "Cells_Neighbors_FirstClosestObjectNumber_5",
        "Mean_Nuclei_AreaShape_Area",
        "Treatment",
        "Nuclei",
        "",
    ],
)
def test_no_features(column: str) -> None:
    assert not is_feature(column)
    assert not is_morphological_feature(column)


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("Nuclei_AreaShape_Area", True),
        ("Nuclei_AreaShape_Orientation", True),
        ("Nuclei_AreaShape_Zernike_0_0", True),
        ("Cells_RadialDistribution_ZernikeMagnitude_DNA_2_0", True),
        ("Cells_RadialDistribution_ZernikePhase_DNA_2_0", False),
        ("Nuclei_AreaShape_Center_X", False),
        ("Nuclei_AreaShape_BoundingBoxMinimum_X", False),
        ("Nuclei_AreaShape_SpatialMoment_0_0", False),
        ("Nuclei_AreaShape_CentralMoment_1_2", False),
        ("Nuclei_AreaShape_NormalizedMoment_1_2", False),
        ("Nuclei_AreaShape_HuMoment_0", False),
        ("Nuclei_AreaShape_InertiaTensor_0_0", False),
        ("Nuclei_AreaShape_InertiaTensorEigenvalues_0", False),
        ("Nuclei_Location_Center_X", False),
        ("Nuclei_Location_CenterMassIntensity_X_DNA", False),
        ("Nuclei_Location_MaxIntensity_Y_DNA", False),
        ("Nuclei_Children_PH3_Count", False),
        ("Nuclei_Texture_AngularSecondMoment_DNA_3_00_256", True),
        ("Nuclei_Texture_InverseDifferenceMoment_DNA_3_00_256", True),
        ("Nuclei_Intensity_MassDisplacement_DNA", True),
        ("Cells_Correlation_Correlation_Center_ER", True),
    ],
)
def test_what_counts(name: str, counted: bool) -> None:
    assert is_feature(name)
    assert is_morphological_feature(name) is counted


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Nuclei_AreaShape_Area", "px²"),
        ("Nuclei_AreaShape_Perimeter", "px"),
        ("Nuclei_AreaShape_Center_X", "px"),
        ("Nuclei_Location_MaxIntensity_X_DNA", "px"),
        ("Nuclei_AreaShape_Orientation", "°"),
        ("Cells_Neighbors_AngleBetweenNeighbors_5", "°"),
        ("Cells_Neighbors_FirstClosestDistance_5", "px"),
        ("Nuclei_AreaShape_Volume", "px³"),
        ("Cells_RadialDistribution_ZernikePhase_DNA_1_1", "rad"),
        ("Nuclei_Mean_PH3_AreaShape_Area", "px²"),
        ("Nuclei_AreaShape_Eccentricity", ""),
        ("Nuclei_Intensity_MeanIntensity_DNA", ""),
        ("Nuclei_Texture_Contrast_DNA_3_00_256", ""),
    ],
)
def test_units(name: str, expected: str) -> None:
    assert unit(name) == expected


def test_channels_of_a_table() -> None:
    names = [
        "Cells_Correlation_K_mito_tubeness_DNA",
        "Cells_Intensity_MeanIntensity_ER",
        "Cells_Granularity_2_DNA",
        "Nuclei_AreaShape_Area",
    ]
    assert channels_of(names) == ("ER", "DNA")
    assert channels_of([names[0], "Cells_Texture_Contrast_mito_tubeness_3_00_256"]) == ("mito_tubeness",)
    assert channels_of(["Cells_Correlation_K_DNA_ER"]) == ("DNA", "ER")
    assert channels_of(iter(["Nuclei_AreaShape_Area"])) == ()


def test_every_name_of_a_wide_table(shared_data: Path) -> None:
    with (shared_data / "wide_profiles" / "Cells.csv").open() as file:
        names = [f"Cells_{name}" for name in next(csv.reader(file)) if name not in ("ImageNumber", "ObjectNumber")]
    channels = channels_of(names)
    assert {"DNA", "ER", "RNA", "AGP", "Mito", "BFHigh"} <= set(channels)
    for feature in (parse(name, channels) for name in names):
        assert feature.compartment == "Cells"
        expected = {
            "Correlation": 2,
            "Intensity": 1,
            "Texture": 1,
            "Granularity": 1,
            "RadialDistribution": 1,
            "AreaShape": 0,
            "Neighbors": 0,
        }
        if feature.group in expected:
            assert len(feature.channels) == expected[feature.group], feature
            assert not any(channel.rsplit("_", 1)[-1].isdigit() for channel in feature.channels)


def test_the_contrasts_of_the_middle_scale() -> None:
    names = [f"Nuclei_Texture_Contrast_DNA_{scale}_{direction:02d}_256" for scale in (10, 3, 5) for direction in (2, 0)]
    others = ["Nuclei_Texture_Entropy_DNA_5_01_256", "Cells_Texture_Contrast_DNA_5_01_256", "Nuclei_Texture_Contrast_ER_5_01_256"]
    expected = (5, ("Nuclei_Texture_Contrast_DNA_5_00_256", "Nuclei_Texture_Contrast_DNA_5_02_256"))
    assert middle_contrasts([*names, *others], ("DNA", "ER"), "DNA") == expected
    assert middle_contrasts(names, ("DNA", "ER"), "ER") == (0, ())
    assert middle_contrasts(["Nuclei_Texture_Contrast_DNA_3_00"], ("DNA",), "DNA")[0] == 3  # CellProfiler 3
