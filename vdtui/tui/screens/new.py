"""The form of a new run: the values of a preset are changed, and the run is started.

The form is that of ``vdtui.tui.form``; what clips files hold is asked of a process of its own, since nothing here may
open one. A run that is started lives by itself, as one that `vdtui distill --detach` has started.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from engine.config import Preset, to_toml
from engine.config.schema import DatasetSection
from engine.data.recipe import DEMO, default_file, prepare_command, where_from
from engine.errors import DataError, PresetError, VdtuiError
from engine.files import write_json
from engine.runs import RunDirectory
from engine.runs.directory import check_name
from engine.runs.new import with_data
from vdtui.tui import form as forms
from vdtui.tui import keys, words
from vdtui.tui.commands import LongCommand, run_module
from vdtui.tui.form import DataFacts, Form, FormField, summed
from vdtui.tui.messages import OpenPrepare, RunStarted
from vdtui.tui.screens.fields import FieldsScreen
from vdtui.tui.sources import FoundVideos, find_videos, wanted_first
from vdtui.tui.widgets.fields import FieldRow
from vdtui.tui.widgets.keyline import KeyLine
from vdtui.tui.widgets.lines import Lines

NAME = "run name"
GENERAL = "general"
VIDEOS = "videos"
"""The last choice of data: a clips file that is yet to be made."""
MOST_FILES = 20
PATIENCE_SECONDS = 60
TYPING_SECONDS = 0.4
"""A path is looked at when nothing was typed for this long."""
SETTLED = ("run.seed", "run.device", "run.precision", "dataset.path")
"""Fields that stand on the first page, whatever section they belong to."""


class NewRunScreen(FieldsScreen):
    """The form ``form``; a run that is started from it goes into ``folder``."""

    SCREEN = "form"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(SCREEN)]
    HEADING = "new run"
    NOTES = (
        "A changed value is marked with ●; an empty field is unset, where that can be.",
        "The run goes on by itself when the dashboard is left.",
    )

    def __init__(self, form: Form, folder: Path) -> None:
        super().__init__()
        self.form = form
        self.files: dict[str, dict[str, Any]] = {}
        self.preset: Preset | None = form.base
        self.section = GENERAL
        self.problem: tuple[str, str] = ("", "")
        self.run_name = _free_name(folder, form)
        self.starting = False
        self.videos: list[FoundVideos] = []
        """Folders here that look like videos."""
        self.planned: Planned | None = None
        self._planning: LongCommand | None = None
        self._may_fill = True
        self._folder = folder
        self._looked = NAME
        self._pages = _pages(form)

    def compose(self) -> ComposeResult:
        """Title; pages beside fields; help, cost; keys."""
        yield Lines(id="class")
        with Horizontal(id="form"):
            yield OptionList(id="sections", compact=True, markup=False)
            yield VerticalScroll(id="fields", can_focus=False)
        with Vertical(id="foot"):
            yield Lines(id="help")
            yield Lines(id="cost")
            yield Button("Start the run (ctrl+s)", id="start", variant="primary", compact=True)
        yield KeyLine(self.SCREEN, self.useful)

    async def on_mount(self) -> None:
        """The first page, and a look for clips files."""
        title = words.plain(self.form.run or self.form.base.title or self.form.name)
        colours = self.app.theme_variables
        head = Text.assemble((f" new run · {title}", f"bold {colours['primary']}"), no_wrap=True, overflow="ellipsis")
        head.append(f"  {words.plain(self.form.base.description)}", colours["text-muted"])
        self.query_one("#class", Lines).put(head)
        expected = default_file(self.form.base.dataset)
        if not self.form.text("dataset.path") and expected is not None and expected.is_file():
            self.form.put("dataset.path", str(expected))
        await self._open(GENERAL)
        self._show()
        self.run_worker(self._look(found_files(self._folder)), exclusive=True, group="files")
        self.run_worker(self._find_videos())

    def on_unmount(self) -> None:
        """End a rehearsal that nobody will see the end of."""
        if self._planning is not None:
            self._planning.stop()

    # --- pages and fields --------------------------------------------------------------------------------------------

    async def _open(self, section: str) -> None:
        """Put the fields of ``section`` on the screen, the first one ready to be typed in."""
        self.section = section
        page = self.query_one("#fields", VerticalScroll)
        await page.remove_children()
        rows = [FieldRow(field, self._text(field.key), self._title(field)) for field in self._pages[section]]
        await page.mount(*rows)
        if section == GENERAL:
            await page.mount(Static(id="files-head", markup=False), OptionList(id="files", compact=True, markup=False))
            self._list_files()
        page.scroll_home(animate=False)
        self.set_focus(rows[0].editor)  # at once: letters may follow

    def _title(self, field: FormField) -> str:
        return "data" if field.key == "dataset.path" else field.name

    def _text(self, key: str) -> str:
        return self.run_name if key == NAME else self.form.text(key)

    def on_field_row_changed(self, event: FieldRow.Changed) -> None:
        """Say at once what that means which was typed."""
        self._take(event.key, event.text)
        self._show()

    def _take(self, key: str, text: str) -> None:
        if key == NAME:
            self.run_name = text
            return
        before = self.form.text(key)
        self.form.put(key, text)
        if key.startswith("dataset.") and before != text:
            self._look_soon()

    def _take_all(self) -> None:
        """Take what stands in the fields: news of the last letters may still be on their way."""
        for row in self.query(FieldRow):
            if row.text != self._text(row.field.key):
                self._take(row.field.key, row.text)

    def on_field_row_looked(self, event: FieldRow.Looked) -> None:
        """Help for the field that the user came to, unless they have left it since: rows may tell in another order."""
        if any(row.field.key == event.key and row.has_focus_within for row in self.query(FieldRow)):
            self._looked = event.key
            self._show_help()

    async def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A page, or a clips file."""
        event.stop()
        self._take_all()
        if event.option_list.id == "sections":
            await self._open(list(self._pages)[event.option_index])
        elif event.option.id == VIDEOS:
            self.action_videos()
        elif event.option.id is not None:
            self._put("dataset.path", event.option.id)
        self._show()

    def _put(self, key: str, text: str) -> None:
        self.form.put(key, text)
        self.put(key, text)

    async def action_section(self, by: int) -> None:
        """Another page."""
        self._take_all()
        names = list(self._pages)
        await self._open(names[(names.index(self.section) + by) % len(names)])
        self._show()

    def action_reset(self) -> None:
        """The preset's value again, in the field that the user is in."""
        if self._looked in self.form.fields:
            self.form.reset(self._looked)
            self._put(self._looked, self.form.preset_text(self._looked))
            self._show()

    # --- what the screen says ----------------------------------------------------------------------------------------

    def _show(self) -> None:
        preset, key, problem = self.form.check()
        self.preset, self.problem = preset, (key, problem)
        if (wrong := self._name_problem()) and not problem:
            self.problem = (NAME, wrong)
        self._show_notes()
        self._show_sections()
        self._show_help()
        self._show_cost()

    def _name_problem(self) -> str:
        try:
            check_name(self.run_name)
        except VdtuiError:
            return "letters, digits, . - _ and not empty"
        taken = (self._folder / self.run_name).exists() and not self.starting
        return "there is a run of this name" if taken else ""

    def _show_notes(self) -> None:
        colours = self.app.theme_variables
        for row in self.query(FieldRow):
            key = row.field.key
            wrong, changed = key == self.problem[0], key in self.form.changed
            row.set_class(wrong, "wrong")
            row.set_class(changed and not wrong, "changed")
            if wrong:
                row.say(f"✖ {words.plain(self.problem[1])}", colours["error"])
            elif key == "dataset.path":
                row.say(*self._data_note())
            elif changed:
                row.say(f"● was {self.form.preset_text(key) or 'unset'}", colours["accent"])
            else:
                row.say(row.field.help, colours["text-muted"])

    def _data_note(self) -> tuple[str, str]:
        colours = self.app.theme_variables
        path = self.form.text("dataset.path").strip()
        if not path:
            own = self.form.text("dataset.layout") == DEMO
            return ("made by the run itself", colours["text-muted"]) if own else ("✖ needed", colours["error"])
        facts = self.files.get(path)
        if facts is None:
            return "reading ...", colours["text-muted"]
        if facts["problem"]:
            return f"✖ {words.plain(facts['problem'])}", colours["error"]
        if facts["warning"]:
            return f"! {words.plain(facts['warning'])}", colours["warning"]
        return f"✔ {_describe(facts)}", colours["success"]

    def _show_sections(self) -> None:
        colours, chooser = self.app.theme_variables, self.query_one("#sections", OptionList)
        options = []
        for name, fields in self._pages.items():
            keys = {field.key for field in fields}
            wrong, changed = self.problem[0] in keys, bool(keys & set(self.form.changed))
            sign, colour = ("✖", "error") if wrong else ("●", "accent") if changed else (" ", "foreground")
            used = self._is_used(name)
            style = colours[colour] if used or wrong else colours["text-muted"]
            options.append(Text(f"{sign} {name}", f"bold {style}" if name == self.section else style))
        if len(chooser.options) != len(options):
            chooser.clear_options()
            chooser.add_options(options)
        else:
            for index, option in enumerate(options):
                if chooser.get_option_at_index(index).prompt != option:
                    chooser.replace_option_prompt_at_index(index, option)
        chooser.highlighted = list(self._pages).index(self.section)

    def _is_used(self, section: str) -> bool:
        """Tell whether the run that the form makes reads this section at all."""
        preset = self.preset or self.form.base
        stage, _, objective = section.partition(".")
        if objective:
            chosen = {"static": preset.static.objective, "dynamic": preset.dynamic.objective}
            return stage in preset.stages and objective == chosen[stage]
        needed = {"static": "static", "dynamic": "dynamic", "experts": "experts", "selection": "select"}.get(section)
        return needed is None or needed in preset.stages

    def _show_help(self) -> None:
        colours, key = self.app.theme_variables, self._looked
        text = Text(overflow="ellipsis")
        field = next((each for page in self._pages.values() for each in page if each.key == key), None)
        if field is None:
            return
        text.append(f"{field.name if key == NAME else key}: ", "bold").append(field.help)
        if field.choices:
            text.append(f" ({', '.join(field.choices)})", colours["text-muted"])
        facts = self.files.get(self.form.text(key).strip()) if key == "dataset.path" else None
        if facts and facts["problem"]:
            text = Text(f"✖ {words.plain(facts['problem'])}", colours["error"])
        elif facts and facts["warning"]:
            text = Text(f"! {words.plain(facts['warning'])}: its number would be of other data", colours["warning"])
        elif not self._is_used(self.section):
            text.append("  This run does not read this page.", colours["warning"])
        self.query_one("#help", Lines).put(text)

    def _show_cost(self) -> None:
        colours = self.app.theme_variables
        if self.preset is None:
            where = f"{self.problem[0]}: " if self.problem[0] else ""
            text = Text(f"✖ {where}{words.plain(self.problem[1])}", colours["error"], no_wrap=True, overflow="ellipsis")
        else:
            text = self._cost(self.preset, colours)
        self.query_one("#cost", Lines).put(text)
        self.query_one("#start", Button).disabled = bool(self.problem[1]) or self.starting

    def _cost(self, preset: Preset, colours: dict[str, str]) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        lines = (
            ("stores", forms.stored_words(preset, self._facts())),
            ("steps", summed(forms.steps(preset)) or "none"),
            ("networks", summed(forms.networks(preset, self._facts()))),
            ("takes", self._plan_text(preset)),
        )
        for index, (what, value) in enumerate(lines):
            end = "\n" if index < len(lines) - 1 else ""
            text.append(f"{what:<9}", colours["text-muted"]).append(value + end, "bold")
        return text

    def _plan_text(self, preset: Preset) -> str:
        """Say the time, memory and bytes of a plan of these very values; how to make one, where there is none."""
        if self._planning is not None:
            return "rehearsing, some minutes; the form can be left open, or the run started without"
        planned = self.planned
        if planned is None or not planned.fits(preset):
            stale = "the plan was of other values; " if planned is not None and planned.document else ""
            told = f"no plan: {planned.problem}" if planned is not None and planned.problem else "ctrl+t rehearses it"
            return f"{stale}{told}"
        return planned.text

    def _facts(self) -> DataFacts | None:
        found = self.files.get(self.form.text("dataset.path").strip())
        if not found or "classes" not in found:
            return None
        return DataFacts(found["classes"], found["frames"], found["size"], found["has_val"])

    # --- clips files -------------------------------------------------------------------------------------------------

    def _look_soon(self) -> None:
        self.run_worker(self._look_later(), exclusive=True, group="files")

    async def _look_later(self) -> None:
        await asyncio.sleep(TYPING_SECONDS)
        await self._look(found_files(self._folder))

    async def _look(self, paths: Sequence[Path]) -> None:
        """Ask what the clips files at ``paths`` and in the field are, and whether the preset takes them."""
        typed = self.form.text("dataset.path").strip()
        names = list(dict.fromkeys([*([typed] if typed else []), *map(str, paths)]))
        answer = await asyncio.to_thread(ask_headers, names, self.preset or self.form.base)
        self.files = {found["path"]: found for found in answer}
        fitting = [name for name in names if not self.files[name]["problem"] and not self.files[name]["warning"]]
        empty = not self.form.text("dataset.path").strip()
        if self._may_fill and empty and fitting and self.form.text("dataset.layout") != DEMO:
            self._put("dataset.path", fitting[0])
        self._may_fill = False  # who has emptied the field wants it empty
        self._list_files()
        self._show()

    def _table(self) -> DatasetSection:
        return (self.preset or self.form.base).dataset.model_copy(update={"path": None})

    def _list_files(self) -> None:
        if not self.query("#files"):
            return
        colours, chooser = self.app.theme_variables, self.query_one("#files", OptionList)
        chooser.clear_options()
        for name, found in self.files.items():
            sign, colour = ("✖", "text-muted") if found["problem"] else ("✔", "success")
            if found["warning"] and not found["problem"]:
                sign, colour = "!", "warning"
            said = found["problem"] or found["warning"] or _describe(found)
            text = Text(f"{sign} {words.plain(name)}  ", colours[colour], no_wrap=True, overflow="ellipsis")
            chooser.add_option(Option(text.append(words.plain(said), colours["text-muted"]), id=name))
        if self._table().layout != DEMO:
            first = wanted_first(self.videos, self._table())
            of = f"of {words.plain(first.path)} ({first.title})" if first else "of a folder of videos"
            line = Text(f"+ make one {of}", colours["primary"], no_wrap=True, overflow="ellipsis")
            chooser.add_option(Option(line.append("  ctrl+o", colours["text-muted"]), id=VIDEOS))
        chooser.display = bool(chooser.option_count)
        self.query_one("#files-head", Static).update(self._files_head())

    def _files_head(self) -> Text:
        colours = self.app.theme_variables
        table = self._table()
        if any(not found["problem"] for found in self.files.values()):
            return Text("\nclips files found here", colours["text-muted"])
        if table.layout == DEMO:
            return Text("\nThe demo makes its own data.", colours["text-muted"])
        text = Text("\nNo clips file here fits.", colours["text-muted"])
        if (first := wanted_first(self.videos, table)) is not None:
            text.append(" Below, or with (ctrl+y copies it)\n")
            return text.append(prepare_command(table, first.path, first.layout), f"bold {colours['primary']}")
        text.append(" ctrl+o makes one of a folder of videos.", f"bold {colours['primary']}")
        home = where_from(table)
        return text.append(f"\n{home}", colours["text-muted"]) if home else text

    def action_copy(self) -> None:
        """Copy the command that starts the run as it is now; without data, the one that makes the clips file."""
        self._take_all()
        table = self._table()
        has_data = bool(self.form.text("dataset.path").strip()) or table.layout == DEMO
        first = wanted_first(self.videos, table)
        if has_data:
            self.copy(shlex.join(forms.command(self.form, self.run_name)))
        elif first is not None:
            self.copy(prepare_command(table, str(Path(first.path).resolve()), first.layout))
        else:
            self.say("There is no command to copy yet: data is needed. ctrl+o makes a clips file of videos.", warn=True)

    # --- videos ------------------------------------------------------------------------------------------------------

    async def _find_videos(self) -> None:
        if self.form.text("dataset.layout") == DEMO:
            return
        self.videos = await asyncio.to_thread(find_videos, [Path(), Path("data"), self._folder.parent])
        self._list_files()

    def action_videos(self) -> None:
        """Make a clips file of a folder of videos; it becomes the data."""
        self._take_all()
        self.post_message(OpenPrepare(self._table()))

    def take_data(self, path: str) -> None:
        """Take the clips file ``path`` as the data."""
        self._put("dataset.path", path)
        self._look_soon()
        self._show()

    # --- the plan ----------------------------------------------------------------------------------------------------

    def action_plan(self) -> None:
        """Rehearse the run, to tell its time, memory and bytes."""
        self._take_all()
        self._show()
        if self._planning is not None:
            self.say("It is being rehearsed.")
        elif self.preset is None or (self.problem[0] != NAME and self.problem[1]):
            self.say(f"{self.problem[0]}: {self.problem[1]}".removeprefix(": "), warn=True)
        else:
            self.run_worker(self._plan(self.preset), group="plan")

    async def _plan(self, preset: Preset) -> None:
        lines: list[str] = []
        with tempfile.TemporaryDirectory(prefix="vdtui-") as folder:
            file = Path(folder) / "preset.toml"
            file.write_text(to_toml(with_data(preset, None)), encoding="utf-8")
            command = LongCommand("vdtui.cli.main", "plan", "--json", "--preset", str(file))
            self._planning = command
            self._show_cost()
            done = await command.run(lines.append)
        self._planning = None
        try:
            document = json.loads("\n".join(lines))
        except ValueError:
            document = {}
        self.planned = Planned(preset, document, done.problem)
        if done.problem:
            self.say(done.problem, warn=True)
        self._show_cost()

    # --- the start ---------------------------------------------------------------------------------------------------

    def on_button_pressed(self) -> None:
        """The button starts it too."""
        self.run_worker(self.action_start())

    async def action_start(self) -> None:
        """Start the run, if nothing is wrong; else go to what is."""
        self._take_all()
        self._show()
        if self.starting:
            return
        if self.problem[1] or self.preset is None:
            await self._go_to(self.problem[0])
            self.say(f"{self.problem[0]}: {self.problem[1]}".removeprefix(": "), warn=True)
            return
        self.starting = True
        self.run_worker(self._start(self.preset), exclusive=True, group="start")

    async def _go_to(self, key: str) -> None:
        section = next((name for name, page in self._pages.items() if key in {field.key for field in page}), None)
        if section is None:
            return
        if section != self.section:
            await self._open(section)
            self._show()
        for row in self.query(FieldRow):
            if row.field.key == key:
                self.set_focus(row.editor)

    async def _start(self, preset: Preset) -> None:
        self._show_cost()
        try:
            plan = self.planned.document if self.planned is not None and self.planned.fits(preset) else {}
            run = await asyncio.to_thread(start, self.form, preset, self._folder, self.run_name, plan)
        except (VdtuiError, OSError) as error:
            self.starting = False
            self.say_error(error)
            await self._go_to(NAME if "exists already" in str(error) else "dataset.path")
            self._show()
            return
        self.post_message(RunStarted(run))

    def recolour(self) -> None:
        """The texts in the colours of the theme."""
        self._list_files()
        self._show()


def _pages(form: Form) -> dict[str, list[FormField]]:
    """The fields by page: what every run has first, then the sections of the preset."""
    name = FormField(NAME, "name of the run and of its folder", str, (), False, False)
    first = [name, *(form.fields[key] for key in ("dataset.path", "run.seed", "run.device", "run.precision"))]
    pages = {GENERAL: first}
    for section, fields in form.sections.items():
        rest = [field for field in fields if field.key not in SETTLED]
        if rest:
            pages[section] = rest
    return pages


def _free_name(folder: Path, form: Form) -> str:
    """The preset's name, or that of the run that it is from, with a number if there is a run of that name already."""
    stem = re.sub(r"-\d+$", "", form.run) if form.run else Path(form.name).stem
    names = itertools.chain([] if form.run else [stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not (folder / name).exists())


def found_files(runs_folder: Path) -> list[Path]:
    """Clips files here, in ./data, and next to the runs; each once, at most ``MOST_FILES``."""
    found: dict[Path, Path] = {}
    for folder in (Path(), Path("data"), runs_folder.parent, runs_folder):
        try:
            paths = sorted(folder.glob("*.h5"))
        except OSError:
            continue
        for path in paths:
            found.setdefault(path.resolve(), path)
    return list(found.values())[:MOST_FILES]


def ask_headers(names: Sequence[str], preset: Preset) -> list[dict[str, Any]]:
    """Ask a process of its own for the facts of each file, and why it will not do; call it in a thread."""
    if not names:
        return []
    done = run_module("vdtui.headers", json.dumps(preset.tables()), *names, patience=PATIENCE_SECONDS)
    try:
        answer = json.loads(done.out)
        return [{**found, "problem": str(found["problem"]), "warning": str(found["warning"])} for found in answer]
    except (ValueError, TypeError, KeyError):
        problem = done.problem or "could not be looked at"
        return [{"path": name, "problem": problem, "warning": ""} for name in names]


def _describe(found: dict[str, Any]) -> str:
    shape = f"{found['frames']} x {found['size']} x {found['size']}"
    return f"{words.plain(found['dataset'], 20)}, {found['classes']} classes, {shape}, {words.size(found['bytes'])}"


@dataclasses.dataclass(frozen=True)
class Planned:
    """A plan of ``preset``, as `vdtui plan --json` prints it; without one, its ``problem``."""

    preset: Preset
    document: dict[str, Any]
    problem: str

    def fits(self, preset: Preset) -> bool:
        """Tell whether it is a plan of ``preset``, whatever its seed."""
        return bool(self.document) and self._but_seed(preset) == self._but_seed(self.preset)

    @staticmethod
    def _but_seed(preset: Preset) -> Preset:
        return preset.model_copy(update={"run": preset.run.model_copy(update={"seed": 0})})

    @property
    def text(self) -> str:
        """Time, memory and bytes in a line."""
        plan = self.document
        parts = [
            f"about {words.duration(plan['seconds'])} here",
            f"{words.size(plan['memory_bytes'])} of memory",
            f"a file of {words.size(plan['file_bytes'])}" if plan["file_bytes"] else "",
        ]
        return ", ".join(part for part in parts if part)


def start(form: Form, preset: Preset, folder: Path, name: str, plan: dict[str, Any]) -> RunDirectory:
    """Check the data, make the run and start its worker; raises VdtuiError. Takes a moment: call it in a thread.

    ``plan``, if there is one, stands beside the run and seeds its forecast of time.
    """
    from engine.runs.new import new_run
    from vdtui.launch import launch

    path = preset.dataset.path
    if path is None and preset.dataset.layout != DEMO:
        problem = f"The preset {form.name} needs data: a clips file."
        raise PresetError(problem, f"Make one with `{prepare_command(preset.dataset)}`, and name it under data.")
    if path is not None:
        found = ask_headers([path], preset)[0]
        if found["problem"]:
            raise DataError(found["problem"], "")
    made = new_run(preset, path, folder, name, name, forms.command(form, name))
    if plan:
        write_json(made.plan_file, plan)
    launch(made)
    return made
