"""The model for a plate: the best of those that fit its fields, until the user chooses one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_virtual_paint._napari.plate.session import PlateSession
from napari_virtual_paint._napari.shared import preferences
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.model_list import model_rows
from napari_virtual_paint.models import Model
from napari_virtual_paint.models.ranking import RankedModel, rank_models
from napari_virtual_paint.plates.job.inputs import first_field
from napari_virtual_paint.plates.plate import Plate
from napari_virtual_paint.runtime.progress import Progress

if TYPE_CHECKING:
    from napari_virtual_paint._napari.plate.paint_form import PaintForm


class ModelChoice(QObject):  # type: ignore[misc]
    """Ranks the models for each plate that is opened, lists them so, and takes the best one that fits, unless the user chose one."""

    changed = Signal()
    """The models are being ranked, or are ranked now."""

    def __init__(self, session: PlateSession, form: PaintForm, parent: QObject) -> None:
        super().__init__(parent)
        self.session, self.form = session, form
        self._ranking = LatestJob(self)
        session.plate_opened.connect(lambda again: None if again else self._rank())
        session.models_changed.connect(self._rank)

    @property
    def busy(self) -> bool:
        """Whether a field is being compared with the training images of the models."""
        return self._ranking.running

    def _rank(self) -> None:
        plate, models = self.session.plate, self.session.models
        if plate is None or models is None:
            return
        known = dict(models.models)
        self._ranking.start(
            lambda: ranked_for(plate, known), title="Comparing with the training images", done=lambda ranked: self._show(plate, ranked)
        )
        self.changed.emit()

    @timed
    def _show(self, plate: Plate, ranked: list[RankedModel]) -> None:
        session = self.session
        if session.plate is plate and ranked:
            self.form.setModels(model_rows(ranked))
            best = ranked[0]
            free = not session.model_chosen and not session.painted.model and not session.painted.states
            if free and best.fits and not best.light and best.key != session.state.model:
                session.take_model(best.key)
        self.changed.emit()


def ranked_for(plate: Plate, models: Mapping[str, Model]) -> Generator[Progress, None, list[RankedModel]]:
    """Rank models for a plate by its first field that can be read (on a worker).

    Returns
    -------
    list of RankedModel
        The best first, by the domain check where their channels and planes fit; empty where no field can be read.
    """
    from napari_virtual_paint.painting.domain_check import domain_of
    from napari_virtual_paint.painting.settings import PaintSettings

    field = first_field(plate.reader, plate.fields)
    if field is None:
        return []
    infos = {key: model.info for key, model in models.items()}
    channels = {key: preferences.recall(info.id, field.channel_labels) for key, info in infos.items()}
    verdicts = {}
    for one in rank_models(infos, field, channels):
        yield Progress()
        if one.comparable:
            model = Model(models[one.key].files, models[one.key].description)  # its weights are not kept after the check
            verdicts[one.key] = domain_of(model, field, PaintSettings(channels=channels[one.key]), quick=True)
    return rank_models(infos, field, channels, verdicts)
