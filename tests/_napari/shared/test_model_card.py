"""Models in lists and on cards: one whose training was ended early is marked in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_virtual_paint._napari.shared.model_card import card, summary
from napari_virtual_paint._napari.shared.model_list import ModelList
from napari_virtual_paint.models import Card, open_model
from small_models import write_toy


def test_a_model_that_was_stopped_early_is_marked_in_list_and_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_PAINT_MODELS", str(tmp_path))
    write_toy(tmp_path / "early", id="early", name="Early one", card=Card(stopped="Stopped after 8 of 2,000 steps"))
    write_toy(tmp_path / "whole", id="whole", name="Whole one", card=Card(trained_on="Much."), authors=())
    names = {key: name for key, name, _ in ModelList().rows()}
    assert names["early"] == "Early one (stopped after 8 of 2,000 steps)"
    assert names["whole"] == "Whole one"
    early, whole = open_model("early").info, open_model("whole").info
    for text in (card(early), summary(early)):
        assert "Stopped after 8 of 2,000 steps." in text
    for text in (card(whole), summary(whole)):
        assert "Stopped" not in text
    assert "Authors" not in card(whole), "nobody is invented"
    write_toy(tmp_path / "signed", id="signed", name="Signed one", authors=("Ada Lovelace",))
    assert "<b>Authors.</b> Ada Lovelace" in card(open_model("signed").info)
