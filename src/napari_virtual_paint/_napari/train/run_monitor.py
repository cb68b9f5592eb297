"""Runs of training in the Train dock: the list of them, the state of the chosen one, and its pause, stop and resume."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_virtual_paint._napari.commands import find_dock, stain_dock
from napari_virtual_paint._napari.shared.background import LatestJob
from napari_virtual_paint._napari.shared.event_loop import StepQueue
from napari_virtual_paint._napari.shared.gui_timing import timed
from napari_virtual_paint._napari.shared.progress import set_bar
from napari_virtual_paint._napari.shared.viewer.appearance import blending_for
from napari_virtual_paint._napari.shared.viewer.layers import KEY
from napari_virtual_paint._napari.train import process
from napari_virtual_paint._napari.train.panel import TrainPanel
from napari_virtual_paint._napari.train.process import RunLocation
from napari_virtual_paint._napari.train.run_list import find_runs, list_text, message_of, status_html, stop_sentence
from napari_virtual_paint._napari.train.state import RUN, TrainState
from napari_virtual_paint._napari.train.watcher import Pictures, watch_changes
from napari_virtual_paint.channel_colors import channel_color
from napari_virtual_paint.choices import RunCommand
from napari_virtual_paint.errors import VirtualPaintError
from napari_virtual_paint.training.run_folder.watch import PROGRESS, RunState, send_command


class RunMonitor(QObject):  # type: ignore[misc]
    """Lists runs, watches one of them, and controls it.

    Signals
    -------
    watched
        Another run is watched.
    changed
        The state of the watched run has changed.
    ended
        The watched run has ended.

    Attributes
    ----------
    location
        The run that is watched; None where none is.
    state
        Its state.
    """

    watched = Signal()
    changed = Signal()
    ended = Signal()

    def __init__(self, viewer: Any, panel: TrainPanel) -> None:
        super().__init__(panel)
        self._viewer, self._panel = viewer, panel
        self.location: RunLocation | None = None
        self.state: RunState | None = None
        self._found: dict[str, tuple[RunLocation, RunState]] = {}
        self._opened: list[Path] = []
        self._listing, self._watching = LatestJob(self), LatestJob(self)
        self._steps = StepQueue()
        self._stop_requested, self._report_end = False, False
        panel.run_chosen.connect(lambda folder: self.watch(self._found[folder][0]) if folder in self._found else None)
        panel.open_run.clicked.connect(lambda _checked: self._ask_run())
        panel.pause.clicked.connect(lambda _checked: self.pause())
        panel.stop.clicked.connect(lambda _checked: self.stop())
        panel.finish.clicked.connect(lambda _checked: self._send("finish"))
        panel.resume.clicked.connect(lambda _checked: self.resume())
        panel.paint.clicked.connect(lambda _checked: self.paint())
        panel.preview.add.connect(self.add_layers)
        panel.form.valueChanged.connect(self._keep_running)
        application = QApplication.instance()
        if application is not None:  # in IPython the process outlives napari, and atexit would come late
            application.aboutToQuit.connect(process.stop_started)
        self.list_runs()

    @property
    def alive(self) -> bool:
        """Whether the watched run goes on."""
        return self.state is not None and self.state.alive

    # -- the list of runs ---------------------------------------------------------------------------------------------

    def list_runs(self) -> None:
        """List the runs there are, in the background."""
        self._listing.start_function(partial(find_runs, tuple(self._opened)), title="Looking for trainings", done=self._show_found)

    @timed
    def _show_found(self, found: list[tuple[RunLocation, RunState]]) -> None:
        self._found = {str(location.folder): (location, state) for location, state in found}
        self._show_runs()
        alive = next((location for location, state in found if state.alive), None)
        if self.location is None and alive is not None:
            self.watch(alive)

    def _show_runs(self) -> None:
        chosen = str(self.location.folder) if self.location is not None else ""
        self._panel.set_runs([(folder, list_text(location, state)) for folder, (location, state) in self._found.items()], chosen)

    def _ask_run(self) -> None:
        path = QFileDialog.getExistingDirectory(self._panel, "Watch a run: choose its run folder, with progress.json in it")
        if path:
            self.open_folder(path)

    def open_folder(self, path: str | Path) -> None:
        """Watch a run that was started elsewhere, as on a cluster with a shared disk."""
        folder = Path(path)
        run = next((each for each in (folder, folder / RUN) if (each / PROGRESS).is_file()), None)
        if run is None:
            show_warning(f"{folder}: there is no training's {PROGRESS} in it; choose the run's own folder, which lies beside its package.")
            return
        if folder not in self._opened:
            self._opened.append(folder)
        self.watch(RunLocation(folder, run))
        self.list_runs()

    # -- the run that is watched --------------------------------------------------------------------------------------

    def watch(self, location: RunLocation, begun: bool = False) -> None:
        """Show a run, and follow it while it goes on; of one that has just `begun` the end is reported, however soon it comes."""
        self._report_end = begun
        if self.location != location:
            self.state = None
            self._panel.preview.set_pictures(None)
            self._panel.curve.set_state(None)
        self.location, self._stop_requested = location, False
        self._panel.watching.show()
        self._panel.controls.show()
        self.watched.emit()
        self._watching.start(
            lambda: watch_changes(lambda: process.state_of(location)),
            title=f"Watching {location.folder.name}",
            piece=self._show_news,
        )
        self._show_runs()

    @timed
    def _show_news(self, news: RunState | Pictures | None) -> None:
        if isinstance(news, Pictures):
            self._panel.preview.set_pictures(news)
        elif news is not None and self.location is not None:
            self._show_state(news, self.location)

    def _show_state(self, state: RunState, location: RunLocation) -> None:
        panel = self._panel
        ended = not state.alive and (self._report_end or self.alive)
        self.state = state
        self._found[str(location.folder)] = (location, state)
        self._show_runs()
        panel.curve.set_state(state)
        panel.bar.setVisible(state.alive)
        set_bar(panel.bar, round(1000 * state.step / max(state.steps, 1)))
        panel.say(panel.status, status_html(state, location))
        self._enable(state, location)
        self.changed.emit()
        if ended:
            self._report_end = False
            self._steps.add(*self._end_steps(state, location), self.list_runs, self.ended.emit)

    def _end_steps(self, state: RunState, location: RunLocation) -> list[Callable[[], Any]]:
        """Return what reports the end of a run."""
        name = location.folder.name
        if state.state == "finished":
            message = f"{name} is trained; it is in the list of models of the Stain dock."
            return [partial(show_info, message), self._refresh_stain_dock]
        if state.state == "failed":
            return [partial(show_error, f"{name}: {message_of(state)}")]
        return [partial(show_info, f"{name}: {stop_sentence(state, location)}")]

    def _enable(self, state: RunState, location: RunLocation) -> None:
        """Enable what can be done now."""
        panel = self._panel
        training = state.alive and state.phase in ("training", "refit")
        resumable = not state.alive and location.config is not None and state.state != "finished"
        panel.pause.setEnabled(training)
        panel.pause.setText("Go on" if state.state == "paused" else "Pause")
        panel.stop.setEnabled(state.alive)
        panel.finish.setEnabled(training)
        panel.resume.setEnabled(resumable)
        panel.resume.setVisible(resumable)
        paintable = state.state == "finished" and Path(state.package).exists()
        panel.paint.setEnabled(paintable)
        panel.paint.setVisible(paintable)

    # -- commands -----------------------------------------------------------------------------------------------------

    def begin(self, folder: Path, config: Path) -> bool:
        """Begin, or resume, the training of a configuration, and watch it; return whether it could be started."""
        keep = self._panel.form.value().keep_running
        if not _succeeds(lambda: process.begin(folder, config, keep=keep)):
            return False
        self.watch(RunLocation(folder, folder / RUN), begun=True)
        self.list_runs()
        return True

    def resume(self) -> None:
        """Go on with a run that was stopped."""
        if self.location is not None and self.location.config is not None:
            self.begin(self.location.folder, self.location.config)

    def pause(self) -> None:
        """Hold the run, or let it go on."""
        self._send("go" if self.state is not None and self.state.state == "paused" else "pause")

    def stop(self) -> None:
        """Stop the run so that it can be resumed; a second time, while a long step is computed, end its process."""
        location = self.location
        if location is None or not self.alive:
            return
        training = process.STARTED.get(location.folder)
        if self._stop_requested and training is not None and training.alive:
            training.process.kill()
            return
        self._stop_requested = True
        self._panel.say(self._panel.status, "Stopping after this step…")
        _succeeds(lambda: process.stop(location))

    def _send(self, word: RunCommand) -> None:
        location = self.location
        if location is not None:
            _succeeds(lambda: send_command(location.run, word))

    def _keep_running(self, choice: TrainState) -> None:
        training = process.STARTED.get(self.location.folder) if self.location is not None else None
        if training is not None:
            training.keep = choice.keep_running

    # -- its model and preview ----------------------------------------------------------------------------------------

    def add_layers(self) -> None:
        """Add the preview to the viewer, one layer per turn of the event loop: true and painted stains in one contrast."""
        pictures = self._panel.preview.pictures
        if pictures is None:
            return
        preview = pictures.preview
        calibrated = None not in preview.pixel_size
        shared = {"scale": preview.pixel_size if calibrated else (1.0, 1.0), "metadata": {KEY: {"role": "preview"}}}
        shared |= {"units": ("um", "um")} if calibrated else {}
        layers: list[tuple[Any, dict[str, Any]]] = [
            (pixels, {"name": f"{name} (preview)", "colormap": "gray"})
            for name, pixels in zip(preview.channels, preview.input, strict=True)
        ]
        for index, name in enumerate(preview.stains):
            colormap = channel_color(name, index).colormap
            style = {"colormap": colormap, "blending": blending_for(name), "contrast_limits": pictures.limits[index]}
            layers.append((preview.truth[index], {"name": f"{name} (true, preview)", **style}))
            layers.append((preview.painted[index], {"name": f"{name} (painted, preview)", **style}))
        for pixels, arguments in layers:
            self._steps.add(partial(self._viewer.add_image, pixels, **arguments, **shared))

    def paint(self) -> None:
        """Open the Stain dock with the model of this run."""
        state = self.state
        dock = stain_dock() if state is not None and state.state == "finished" else None
        if state is not None and dock is not None:
            dock.reload_models(state.id, state.package)

    def _refresh_stain_dock(self) -> None:
        """Let the Stain dock list the new model, if it is open."""
        dock = find_dock(self._viewer, "Stain")
        if dock is not None:
            dock.reload_models()


def _succeeds(act: Callable[[], Any]) -> bool:
    """Do something and return whether it succeeded; an error becomes a notification."""
    try:
        act()
    except VirtualPaintError as error:
        show_error(str(error))
        return False
    return True
