"""Profiles: aggregation, normalisation, sphering, ranking, toxicity, strong treatments, layouts and the whole level."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_virtual_paint.errors import InputError
from napari_virtual_paint.evaluation.context import Context, EvaluationSettings
from napari_virtual_paint.evaluation.level import Findings
from napari_virtual_paint.evaluation.profiles import embedding
from napari_virtual_paint.evaluation.profiles.embedding import common, pca, umap
from napari_virtual_paint.evaluation.profiles.level import PROFILES
from napari_virtual_paint.evaluation.profiles.regularization import sweep
from napari_virtual_paint.evaluation.profiles.retrieval import (
    RetrievalTask,
    by_label,
    hits,
    image_task,
    in_top,
    interpolated,
    mean_precision,
    mechanism_task,
    odds,
    precision,
    queries,
    replicate_task,
    replicates,
)
from napari_virtual_paint.evaluation.profiles.scores import paired_cosine
from napari_virtual_paint.evaluation.profiles.sphering import Sphere, sphere
from napari_virtual_paint.evaluation.profiles.table import FAR, Profiles, aggregate, consensus, cosine, standardise
from napari_virtual_paint.evaluation.profiles.toxicity import toxicity, votes
from napari_virtual_paint.evaluation.profiles.treatment_strength import corrected, strengths

WELLS = ("treatment", "dose", "moa", "batch", "plate")


def context_of(wells: pd.DataFrame, predictions=("good",), negative=None, positive=None, **roles: str | None) -> Context:
    known = {role: role if role in wells else None for role in (*WELLS, "control")} | roles
    if negative is None:
        negative = tuple(wells.index[wells["treatment"] == "control"]) if "treatment" in wells else ()
    positive = tuple(wells.index[wells["treatment"] == "toxin"]) if positive is None and "treatment" in wells else positive or ()
    return Context(tuple(predictions), ("DNA",), wells, known, tuple(negative), tuple(positive), EvaluationSettings(bootstrap=200))


def profiles_of(values: Mapping[str, Any], wells: pd.DataFrame, **given: Any) -> Profiles:
    """Make profiles whose wells have one image each."""
    names = [f"f{i}" for i in range(len(next(iter(values.values()))[0]))]
    rows = [
        {
            "field": f"{well}/0",
            "well": well,
            "source": source,
            "masks": "truth" if source == "truth" else "own",
            **dict(zip(names, row, strict=True)),
        }
        for source, matrix in values.items()
        for well, row in zip(wells.index, matrix, strict=True)
    ]
    context = context_of(wells, [name for name in values if name != "truth"], **given)
    return aggregate(pd.DataFrame(rows), context, names)


def plate(*rows: tuple[Any, ...], columns=("treatment", "dose")) -> pd.DataFrame:
    names = [f"{chr(65 + i // 12)}{i % 12 + 1:02d}" for i in range(len(rows))]
    return pd.DataFrame(rows, columns=list(columns), index=pd.Index(names, name="well"))


def test_wells_are_means_of_images_and_images_keep_their_well():
    wells = plate(("control", 0), ("a", 1))
    rows = [
        ("A01/0", "A01", "truth", "truth", 1.0, 4.0),
        ("A01/1", "A01", "truth", "truth", 3.0, np.nan),
        ("A02/0", "A02", "truth", "truth", 10.0, 20.0),
        ("A01/0", "A01", "good", "own", 5.0, 6.0),
        ("A01/0", "A01", "good", "truth", 50.0, 60.0),
        ("A01/1", "A01", "good", "own", 7.0, 8.0),
    ]
    table = pd.DataFrame(rows, columns=["field", "well", "source", "masks", "x", "y"])
    found = aggregate(table, context_of(wells), ["x", "y"])
    assert found.values["truth"].tolist() == [[2.0, 4.0], [10.0, 20.0]]
    assert found.values["good"][0].tolist() == [6.0, 7.0]  # by its own masks alone
    assert np.isnan(found.values["good"][1]).all()
    assert found.image_wells.tolist() == [0, 0, 1]
    assert found.wells["condition"].tolist() == ["control", "a 1"]
    assert found.wells["kind"].tolist() == ["negative control", "treated"]


@pytest.mark.parametrize("column", ["plate", "batch"])
def test_each_source_and_plate_is_brought_onto_its_own_controls(column: str):
    wells = plate(*[("control", 0, p) for p in "PPPQQQ"], ("a", 1, "P"), ("a", 1, "Q"), columns=("treatment", "dose", column))
    wells = wells.assign(**{"plate": "one"} if column == "batch" else {})
    rng = np.random.default_rng(0)
    values = {"truth": rng.normal(3, 2, (8, 4)), "good": rng.normal(9, 5, (8, 4))}
    normal, notes = standardise(profiles_of(values, wells))
    for source, given in values.items():
        for rows, controls in (([0, 1, 2, 6], given[:3]), ([3, 4, 5, 7], given[3:6])):
            expected = (given[rows] - controls.mean(axis=0)) / controls.std(axis=0)
            np.testing.assert_allclose(normal.values[source][rows], expected, atol=1e-9)
            np.testing.assert_allclose(normal.images[source][rows], expected, atol=1e-9)
    assert notes == []


def test_normalising_by_medians():
    wells = plate(*[("control", 0)] * 5, ("a", 1))
    values = np.array([[1.0], [2.0], [3.0], [4.0], [90.0], [5.0]])
    normal, _ = standardise(profiles_of({"truth": values}, wells), "mad_robustize")
    np.testing.assert_allclose(normal.values["truth"][:, 0], (values[:, 0] - 3) / 1.4826, rtol=1e-5)


def test_what_gives_nothing_is_told_and_counts_as_the_controls():
    wells = plate(("control", 0), ("control", 0), ("a", 1), ("b", 1))
    truth = np.array([[1.0, 5.0], [3.0, 5.0], [4.0, 9.0], [1e9, 5.0]])
    good = np.array([[1.0, 5.0], [3.0, 6.0], [np.nan, np.nan], [2.0, 5.5]])
    normal, notes = standardise(profiles_of({"truth": truth, "good": good}, wells))
    assert normal.values["truth"].tolist() == [[-1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [FAR, 0.0]]
    assert normal.values["good"][2].tolist() == [0.0, 0.0]
    assert any("1 of 4 wells no cell was measured in good" in note for note in notes)
    assert any("1 of 2 features don't vary in the controls of the truth" in note for note in notes)


def test_without_controls_all_wells_are_the_scale():
    wells = plate(("a", 1), ("b", 1), ("control", 0))
    normal, notes = standardise(profiles_of({"truth": np.array([[0.0], [2.0], [4.0]])}, wells))
    np.testing.assert_allclose(normal.values["truth"].ravel(), [-(1.5**0.5), 0, 1.5**0.5])
    assert notes == ["There are 1 negative control wells; its profiles are brought onto the scale of all its wells."]


def test_sphering_makes_the_controls_white():
    rng = np.random.default_rng(1)
    controls = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) + 3
    found = Sphere.fit(controls, 1e-12)
    assert found is not None
    np.testing.assert_allclose(np.cov(found.apply(controls).T), np.eye(5), atol=1e-4)
    others = rng.normal(size=(7, 5))
    eigenvalues, vectors = np.linalg.eigh(np.cov(controls.T))  # ZCA as the formula has it
    expected = (others - controls.mean(axis=0)) @ vectors @ np.diag(eigenvalues**-0.5) @ vectors.T
    np.testing.assert_allclose(found.apply(others), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_regularisation_divides_each_axis_by_its_own_and_its_root(strength: float):
    rng = np.random.default_rng(2)
    controls = rng.normal(size=(30, 4)) * [1, 2, 3, 4]
    found = Sphere.fit(controls, strength)
    assert found is not None
    eigenvalues, vectors = np.linalg.eigh(np.cov(controls.T))
    expected = (controls - controls.mean(axis=0)) @ vectors @ np.diag(1 / (eigenvalues**0.5 + strength**0.5)) @ vectors.T
    np.testing.assert_allclose(found.apply(controls), expected, rtol=1e-8, atol=1e-9)


def test_sphering_that_can_not_be_learnt_is_told():
    few = profiles_of({"truth": np.random.default_rng(0).normal(size=(6, 3))}, plate(*[("control", 0)] * 5, ("a", 1)))
    assert "there are 5" in str(sphere(few, 1.0))
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.normal(size=(4, 9)), 2, axis=0)
    twins = profiles_of({"truth": np.concatenate([alike, rng.normal(size=(1, 9))])}, plate(*[("control", 0)] * 8, ("a", 1)))
    assert "the control wells of the truth depend on each other" in str(sphere(twins, 1.0))


def task_of(labels: list[str], apart: list[str] | None = None) -> RetrievalTask:
    names = tuple(f"q{i}" for i in range(len(labels)))
    return RetrievalTask("treatment", names, tuple(labels), tuple(apart or names), np.zeros(0, np.intp))


def test_average_precision_is_that_of_copairs_and_of_scikit_learn():
    from sklearn.metrics import average_precision_score
    from sklearn.metrics.pairwise import cosine_similarity

    rng = np.random.default_rng(3)
    labels = ["a"] * 4 + ["b"] * 3 + ["c"] * 5 + ["d"]
    values = rng.normal(size=(13, 6))
    found = queries(values, task_of(labels)).set_index("query")
    assert "q12" not in found.index  # nothing to find
    similar = cosine_similarity(values)
    for i in range(12):
        others = [j for j in range(13) if j != i]
        expected = average_precision_score([labels[j] == labels[i] for j in others], similar[i, others])
        assert found.at[f"q{i}", "average_precision"] == pytest.approx(expected, abs=1e-6)
    assert mean_precision(values, task_of(labels)) == pytest.approx(found["average_precision"].mean(), abs=1e-6)


def test_what_is_set_aside_is_neither_hit_nor_miss():
    values = np.array([[1, 0], [1, 0.01], [1, 0.2], [1, 0.1]])  # the query's own compound is nearest, then another mechanism
    found = queries(values, task_of(["m", "m", "m", "n"], ["x", "x", "y", "z"])).set_index("query")
    assert found.at["q0", "candidates"] == 2
    assert found.at["q0", "average_precision"] == pytest.approx(0.5)


def test_profiles_that_are_all_alike_are_ranked_by_chance():
    labels = [f"m{i // 2}" for i in range(60)]
    found = queries(np.zeros((60, 4)), task_of(labels))
    assert found["average_precision"].mean() < 0.25
    assert queries(np.zeros((60, 4)), task_of(labels)).equals(found)


def test_interpolated_precision_by_hand():
    ranking = np.array([False, True, False, True, True])
    assert precision(ranking) == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert interpolated(ranking) == pytest.approx(3 / 5)  # the best precision at or beyond each recall is that of the last
    assert interpolated(np.array([True, False, False, True])) == pytest.approx((1 + 1 / 2) / 2)


def test_odds_are_those_of_fishers_test():
    from scipy.stats import fisher_exact

    rng = np.random.default_rng(4)
    near = rng.normal(size=400)
    found = rng.random(400) < 0.3 + 0.4 * (near > 1.5)
    top = in_top(near)
    assert top.sum() == 4
    table = [[(found & top).sum(), (~found & top).sum()], [(found & ~top).sum(), (~found & ~top).sum()]]
    expected = fisher_exact(table, alternative="greater")[0]
    assert odds(found, top) == pytest.approx(expected if np.isfinite(expected) else table[1][1])
    assert odds(np.array([True, True, False, False, False]), np.array([True, False, False, False, False])) == 3.0  # infinite: the others
    assert odds(np.array([False, True]), np.array([True, False])) == 0.0
    assert odds(np.array([True, False, True, False, False, False]), np.array([True, True, False, False, False, False])) == 3.0


def test_mechanisms_then_doses_then_wells_are_to_be_found():
    rng = np.random.default_rng(0)

    def asked(rows: list[tuple[Any, ...]], columns=("treatment", "dose", "moa")) -> RetrievalTask | None:
        wells = plate(*rows, columns=columns)
        return mechanism_task(profiles_of({"truth": rng.normal(size=(len(rows), 3))}, wells))

    by_moa = asked([("control", 0, ""), ("x", 1, "m"), ("x", 2, "m"), ("y", 1, "m"), ("z", 1, "n"), ("u", 1, "")])
    assert by_moa is not None
    assert by_moa.names == ("x 1", "x 2", "y 1", "z 1")
    assert by_moa.relevant[0].tolist() == [False, False, True, False]
    by_dose = asked([("control", 0, ""), ("x", 1, "m"), ("x", 2, "m"), ("z", 1, "n"), ("z", 2, "n")])
    assert by_dose is not None
    assert by_dose.relevant[0].tolist() == [False, True, False, False]
    assert "mAP asks for the other doses" in by_dose.note
    by_well = asked([("x",), ("x",), ("z",), ("control",)], ("treatment",))
    assert by_well is not None
    assert (by_well.unit, by_well.names) == ("well", ("A01", "A02", "A03"))
    assert asked([("x",), ("x",), ("control",)], ("treatment",)) is None  # one treatment: nothing to be told from


def test_map_of_mechanisms_has_a_p_against_chance():
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(0, 1, (6, 20)) + 3 * np.eye(20)[0], rng.normal(0, 1, (6, 20))])
    labels = ["near"] * 6 + ["far"] * 6
    scores = queries(values, task_of(labels))
    found = by_label(scores, 0).set_index("label")
    assert found.at["near", "map"] == pytest.approx(scores.loc[scores["label"] == "near", "average_precision"].mean())
    assert found.at["near", "p"] < 0.05 < found.at["far", "p"]
    assert found["queries"].tolist() == [6, 6]


def test_hits_are_counted_for_treatments_wells_and_images():
    # Wells of a lie together; those of b lie with c, and b's images are nearest to the other image of their own well.
    angles = {"A01": 0.0, "A02": 0.1, "A03": 1.0, "A04": 1.4, "A05": 1.02, "A06": 1.39}
    wells = plate(*[(name, 1, "m" if name != "c" else "n") for name in "aabbcc"], columns=("treatment", "dose", "moa"))
    rows = [
        (f"{well}/{i}", well, "truth", "truth", np.cos(angle + 0.003 * i), np.sin(angle + 0.003 * i))
        for well, angle in angles.items()
        for i in range(2)
    ]
    table = pd.DataFrame(rows, columns=["field", "well", "source", "masks", "x", "y"])
    profiles = aggregate(table, context_of(wells, ()), ["x", "y"])
    found = hits(profiles, "truth", mechanism_task(profiles), 0).set_index("level")
    assert found.loc["well"].tolist() == [1, 3]  # a finds a
    assert found.loc["image"].tolist() == [1, 3]
    assert found.loc["treatment"].tolist() == [1, 2]  # a's nearest is b, of its mechanism; b's is c
    assert image_task(profiles).relevant[0].tolist() == [False] * 2 + [True] * 2 + [False] * 8
    assert replicate_task(profiles).relevant[0].tolist() == [False, True] + [False] * 4


def test_replicates_by_hand():
    values = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, -1.0]])
    found = replicates(values, ["a", "b", "b", "a"], ["a", "b", "b", "a"])
    assert found["condition"].tolist() == ["a", "b"]
    assert found["similarity"].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])
    others = [0.0, 0.5**0.5, -(0.5**0.5), -1.0]
    assert found["chance"].tolist() == pytest.approx([np.percentile(others, 95)] * 2)
    assert found["replicates"].tolist() == [False, True]


def test_cosine_is_scikit_learns_and_0_without_a_direction():
    from sklearn.metrics.pairwise import cosine_similarity

    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    np.testing.assert_allclose(cosine(a, b), cosine_similarity(a, b))
    assert (cosine(np.zeros((1, 3)), b) == 0).all()
    assert paired_cosine(a, a).tolist() == [1.0] * 4
    names, means = consensus(np.array([[1.0], [3.0], [5.0]]), ["x", "", "x"])
    assert (names, means.tolist()) == (["x"], [[3.0]])


def test_votes_are_those_of_a_plain_nearest_neighbour_classifier():
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.normal(0, 1, (9, 3)), rng.normal(2, 1, (3, 3)), rng.normal(1, 1.5, (12, 3))])
    negative, positive, asked = np.arange(9), np.arange(9, 12), np.arange(12, 24)
    found = votes(values, negative, positive, asked, seed=5)
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)
    draws, total = np.random.default_rng(5), np.zeros(12)
    for _ in range(100):
        drawn = np.concatenate([draws.choice(negative, 9), draws.choice(positive, 9)])
        distance = ((scaled[asked][:, None] - scaled[drawn]) ** 2).sum(axis=2)
        near = np.argsort(distance, axis=1, kind="stable")[:, :5]
        total += (near >= 9).sum(axis=1) > 2
    np.testing.assert_allclose(found, total / 100, atol=0.021)  # equal copies of a well may be counted in another order
    assert 0 < found.mean() < 1


def test_sensitivity_and_specificity_by_hand():
    wells = plate(*[("control", 0)] * 4, *[("toxin", 1)] * 3, *[(name, 1) for name in "abcd"])
    base = np.array([0.0, 0.1, -0.1, 0.05, 10, 10.1, 9.9, 10, 10, 0, 0])
    said = np.array([0.0, 0.1, -0.1, 0.05, 10, 10.1, 9.9, 10, 0, 0, 10])
    found = toxicity(profiles_of({"truth": base[:, None], "good": said[:, None]}, wells), 0)
    assert found.calls[found.calls["source"] == "truth"]["toxic"].tolist() == [True, True, False, False]
    assert found.agreement("good") == {"sensitivity": 0.5, "specificity": 0.5, "toxic_wells": 2, "called_wells": 4}
    assert found.agreement("truth")["sensitivity"] == found.agreement("truth")["specificity"] == 1.0


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["control"] * 5 + ["a"], "there are no positive control wells"),
        (["toxin"] * 5 + ["a"], "there are no negative control wells"),
        (["control", "control", "toxin", "a"], "3 control wells are fewer than the 5 neighbors"),
        (["control"] * 3 + ["toxin"] * 3, "all treated wells are controls"),
        (["control"] * 3 + ["toxin"] * 3 + ["a"], "in the truth all 1 treated wells are called harmless"),
    ],
)
def test_toxicity_that_is_undefined_says_why(names: list[str], told: str):
    values = np.array([{"control": 0.0, "toxin": 9.0, "a": 0.5}[name] + 0.01 * i for i, name in enumerate(names)])[:, None]
    found = toxicity(profiles_of({"truth": values}, plate(*[(name, 1) for name in names])), 0)
    assert told in " ".join(found.notes)
    assert found.agreement("truth")["sensitivity"] is None


def test_strong_treatments_by_hand():
    rows = [("control", 0, "P")] * 3 + [("a", 1, "P"), ("b", 1, "P"), ("b", 1, "P")] + [("control", 0, "Q")] * 3 + [("a", 1, "Q")]
    wells = plate(*rows, columns=("treatment", "dose", "plate"))
    values = np.array([-1.0, 0, 3, 11, 5, 7, 0, 2, 2, 8])[:, None]
    found = strengths(profiles_of({"truth": values}, wells), "truth").set_index("condition")
    first = np.array([1.0, 0, 3])  # distances of plate P's controls from their median 0; Q's: 2, 0, 0 from 2
    second = np.array([2.0, 0, 0])
    a = (11 - first.mean()) / first.std() + (6 - second.mean()) / second.std()
    b = ((5 + 7) / 2 - first.mean()) / first.std()
    assert found["strength"].to_dict() == pytest.approx({"a 1": a, "b 1": b})
    assert found.loc["a 1", ["rank", "plates", "wells"]].tolist() == [1, 2, 2]
    assert found.loc["b 1", ["rank", "plates", "wells"]].tolist() == [2, 1, 2]


def test_strong_treatments_are_sphered_where_controls_suffice():
    rng = np.random.default_rng(8)
    many = profiles_of({"truth": rng.normal(size=(11, 3))}, plate(*[("control", 0)] * 10, ("a", 1)))
    found, told = corrected(many)
    assert told == ""
    expected = Sphere.fit(many.values["truth"][:10], 1e-2)
    assert expected is not None
    np.testing.assert_allclose(found.values["truth"], expected.apply(many.values["truth"]))
    few = profiles_of({"truth": rng.normal(size=(8, 30))}, plate(*[("control", 0)] * 7, ("a", 1)))
    found, told = corrected(few)
    assert found is few
    assert "7 negative control wells are too few for 30 features" in told


def test_the_sweep_takes_what_is_best_for_the_truths_replicates():
    rng = np.random.default_rng(9)
    nuisance = rng.normal(size=(1, 12))
    rows = [("control", 0)] * 30 + [(f"t{i // 3}", 1) for i in range(18)]
    values = rng.normal(0, 0.5, (48, 12)) + 20 * rng.normal(size=(48, 1)) * nuisance  # an effect of the plate's place on all wells
    for i in range(18):
        values[30 + i, i // 3] += 4
    normal, _ = standardise(profiles_of({"truth": values, "good": values[::-1]}, plate(*rows)))
    steps = sweep(normal, mechanism_task(normal), 0)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            found = ended.value
            break
    truth = found.table[found.table["source"] == "truth"].set_index("regularisation")
    assert found.chosen is not None
    assert truth["replicate_map"].idxmax() == f"{found.chosen:g}"
    assert truth.at[f"{found.chosen:g}", "replicate_map"] > truth.at["none", "replicate_map"] + 0.2
    assert truth["chosen"].sum() == 1
    np.testing.assert_allclose(found.profiles.values["truth"], sphere(normal, found.chosen).values["truth"])  # type: ignore[union-attr]


def test_all_sources_share_the_truths_space():
    wells = plate(("a", 1), ("b", 1), ("c", 1))
    truth = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]])
    places = common(profiles_of({"truth": truth, "good": truth + np.array([7.0, 1.0])}, wells))
    spread = (2 / 3) ** 0.5
    np.testing.assert_allclose(places[:, 0], [-1 / spread, 0, 1 / spread, 6 / spread, 7 / spread, 8 / spread])
    assert places.shape == (6, 1)  # what does not vary in the truth has no unit


def test_a_well_without_cells_has_no_place(monkeypatch):
    wells = plate(*[("control", i) for i in range(6)])
    truth = np.random.default_rng(3).normal(size=(6, 4))
    monkeypatch.setattr(embedding, "umap", lambda values, seed: values[:, :2])
    good = np.where(np.arange(6)[:, None] == 2, np.nan, truth + 1)
    table, notes = embedding.embed(profiles_of({"truth": truth, "good": good}, wells), context_of(wells, ["good"]))
    lost = table[["pca_1", "umap_1", "umap_2"]].isna().all(axis=1)
    assert table.loc[lost, ["source", "well"]].to_numpy().tolist() == [["good", "A03"]]
    assert table.loc[~lost, ["pca_1", "pca_2", "umap_1", "umap_2"]].notna().all(axis=None)
    assert any("1 of 12 of all sources" in note for note in notes)


def test_pca_is_the_singular_value_decomposition():
    values = np.random.default_rng(10).normal(size=(9, 4))
    found, share = pca(values)
    left, sizes, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(left[:, :2] * sizes[:2]))
    assert share == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum())
    assert pca(np.ones((4, 3)))[0].tolist() == [[0.0, 0.0]] * 4
    assert pca(np.zeros((1, 3)))[1] == 0.0


UMAP = """
import numpy as np
from napari_virtual_paint.evaluation.profiles.embedding import umap
values = np.random.default_rng(0).normal(0, 1, (12, 8)) + np.repeat([[0], [9]], 6, axis=0)
first, second = umap(values, 3), umap(values, 3)
assert (first == second).all()
centres = first[:6].mean(axis=0), first[6:].mean(axis=0)
assert np.linalg.norm(centres[0] - centres[1]) > np.linalg.norm(first[:6] - centres[0], axis=1).max()
assert np.isnan(umap(values[:4], 0)).all()
"""


def test_umap_is_the_same_each_time_and_keeps_groups_apart():
    given = os.environ | {"NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1"}  # compiling takes longer than all of it
    subprocess.run([sys.executable, "-c", UMAP], check=True, env=given, timeout=100)


def test_umap_is_asked_for_as_in_the_paper(monkeypatch):
    asked = []

    class Model:
        def __init__(self, **given):
            asked.append(given)

        def fit_transform(self, values):
            return values[:, :2]

    monkeypatch.setitem(sys.modules, "umap", type("Module", (), {"UMAP": Model}))
    umap(np.ones((40, 3)), 7)
    umap(np.ones((9, 3)), 7)
    shared = {"min_dist": 0.8, "n_components": 2, "random_state": 7, "n_jobs": 1}
    assert asked == [{"n_neighbors": 15, **shared}, {"n_neighbors": 8, **shared}]
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match="umap-learn, which is not installed"):
        umap(np.ones((9, 3)), 7)


def measured(noise: Mapping[str, float], *, controls=8, seed=0, features=40, moa=True) -> tuple[dict[str, pd.DataFrame], Context]:
    """Make the table of features of a plate with mechanisms, and what is known of it."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(0, 1.5, (4, features))
    rows = [("control", 0.0, "")] * controls + [("toxin", 1.0, "")] * 3
    rows += [(f"{m}{i}", dose, m) for m in "pqr" for i in range(2) for dose in (0.5, 1.0) for _ in range(2)]
    wells = plate(*rows, columns=("treatment", "dose", "moa")).assign(batch=1, note="x")
    effect = {"p": directions[0], "q": directions[1], "r": directions[2], "t": directions[3]}
    table = []
    for well, (treatment, dose, _) in zip(wells.index, rows, strict=True):
        moved = effect[treatment[0]] * dose if treatment != "control" else np.zeros(features)
        if treatment == "p0":
            moved = effect["t"] * (0.2 + dose) + 0.3 * effect["p"]  # toxic
        for i in range(2):
            truth = moved + rng.normal(0, 0.7, features) + np.arange(features)
            for source in ("truth", *noise):
                # Not one feature is in the truth's units.
                told = truth if source == "truth" else truth + rng.normal(0, noise[source], features) if noise[source] else truth
                named = dict(zip((f"Cells_Intensity_Mean{k}_DNA" for k in range(features)), told.astype(np.float32), strict=True))
                masks = "truth" if source == "truth" else "own"
                table.append({"field": f"{well}/{i}", "well": well, "source": source, "masks": masks, "cells": 20, **named})
    context = context_of(wells, tuple(noise), moa="moa" if moa else None)
    return of_images(pd.DataFrame(table)), context


def of_images(images: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of features; twenty images or more are enough to choose features on, without cells."""
    return {"features_images": images, "features_cells": images.drop(columns="cells").assign(object=1)}


def worked(tables: Mapping[str, pd.DataFrame], context: Context) -> Findings:
    steps, last = PROFILES.summary(tables, context), 0.0
    while True:
        try:
            done, total, _ = next(steps)
        except StopIteration as ended:
            return ended.value
        assert last <= done <= total
        last = done


@pytest.fixture(scope="module")
def flat() -> Iterator[None]:
    """Lay out without UMAP, which takes seconds to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "umap", lambda values, seed: np.full((len(values), 2), float(seed)))
        yield


@pytest.fixture(scope="module")
def plate_found(flat) -> Findings:
    """Work out the level once for several tests."""
    return worked(*measured({"good": 0.3, "weak": 4.0, "same": 0.0}))


def test_a_good_prediction_wins_and_an_identical_one_is_perfect(plate_found):
    found = plate_found
    good, weak, same = found.section, found.others["weak"], found.others["same"]
    truth = good["truth"]
    assert truth["map"] > 0.8
    assert (same["map"], same["enrichment_1pct"]) == (truth["map"], truth["enrichment_1pct"])
    assert same["sensitivity"] == same["specificity"] == same["similarity_to_truth"] == same["similarity_structure"] == 1.0
    assert same["hits_1pct"] == truth["hits_1pct"]
    assert same["replicate_similarity"] == truth["replicate_similarity"]
    for key in ("map", "enrichment_1pct", "similarity_to_truth", "replicate_similarity", "similarity_structure"):
        assert good[key] > weak[key], key
        assert good.get(f"{key}_low", 0) <= good[key] <= good.get(f"{key}_high", np.inf)
    assert good["sensitivity"] == good["specificity"] == 1.0 >= weak["sensitivity"]
    ahead = found.deltas.set_index(["metric", "against"])
    row = ahead.loc[("Mean average precision", "weak")]
    assert row["delta"] == pytest.approx(good["map"] - weak["map"])
    assert (row["n"], row["unit"], row["better"]) == (12, "query", "good")
    assert found.headline[0].values == {"good": good["map"], "weak": weak["map"], "same": same["map"]}
    assert found.headline[0].truth == truth["map"]
    assert found.headline[2].label == "Sensitivity to toxic treatments"
    json.dumps([found.section, found.others], allow_nan=False)


def test_tables_are_for_the_dock_and_figures_have_their_columns(plate_found):
    found = plate_found
    places, wide = found.tables["profiles_embedding"], found.tables["profiles"]
    known = ["source", "well", "treatment", "batch", "plate"]
    assert list(places.columns[:9]) == [*known, "pca_1", "pca_2", "umap_1", "umap_2"]
    assert "note" in places
    assert places["source"].drop_duplicates().tolist() == ["truth", "good", "weak", "same"]
    assert len(places) == len(wide) == 4 * found.section["wells"]
    assert wide.filter(like="Cells_").shape[1] == found.section["features"]
    controls = wide[(wide["source"] == "weak") & (wide["kind"] == "negative control")].filter(like="Cells_")
    np.testing.assert_allclose(controls.mean(), 0, atol=1e-5)
    np.testing.assert_allclose(controls.std(ddof=0), 1, atol=1e-5)
    for figure in found.figures:
        table = found.tables[figure.table]
        for name in figure.encode.values():
            for column in (name,) if isinstance(name, str) else name:
                assert column in table, (figure.name, column)
    assert len({figure.name for figure in found.figures}) == len(found.figures)


def test_it_is_the_same_each_time(flat):
    tables, context = measured({"good": 0.3}, features=10)
    found, again = worked(tables, context), worked(tables, context)
    assert again.section == found.section
    for name, table in found.tables.items():
        pd.testing.assert_frame_equal(table, again.tables[name])


def test_what_is_undefined_is_null_and_told(flat):
    tables, context = measured({"good": 0.3})
    bare = Context(("good",), ("DNA",), pd.DataFrame(), {})
    found = worked(tables, bare)
    for key in ("map", "enrichment_1pct", "sensitivity", "specificity"):
        assert found.section[key] is None
        assert found.section["truth"][key] is None
    assert found.section["similarity_to_truth"] > 0.9
    assert any("there are no negative and positive control wells" in note for note in found.notes)
    assert any(note.startswith("mAP and folds of enrichment are undefined") for note in found.notes)
    json.dumps(found.section, allow_nan=False)
    one = tables["features_images"].iloc[:4]  # one well
    found = worked(of_images(one), context)
    assert found.section["map"] is None
    assert any("too few for a UMAP" in note for note in found.notes)
    for empty in ({}, of_images(one.iloc[:0])):
        found = worked(empty, context)
        assert found.section["map"] is None
        assert found.notes == ("Profiles are undefined: no cell was measured in the truth.",)
        json.dumps(found.section, allow_nan=False)


def test_predictions_without_cells_or_of_one_value_are_at_chance(flat):
    tables, context = measured({"none": 0.3, "flat": 0.3})
    images = tables["features_images"]
    names = [name for name in images if name.startswith("Cells_")]
    images.loc[images["source"] == "none", names] = np.nan
    images.loc[images["source"] == "flat", names] = 7.0
    found = worked(of_images(images), context)
    for section in (found.section, found.others["flat"]):
        assert section["map"] < 0.6 < section["truth"]["map"]
        assert section["similarity_to_truth"] == 0.0
        assert section["sensitivity"] in (0.0, 1.0)  # all or none
    json.dumps([found.section, found.others], allow_nan=False)
