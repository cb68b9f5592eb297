"""The form of the Train dock: shows and edits a `TrainState`; it knows no layer and no network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QMenu,
    QPlainTextEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_virtual_paint._napari.shared.form_binding import BoundForm, sentence
from napari_virtual_paint._napari.shared.new_model import LICENSE_TIP, LICENSES, MINUTES
from napari_virtual_paint._napari.shared.widgets import DEVICES, combo, fold, form_rows, row, set_choices, set_names, words
from napari_virtual_paint._napari.train.state import TrainState

SOURCES = (("layers", "Layers"), ("files", "Files: a folder or a table"), ("plate", "A plate"))
HELD_OUT = (
    ("right", "Right fifth of each image"),
    ("left", "Left fifth of each image"),
    ("top", "Top fifth of each image"),
    ("bottom", "Bottom fifth of each image"),
    ("images", "A tenth of the images"),
    ("none", "Nothing (no scores)"),
)
LENGTHS = (
    ("recipe", "The recipe's own steps"),
    *((length, f"About {length}") for length in MINUTES),
    ("minutes", "Minutes"),
    ("steps", "Steps"),
)
NEW = "A new network by the recipe"
TEXT_HEIGHT = 170
AMOUNT = 116  # pixels that show a number of minutes and the buttons beside it


class TrainForm(BoundForm[TrainState]):
    """Edits what is trained on, and how.

    Signals
    -------
    browse
        A ``folder`` or ``table`` of pairs, or a ``plate`` (folder) or ``plate file``, is to be chosen.
    adopt
        The plate of the Plate dock is to be taken.
    save
        The configuration is to be saved in another folder.
    """

    browse = Signal(str)
    adopt = Signal()
    save = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.source = combo("Where the pairs of unstained and stained images are", SOURCES)
        self.inputs, self.stains = QListWidget(), QListWidget()
        self.path, self.choose, self.take = QLineEdit(), QPushButton("…"), QPushButton("That of the Plate dock")
        self.input_pattern, self.target_pattern = QLineEdit(), QLineEdit()
        self.wells, self.input_channels, self.stain_channels = QLineEdit(), QLineEdit(), QLineEdit()
        self.start = combo("Train a new network by a recipe, or teach one of these models what the pairs show", (("", NEW),))
        self.recipe = combo("How to train: network, loss, steps; those of the papers, and a small one for a laptop")
        self.about = words()
        self.name, self.stain_names = QLineEdit(), QLineEdit()
        self.held_out = combo("What the network never learns from: it chooses the best epoch, and gives the scores on the card", HELD_OUT)
        self.author, self.not_for = QLineEdit(), QLineEdit()
        self.license = combo(LICENSE_TIP, LICENSES)
        self.length = combo("How long to train: a few steps are timed on this machine, and as many are made as fit", LENGTHS, letters=5)
        self.time = words()  # what the chosen length means
        self.amount = QSpinBox()
        self.amount.setRange(1, 10_000_000)
        self.amount.setMinimumWidth(AMOUNT)
        self.device = combo("Where to train; Auto takes the fastest device there is", DEVICES)
        self.advanced = fold("Advanced")
        self.text = QPlainTextEdit()
        self.back, self.save_as = QPushButton("Back to the form"), QPushButton("Save as YAML…")
        self.keep_running = QCheckBox("Keep running when napari is closed")
        self._parts: dict[str, QWidget] = {}
        self._menu = QMenu(self.choose)
        self._lay_out()
        self.text.textChanged.connect(lambda: self.change(text=self.text.toPlainText()))
        self.back.clicked.connect(lambda _checked: self.change(text=None))
        self.save_as.clicked.connect(self.save.emit)
        self.take.clicked.connect(self.adopt.emit)
        self.shown.connect(self._show_parts)
        bound = (
            *("source", "inputs", "stains", "path", "input_pattern", "target_pattern", "wells", "input_channels", "stain_channels"),
            *(
                "start",
                "recipe",
                "name",
                "stain_names",
                "held_out",
                "author",
                "license",
                "not_for",
                "length",
                "amount",
                "device",
                "keep_running",
            ),
        )
        widgets = {field: getattr(self, field) for field in bound}
        self.bind(TrainState(), widgets | {"not_for": sentence(self.not_for)})

    def setLayers(self, names: Sequence[str]) -> None:  # noqa: N802 - Qt's own way of naming
        """Offer these layers."""
        set_names(self.inputs, names, self.value().inputs)
        set_names(self.stains, names, self.value().stains)

    def setRecipes(self, recipes: Sequence[tuple[str, str, str]]) -> None:  # noqa: N802
        """Offer these recipes: name, title and tooltip of each."""
        set_choices(self.recipe, recipes, self.value().recipe)

    def setModels(self, models: Sequence[tuple[str, str, str]]) -> None:  # noqa: N802
        """Offer these models to teach: key, name and tooltip of each; one that was chosen elsewhere stays."""
        chosen = self.value().start
        own = () if not chosen or any(key == chosen for key, *_ in models) else ((chosen, chosen, chosen),)
        set_choices(self.start, (("", NEW, "A new network"), *models, *own), chosen)

    def setText(self, text: str) -> None:  # noqa: N802
        """Show the configuration that follows from the form; one that the user edited stays."""
        edited = self.value().text
        shown = text if edited is None else edited
        if self.text.toPlainText() != shown:
            blocker = QSignalBlocker(self.text)
            self.text.setPlainText(shown)
            del blocker
        self.back.setEnabled(edited is not None)

    def setStainsHint(self, names: Sequence[str]) -> None:  # noqa: N802
        """Show the names that the stains get where the user gives none."""
        self.stain_names.setPlaceholderText(", ".join(names) or "their own names")

    def _show_parts(self, choice: TrainState) -> None:
        """Show the fields that belong to what is chosen."""
        source, taught = choice.source, bool(choice.start)
        for widget in (self.recipe, self.held_out, self.advanced):
            widget.setEnabled(not taught)
        for sources, part in self._parts.items():
            part.setVisible(source in sources.split("|"))
        self.amount.setVisible(choice.length in ("minutes", "steps"))
        self.amount.setSuffix(" min" if choice.length == "minutes" else "")
        tips = {
            "files": "A folder of images, or a table with the columns input, target (and split)",
            "plate": "The plate: a .zarr, a folder",
        }
        self.path.setToolTip(tips.get(source, ""))
        self.path.setPlaceholderText("Folder or table.csv" if source == "files" else "Plate")
        for action in self._menu.actions():
            action.setVisible(action.data() == source)

    def _lay_out(self) -> None:
        self._set_tips()
        for source, text, what in (
            ("files", "Folder…", "folder"),
            ("files", "Table of pairs…", "table"),
            ("plate", "Plate folder…", "plate"),
            ("plate", "Plate file…", "plate file"),
        ):
            self._menu.addAction(text, partial(self.browse.emit, what)).setData(source)
        self.choose.setMenu(self._menu)
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(4)
        top.addWidget(heading("Pairs"))
        top.addWidget(self.source)
        for part in self._source_parts():
            top.addWidget(part)
        top.addWidget(heading("Recipe"))
        top.addLayout(form_rows((("Start from", self.start),)))
        top.addWidget(self.recipe)
        top.addWidget(self.about)
        top.addLayout(form_rows((("Train for", row(self.length, self.amount)), ("", self.time))))
        top.addLayout(form_rows((("Device", self.device), ("Held out", self.held_out))))
        top.addWidget(heading("Model"))
        card = (("Author", self.author), ("License", self.license), ("Not for", self.not_for))
        top.addLayout(form_rows((("Name", self.name), ("Stains", self.stain_names), *card)))
        self._lay_out_advanced()
        top.addWidget(self.advanced)

    def _source_parts(self) -> list[QWidget]:
        """Return the fields that belong to some of the sources only."""
        layers = QWidget()
        both = QVBoxLayout(layers)
        both.setContentsMargins(0, 0, 0, 0)
        both.setSpacing(3)
        for title, box in (("Input (unstained)", self.inputs), ("True stains", self.stains)):
            both.addWidget(QLabel(title))
            both.addWidget(box)
        where, files, plate, channels = QWidget(), QWidget(), QWidget(), QWidget()
        line = row(self.path, self.choose)
        line.setContentsMargins(0, 0, 0, 0)
        where.setLayout(line)
        files.setLayout(form_rows((("Input", self.input_pattern), ("Stains", self.target_pattern))))
        plate.setLayout(form_rows((("Wells", self.wells), ("", self.take))))
        channels.setLayout(form_rows((("Input channels", self.input_channels), ("Stain channels", self.stain_channels))))
        self._parts = {"layers": layers, "files|plate": where, "files": files, "plate": plate, "plate|files": channels}
        return [layers, where, files, plate, channels]

    def _lay_out_advanced(self) -> None:
        self.text.setFixedHeight(TEXT_HEIGHT)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        inner = QWidget()
        top = QVBoxLayout(inner)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(3)
        top.addWidget(words("The configuration, as virtual-paint train takes it. Changes made here take precedence over the form."))
        top.addWidget(self.text)
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.back, 1)
        line.addWidget(self.save_as, 1)
        top.addLayout(line)
        top.addWidget(self.keep_running)
        self.advanced.addWidget(inner)
        self.advanced.setToolTip("The whole configuration as YAML; whether the training goes on when napari is closed")

    def _set_tips(self) -> None:
        for widget, tip, name in (
            (self.inputs, "The layers to paint from later: one, or one a channel or plane", "Input layers"),
            (self.stains, "The layers that show the true stains: one, or one a stain", "Layers of true stains"),
            (self.choose, "Choose it", "Choose the pairs"),
            (self.take, "Take the plate that is open in the Plate dock", ""),
            (self.input_pattern, "Names of the inputs; what * stands for names the pair", "Pattern of inputs"),
            (self.target_pattern, "Names of the stained images, with the same *", "Pattern of stains"),
            (self.wells, "Wells to train on, as A1:B12,C3; empty for all", "Wells"),
            (self.input_channels, "Names or numbers of the input's channels, with commas between; empty for those of no stain", ""),
            (self.stain_channels, "Names or numbers of the stains' channels, with commas between; empty for all stains", ""),
            (self.name, "Name of the model; its id is made from it", "Name of the model"),
            (self.stain_names, "Names of the stains in the model, with commas between", "Names of the stains"),
            (self.author, "Who made the model, for its card; several with commas between, empty for nobody", "Author of the model"),
            (self.not_for, "What the model must not be used for; its card says so", "What the model is not for"),
            (self.amount, "How many", "How many minutes or steps"),
            (self.text, "The configuration; changes made here take precedence over the form", "Configuration"),
            (self.back, "Discard the changes made by hand", ""),
            (self.save_as, "Save configuration (and the layers' images beside it), to train elsewhere: virtual-paint train FILE", ""),
            (self.keep_running, "Otherwise a training is stopped when napari is closed, and can be resumed here", ""),
        ):
            widget.setToolTip(tip)
            if name:
                widget.setAccessibleName(name)
        self.input_channels.setPlaceholderText("those of no stain")
        self.stain_channels.setPlaceholderText("all stains")
        self.wells.setPlaceholderText("all")
        self.author.setPlaceholderText("nobody is named")


def heading(text: str) -> QLabel:
    """Return the heading of a part of the dock."""
    return QLabel(f"<b>{text}</b>")
