"""The dialogs: help, the questions before a run is stopped or removed, and what an export is to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Select, SelectionList, Static

from vdtui.tui import columns, words

TENSORS = ("float32", "float16", "uint8")
PRECISIONS = {
    "safetensors": TENSORS,
    "pt": TENSORS,
    "h5": TENSORS,
    "mp4": (),
    "gif": (),
    "png": (),
    "folders": (),
    "webdataset": TENSORS,
    "set": (),
}
"""The formats of `vdtui export` and their precisions; a test holds it against the command."""
EXPORT_WORDS = {
    "safetensors": "what is stored, as small as it is",
    "pt": "all clips, for torch.load",
    "h5": "all clips, as HDF5",
    "mp4": "videos, one per clip",
    "gif": "moving pictures, one per clip",
    "png": "one picture per clip, its frames side by side",
    "folders": "a lossless video per clip, by class",
    "webdataset": "all clips, as shards for WebDataset",
    "set": "what is stored, as it lies in the run",
}


class HelpScreen(ModalScreen[None]):
    """The keys of the screen below, and a few words on what it shows."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q,enter,space", "dismiss", "Close")]
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, title: str, keys: Sequence[tuple[str, str]], notes: Sequence[str]) -> None:
        super().__init__()
        self._heading, self._keys, self._notes = title, keys, notes

    def compose(self) -> ComposeResult:
        """One box with a table of keys; it scrolls where it does not fit."""
        colours = self.app.theme_variables
        width = max([12, *(len(key) for key, _ in self._keys)])
        lines = [
            Text.assemble((f"{key:>{width}}", f"bold {colours['primary']}"), f"   {meaning}")
            for key, meaning in self._keys
        ]
        notes = [Text(note, colours["text-muted"]) for note in self._notes]
        with Vertical(classes="dialog") as box:
            box.border_title = Text(self._heading)
            box.border_subtitle = Text("escape closes")
            with VerticalScroll(classes="fits"):
                yield Static(Text("\n").join([*lines, *([Text()] if notes else []), *notes]))


class Confirm(ModalScreen[bool]):
    """Asks before something is done; the answer is True for doing it. Escape and enter at once both leave it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "No"),
        Binding("y", "answer(True)", "Yes"),
        Binding("left,right,up,down", "app.focus_next", show=False),
    ]
    AUTO_FOCUS = "#keep"

    def __init__(self, title: str, text: Text, keep: str, do: str, variant: str = "warning") -> None:
        super().__init__()
        self._heading, self._text, self._keep, self._do, self._variant = title, text, keep, do, variant

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Vertical(classes="dialog") as box:
            box.border_title = Text(self._heading)
            yield Static(self._text)
            with Horizontal(classes="buttons"):
                yield Button(f"{self._keep} (esc)", id="keep", compact=True)
                yield Button(f"{self._do} (y)", id="do", variant=self._variant, compact=True)  # type: ignore[arg-type]

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with the button."""
        self.dismiss(event.button.id == "do")

    def action_answer(self, answer: bool) -> None:
        """Answer with a key."""
        self.dismiss(answer)


class ConfirmStop(Confirm):
    """Asks before stopping the run ``name``."""

    def __init__(self, name: str) -> None:
        name = words.plain(name)
        text = Text.assemble(
            "It finishes its present step, saves its state and ends: no work is lost.\nr resumes it later, as does ",
            (f"vdtui resume {name}", "bold"),
        )
        super().__init__(f"Stop {words.short(name, 40)}?", text, "Keep running", "Stop it")


class ConfirmRemove(Confirm):
    """Asks before deleting the run ``name`` in ``path``; of a run that is linked there, only the link goes."""

    def __init__(self, name: str, path: Path, has_set: bool) -> None:
        name = words.plain(name)
        what = "its log, checkpoints, results" + (" and synthetic set" if has_set else "")
        where = words.short(words.plain(path), 70)
        if path.is_symlink():
            text = Text.assemble("The link goes:\n", where, ".\nThe run that it points to stays.")
        else:
            cannot = ("This cannot be undone", "bold")
            text = Text.assemble(cannot, f": {what} go with\n", where, ".\nExport (e) comes first.")
        super().__init__(f"Remove {words.short(name, 40)}?", text, "Keep it", "Remove it", "error")


class ColumnsDialog(ModalScreen[tuple[str, ...] | None]):
    """Asks which columns the table of runs has; ``shown`` are those that it has."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel"),
        Binding("enter", "take", "Take these", priority=True),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
    ]

    def __init__(self, shown: Sequence[str]) -> None:
        super().__init__()
        self._shown = shown

    def compose(self) -> ComposeResult:
        """A list in which space chooses."""
        with Vertical(classes="dialog") as box:
            box.border_title = Text("columns")
            box.border_subtitle = Text("space chooses · enter takes · escape cancels")
            yield SelectionList[str](
                *((f"{name:<9} {meaning}", name, name in self._shown) for name, meaning in columns.MEANINGS.items()),
                compact=True,
            )

    def action_move(self, by: int) -> None:
        """Go up or down."""
        chooser = self.query_one(SelectionList)
        chooser.action_cursor_down() if by > 0 else chooser.action_cursor_up()

    def action_take(self) -> None:
        """Take what is chosen; nothing chosen gives back those that fit."""
        self.dismiss(tuple(self.query_one(SelectionList).selected))


@dataclass(frozen=True)
class ExportWish:
    """An export: format, precision, and path."""

    format: str
    precision: str | None
    output: str
    overwrite: bool


class ExportDialog(ModalScreen[ExportWish | None]):
    """Asks for the format, the precision and the path of an export of the run ``name``."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Cancel")]
    AUTO_FOCUS = "#output"

    def __init__(self, name: str) -> None:
        super().__init__()
        self._run_name = words.plain(name)

    def compose(self) -> ComposeResult:
        """Three fields and two buttons."""
        formats = [(f"{name:<12} {EXPORT_WORDS.get(name, '')}", name) for name in PRECISIONS]
        with Vertical(classes="dialog form") as box:
            box.border_title = Text(f"Export {words.short(self._run_name, 50)}")
            box.border_subtitle = Text("tab next field · escape cancels")
            yield Label("format")
            yield Select(formats, value="safetensors", allow_blank=False, compact=True, id="format")
            yield Label("precision", id="precision-label")
            yield Select(
                [(name, name) for name in PRECISIONS["safetensors"]],
                value="float32",
                allow_blank=False,
                compact=True,
                id="precision",
            )
            yield Label("file (or folder, for videos and pictures)")
            yield Input(self._default("safetensors"), compact=True, id="output")
            with Horizontal(classes="buttons"):
                yield Button("Export (enter)", id="export", variant="primary", compact=True)
                yield Button("Replace what is there", id="overwrite", compact=True)
                yield Button("Cancel (esc)", id="cancel", compact=True)

    def _default(self, format: str) -> str:
        if format == "set":
            return f"{self._run_name}.vds"
        return f"{self._run_name}.{format}" if PRECISIONS[format] else f"{self._run_name}-{format}"

    def on_select_changed(self, event: Select.Changed) -> None:
        """Another format has another file name, and may know no precision."""
        if event.select.id != "format":
            return
        format = str(event.value)
        for widget in ("#precision", "#precision-label"):
            self.query_one(widget).display = bool(PRECISIONS[format])
        output = self.query_one("#output", Input)
        if output.value in {self._default(name) for name in PRECISIONS}:  # not what the user typed
            output.value = self._default(format)

    def on_input_submitted(self) -> None:
        """Enter in the path exports."""
        self._answer(False)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Export, or not."""
        if event.button.id == "cancel":
            self.dismiss(None)
        else:
            self._answer(event.button.id == "overwrite")

    def _answer(self, overwrite: bool) -> None:
        format, output = str(self.query_one("#format", Select).value), self.query_one("#output", Input).value.strip()
        if not output:
            self.query_one("#output").focus()
            return
        precision = str(self.query_one("#precision", Select).value) if PRECISIONS[format] else None
        self.dismiss(ExportWish(format, precision, output, overwrite))
