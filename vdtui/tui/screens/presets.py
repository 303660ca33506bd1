"""The choice of a preset for a new run: a list that is searched by typing, and what the chosen one is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.config import Preset
from engine.config.schema import DatasetSection
from engine.errors import PresetError
from vdtui.tui import form as forms
from vdtui.tui import keys, words
from vdtui.tui.form import Form, summed
from vdtui.tui.messages import OpenForm
from vdtui.tui.preset_list import ListedPreset, all_presets, listed
from vdtui.tui.screens.base import DashboardScreen
from vdtui.tui.widgets.keyline import KeyLine
from vdtui.tui.widgets.lines import Lines


class PresetScreen(DashboardScreen):
    """The presets, by data set; typed words search in their names and methods. ``data`` is the new run's, if known."""

    SCREEN = "presets"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(SCREEN)]
    AUTO_FOCUS = "#search"
    HEADING = "choose a preset"
    NOTES = (
        "Type to search; every word must be in the name, the data set or the method.",
        "A preset's rates are ours; type published for those of the papers (NAME-published).",
        "The path of a .toml file of your own works too.",
        "Published numbers are the papers' own; nobody has checked them here.",
    )

    def __init__(self, data: str = "") -> None:
        super().__init__()
        self._data = data
        self.presets: dict[str, Preset] = {}
        self._listed: list[ListedPreset] = []
        self._searched = ""

    def compose(self) -> ComposeResult:
        """Search, list, what the preset under the cursor is."""
        yield Lines(id="class")
        yield Input(placeholder="type to search, e.g. hmdb51 mtt", compact=True, id="search")
        with Horizontal(id="choice"):
            yield OptionList(id="presets", compact=True, markup=False)
            with VerticalScroll(id="about"):
                yield Static(id="about-text", markup=False)
        yield KeyLine(self.SCREEN, self.useful)

    def on_mount(self) -> None:
        """Read the presets."""
        self.query_one("#presets").can_focus = False
        self.query_one("#about").can_focus = False
        title = Text(" new run · choose a preset", f"bold {self.app.theme_variables['primary']}")
        self.query_one("#class", Lines).put(title)
        self.run_worker(self._read())

    async def _read(self) -> None:
        self.presets = await asyncio.to_thread(all_presets)
        self._listed = listed(self.presets)
        self._fill()

    def on_input_changed(self) -> None:
        """Search as the user types."""
        self._fill()

    def _fill(self) -> None:
        typed = self._searched = self.query_one("#search", Input).value
        matching = [preset for preset in self._listed if preset.matches(typed)]
        options: list[Option] = []
        last = None
        for preset in matching:
            if preset.group != last:
                colour = self.app.theme_variables["text-muted"]
                options.append(Option(Text(f"─ {preset.group}", colour), disabled=True))
                last = preset.group
            options.append(Option(Text(preset.name), id=preset.name))
        path = Path(typed.strip()).expanduser()
        if typed.strip().endswith(".toml") and path.is_file():
            options.append(Option(Text(f"file {words.plain(path)}"), id=str(path)))
        chooser = self.query_one("#presets", OptionList)
        chooser.clear_options()
        chooser.add_options(options)
        if any(option.id for option in options):
            chooser.highlighted = next(place for place, option in enumerate(options) if option.id)
        else:
            self._say("No preset has these words." if self.presets else "Reading the presets ...")

    def _say(self, text: str) -> None:
        self.query_one("#about-text", Static).update(Text(text, self.app.theme_variables["text-muted"]))

    @property
    def chosen(self) -> str | None:
        """The preset under the cursor."""
        chooser = self.query_one("#presets", OptionList)
        if chooser.highlighted is None:
            return None
        return chooser.get_option_at_index(chooser.highlighted).id

    def on_option_list_option_highlighted(self) -> None:
        """Say what this preset is."""
        name = self.chosen
        if name is None:
            return
        if name in self.presets:
            self.query_one("#about-text", Static).update(about(name, self.presets[name], self.app.theme_variables))
        else:
            self._say("A preset file of your own.")

    def on_option_list_option_selected(self) -> None:
        """A click chooses."""
        self.action_choose()

    def action_move(self, by: int) -> None:
        """Move up and down in the list while the search is typed."""
        chooser = self.query_one("#presets", OptionList)
        chooser.action_cursor_down() if by > 0 else chooser.action_cursor_up()

    def action_end(self, last: bool) -> None:
        """Go to the first or the last preset of the list."""
        chooser = self.query_one("#presets", OptionList)
        chooser.action_last() if last else chooser.action_first()

    def action_choose(self) -> None:
        """Go on to the form."""
        if self.query_one("#search", Input).value != self._searched:
            self._fill()
        name = self.chosen
        if name is None:
            return
        try:
            form = Form(name)
        except PresetError as error:
            self._say(f"{error.problem}\n{error.hint}")
            return
        if self._data:
            form.put("dataset.path", self._data)
        self.post_message(OpenForm(form))

    def action_back(self) -> None:
        """Clear the search; without one, leave."""
        field = self.query_one("#search", Input)
        if field.value:
            field.value = ""
        else:
            self.app.pop_screen()

    def recolour(self) -> None:
        """The list and the description in the colours of the theme."""
        self._fill()


def about(name: str, preset: Preset, colours: dict[str, str]) -> Text:
    """Describe a preset to the one who chooses."""
    muted = colours["text-muted"]
    text = Text.assemble((f"{name}\n", f"bold {colours['primary']}"), f"{preset.description}\n")
    if preset.published:
        text.append("\npublished, unchecked  ", muted).append(f"{preset.published}\n")
    method = (
        f"{preset.synthetic.kind}, {preset.dynamic.objective}" if "dynamic" in preset.stages else preset.synthetic.kind
    )
    rows = {
        "method": method,
        "ipc": str(preset.synthetic.ipc),
        "clips": _shape(preset.dataset),
        "stores": forms.stored_words(preset, None),
        "steps": summed(forms.steps(preset)) or "none",
        "networks": summed(forms.networks(preset, None)),
        "protocol": preset.evaluation.protocol,
    }
    for what, value in rows.items():
        text.append(f"\n{what:<9} ", muted).append(value)
    return text


def _shape(table: DatasetSection) -> str:
    if table.frames is None or table.size is None:
        return "as in the clips file"
    return f"{table.frames} frames of {table.size} x {table.size}"
