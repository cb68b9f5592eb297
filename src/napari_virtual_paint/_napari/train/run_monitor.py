"""The Train dock's part that watches: the runs there are, how the chosen one stands, and what it is told."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_virtual_paint._napari.commands import find_dock, stain_dock
from napari_virtual_paint._napari.shared import jobs
from napari_virtual_paint._napari.shared.appearance import blending_for
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.layers import KEY
from napari_virtual_paint._napari.shared.progress import set_bar
from napari_virtual_paint._napari.train import process
from napari_virtual_paint._napari.train.panel import TrainPanel
from napari_virtual_paint._napari.train.run_list import RunLocation, bare, find_runs, line, told
from napari_virtual_paint._napari.train.state import RUN
from napari_virtual_paint._napari.train.watcher import Pictures, Watcher
from napari_virtual_paint.channel_colors import channel_color
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.training.run_folder.watch import PROGRESS, RunState, send_command

SOON = 50
"""Milliseconds that the dock is given to lay out what has just been shown."""


class TrainRuns(TrainPanel):
    """What watches; `train.TrainDock` adds what begins.

    Attributes
    ----------
    place
        The run that is watched; None where none is.
    state
        How it stands.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer = viewer
        self.place: RunLocation | None = None
        self.state: RunState | None = None
        self._found: dict[str, tuple[RunLocation, RunState]] = {}
        self._opened: list[Path] = []
        self._watcher, self._turns = Watcher(), StepQueue()
        self._asked_stop, self._awaited = False, False
        self._watcher.changed.connect(self._changed)
        self._watcher.pictured.connect(self._pictured)
        self.run_chosen.connect(lambda folder: self.watch_run(self._found[folder][0]) if folder in self._found else None)
        self.open_run.clicked.connect(self._ask_run)
        self.pause.clicked.connect(self.pause_run)
        self.stop.clicked.connect(self.stop_run)
        self.finish.clicked.connect(partial(self._tell, "finish"))
        self.resume.clicked.connect(self.resume_run)
        self.paint.clicked.connect(self.paint_with)
        self.preview.add.connect(self.add_layers)
        watcher = self._watcher
        self.destroyed.connect(lambda: watcher.stop())
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(process.stop_started)
        self.look_for_runs()

    # -- which runs there are -----------------------------------------------------------------------------------------

    def look_for_runs(self) -> None:
        """Look, on a worker, which runs there are."""
        opened = tuple(self._opened)
        jobs.start_function(lambda: find_runs(opened), title="Looking for trainings", done=self._runs_there, quiet=True)

    @timed
    def _runs_there(self, found: list[tuple[RunLocation, RunState]]) -> None:
        if not isalive(self):
            return
        self._found = {str(place.folder): (place, state) for place, state in found}
        self._show_runs()
        if self.place is None:
            alive = next((place for place, state in found if state.alive), None)
            if alive is not None:
                self.watch_run(alive)

    def _show_runs(self) -> None:
        chosen = str(self.place.folder) if self.place is not None else ""
        self.set_runs([(folder, line(place, state)) for folder, (place, state) in self._found.items()], chosen)

    def _ask_run(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Watch a run: choose its run folder, with progress.json in it")
        if path:
            self.open_folder(path)

    def open_folder(self, path: str | Path) -> None:
        """Watch a run that was started elsewhere, as on a cluster with a shared disk."""
        folder = Path(path)
        inner = next((each for each in (folder, folder / RUN) if (each / PROGRESS).is_file()), None)
        if inner is None:
            show_warning(f"{folder}: there is no training's {PROGRESS} in it; choose the run's own folder, which lies beside its package.")
            return
        place = RunLocation(folder, inner)
        if folder not in self._opened:
            self._opened.append(folder)
        self.watch_run(place)
        self.look_for_runs()

    # -- how one stands -----------------------------------------------------------------------------------------------

    def watch_run(self, place: RunLocation, begun: bool = False) -> None:
        """Show a run, and follow it while it goes on; of one that was begun just now the end is told, however soon it comes."""
        self._awaited = begun
        if self.place != place:
            self.state = None
            self.preview.set_pictures(None)
            self.curve.set_state(None)
        self.place, self._asked_stop = place, False
        self.watching.show()
        QTimer.singleShot(SOON, self.show_run)
        self._watcher.watch(lambda: process.seen(place.folder, place.run), place.folder.name)
        self._show_runs()

    def show_run(self) -> None:
        """Bring the run that is watched into view; the form is long."""
        if isalive(self):
            bar = self.scroll.verticalScrollBar()
            bar.setValue(min(bar.maximum(), max(bar.value(), self.runs.mapTo(self.scroll.widget(), self.runs.rect().topLeft()).y() - 30)))

    @timed
    def _changed(self, state: RunState) -> None:
        """Show how the run stands."""
        if not isalive(self) or self.place is None:
            return
        before, self.state = self.state, state
        self._found[str(self.place.folder)] = (self.place, state)
        self._show_runs()
        self.curve.set_state(state)
        self.bar.setVisible(state.alive)
        set_bar(self.bar, round(1000 * state.step / max(state.steps, 1)))
        self.say(self.status, told(state))
        self._enable_run()
        if not state.alive and (self._awaited or (before is not None and before.alive)):
            self._awaited = False
            self._ended(state)

    def _pictured(self, pictures: Pictures) -> None:
        if isalive(self):
            self.preview.set_pictures(pictures)

    def _ended(self, state: RunState) -> None:
        """Tell how the run ended."""
        name = self.place.folder.name if self.place is not None else state.id
        if state.state == "finished":
            self._turns.add(
                partial(show_info, f"{name} is trained; it is in the list of models of the Stain dock."), self._refresh_stain_dock
            )
        elif state.state == "failed":
            self._turns.add(partial(show_error, f"{name}: {bare(state)}"))
        else:
            self._turns.add(partial(show_info, f"{name}: {bare(state) or 'the training was stopped.'}"))
        self._turns.add(self.run_ended)

    def run_ended(self) -> None:
        """Follow the end of a run; the dock enables what waited for it."""

    def _enable_run(self) -> None:
        """Enable what can be done now."""
        state, place = self.state, self.place
        alive = state is not None and state.alive
        training = alive and state is not None and state.phase in ("training", "refit")
        for button, on in (
            (self.pause, training),
            (self.stop, alive),
            (self.finish, training),
            (self.resume, not alive and state is not None and place is not None and place.config is not None and state.state != "finished"),
            (self.paint, state is not None and state.state == "finished" and Path(state.package).exists()),
        ):
            button.setEnabled(bool(on))
        if alive:
            self.say(self.time, "")  # of another training, which this one would slow down
        self.pause.setText("Go on" if state is not None and state.state == "paused" else "Pause")
        self.resume.setVisible(not alive and self.resume.isEnabled())
        self.paint.setVisible(self.paint.isEnabled())

    # -- what it is told ----------------------------------------------------------------------------------------------

    def pause_run(self) -> None:
        """Hold the run, or let it go on."""
        self._tell("go" if self.state is not None and self.state.state == "paused" else "pause")

    def stop_run(self) -> None:
        """Stop the run, with all kept for a resume; asked again while a long step is computed, end its process."""
        place, state = self.place, self.state
        if place is None or state is None or not state.alive:
            return
        training = process.STARTED.get(place.folder)
        if self._asked_stop and training is not None and training.alive:
            training.process.kill()
            return
        self._asked_stop = True
        self.say(self.status, "Stopping after this step…")
        self._try(lambda: process.stop(place.folder, place.run))

    def resume_run(self) -> None:
        """Go on with a run that was stopped."""
        place = self.place
        if place is None or place.config is None:
            return
        config, keep = place.config, self.form.value().keep_running
        if self._try(lambda: process.begin(place.folder, config, keep=keep)):
            self.watch_run(place, begun=True)

    def _tell(self, word: str) -> None:
        place = self.place
        if place is not None:
            self._try(lambda: send_command(place.run, word))

    @staticmethod
    def _try(act: Any) -> bool:
        """Do something; an error becomes a notification."""
        try:
            act()
        except VirtualPaintError as error:
            show_error(str(error))
            return False
        return True

    # -- what comes of it ---------------------------------------------------------------------------------------------

    def add_layers(self) -> None:
        """Add the preview to the viewer, a layer a turn of the event loop: true and painted stains in one contrast."""
        pictures = self.preview.pictures
        if pictures is None:
            return
        shown = pictures.preview
        size = shown.pixel_size if None not in shown.pixel_size else (1.0, 1.0)
        shared = {
            "scale": size,
            "metadata": {KEY: {"role": "preview"}},
            **({"units": ("um", "um")} if None not in shown.pixel_size else {}),
        }
        layers: list[tuple[Any, dict[str, Any]]] = [
            (pixels, {"name": f"{name} (preview)", "colormap": "gray"}) for name, pixels in zip(shown.channels, shown.input, strict=True)
        ]
        for index, name in enumerate(shown.stains):
            look = {
                "colormap": channel_color(name, index).colormap,
                "blending": blending_for(name),
                "contrast_limits": pictures.limits[index],
            }
            layers.append((shown.truth[index], {"name": f"{name} (true, preview)", **look}))
            layers.append((shown.painted[index], {"name": f"{name} (painted, preview)", **look}))
        for pixels, arguments in layers:
            self._turns.add(partial(self.viewer.add_image, pixels, **arguments, **shared))

    def paint_with(self) -> None:
        """Open the Stain dock with the model of this run."""
        state = self.state
        if state is None or state.state != "finished":
            return
        dock = stain_dock()
        if dock is not None:
            dock.reload_models(state.id, state.package)

    def _refresh_stain_dock(self) -> None:
        """Let the Stain dock list the new model, if it is open."""
        dock = find_dock(self.viewer, "Stain")
        if dock is not None:
            dock.reload_models()
