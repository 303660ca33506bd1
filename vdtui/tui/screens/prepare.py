"""From a folder of videos to a clips file: what is in the folder, how clips are taken, how far it is, what was skipped.

The work is done by a process (``vdtui.sources``). It goes on where it stopped when the same is begun again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from engine.config.schema import DatasetSection
from engine.data.layouts import LAYOUTS
from engine.text import counted
from vdtui.tui import keys, sources, words
from vdtui.tui.commands import LongCommand
from vdtui.tui.messages import DataPrepared
from vdtui.tui.screens.fields import FieldsScreen
from vdtui.tui.sources import FoundVideos
from vdtui.tui.widgets.fields import FieldRow
from vdtui.tui.widgets.keyline import KeyLine
from vdtui.tui.widgets.lines import Lines

TYPING_SECONDS = 0.5
SHOWN_SKIPPED = 40


class PrepareScreen(FieldsScreen):
    """Makes a clips file, such as ``wanted`` asks for; ``folders`` are those in which videos are looked for."""

    SCREEN = "prepare"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings(SCREEN)]
    HEADING = "videos to clips"
    NOTES = (
        "A folder for each class; or train/ and test/ above them; or a published data set as it was unpacked.",
        "What is begun again goes on where it stopped. All options: vdtui prepare --help.",
    )

    def __init__(self, wanted: DatasetSection, folders: Sequence[Path]) -> None:
        super().__init__()
        self.seen: dict[str, Any] = {}
        """The answer about the folder: what a prepare would read, or its problem."""
        self.summary: dict[str, Any] | None = None
        self.texts = dict(sources.DEFAULTS)
        for key in ("frames", "size", "interval", "split"):
            value = getattr(wanted, key)
            self.texts[key] = str(value) if value else ""
        self._wanted, self._folders = wanted, folders
        self._fields = sources.fields(LAYOUTS)
        self._found: list[FoundVideos] = []
        self._work: LongCommand | None = None
        self._began = 0.0
        self._first = 0
        self._looked = "source"

    def compose(self) -> ComposeResult:
        """Title; fields and the folders that were found; what is in the chosen one, and how far it is; keys."""
        yield Lines(id="class")
        with VerticalScroll(id="fields", can_focus=False):
            for field in self._fields:
                yield FieldRow(field, self.texts.get(field.key, ""))
            yield Static(id="files-head", markup=False)
            yield OptionList(id="files", compact=True, markup=False)
        with Vertical(id="foot"):
            yield Lines(id="help")
            with VerticalScroll(id="told", can_focus=False):
                yield Lines(flows=True, id="told-text")
            yield Button("Make the clips file (ctrl+s)", id="start", variant="primary", compact=True)
        yield KeyLine(self.SCREEN, self.useful)

    def on_mount(self) -> None:
        """Look for folders of videos."""
        title = Text(" videos to clips", f"bold {self.app.theme_variables['primary']}")
        self.query_one("#class", Lines).put(title)
        self.query_one("#files", OptionList).display = False
        self.set_focus(next(iter(self.query(FieldRow))).editor)
        self._show()
        self.run_worker(self._find())

    async def _find(self) -> None:
        self._found = await asyncio.to_thread(sources.find_videos, self._folders)
        chooser = self.query_one("#files", OptionList)
        colours = self.app.theme_variables
        for one in self._found:
            line = Text(f"{words.plain(one.path)}  ", no_wrap=True, overflow="ellipsis")
            chooser.add_option(Option(line.append(one.title, colours["text-muted"]), id=one.path))
        chooser.display = bool(self._found)
        head = "\nvideos found here" if self._found else "\nNo folder of videos was found here; type where one is."
        self.query_one("#files-head", Static).update(Text(head, colours["text-muted"]))
        first = sources.wanted_first(self._found, self._wanted)
        if first is not None and not self.texts.get("source"):
            self.put("source", first.path)

    # --- what is typed -----------------------------------------------------------------------------------------------

    def on_field_row_changed(self, event: FieldRow.Changed) -> None:
        """Look at what that means which was typed."""
        self.texts[event.key] = event.text
        self._look_soon()

    def on_field_row_looked(self, event: FieldRow.Looked) -> None:
        """Help for the field that the user came to."""
        self._looked = event.key
        self._show()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take a folder that was found."""
        event.stop()
        if event.option.id is not None:
            self.put("source", event.option.id)

    def _take_all(self) -> None:
        for row in self.query(FieldRow):
            self.texts[row.field.key] = row.text

    def _look_soon(self) -> None:
        self.summary, self.seen = None, {}
        self._show()
        self.run_worker(self._look, exclusive=True, group="look")  # type: ignore[arg-type]

    async def _look(self) -> None:
        await asyncio.sleep(TYPING_SECONDS)
        wish, wrong, _ = sources.wish_of(self.texts, self._fields)
        if not wrong:
            self.seen = await asyncio.to_thread(sources.look, wish)
            self._show()

    def action_reset(self) -> None:
        """The default again, in the field that the user is in."""
        self.put(self._looked, sources.DEFAULTS.get(self._looked, ""))

    def action_copy(self) -> None:
        """Copy the command that makes the same clips file."""
        self._take_all()
        wish, wrong, problem = sources.wish_of(self.texts, self._fields)
        if wrong:
            self.say(f"{wrong}: {problem}", warn=True)
            return
        self.copy(sources.command(wish, wish["layout"] or self.seen.get("layout", "folders")))

    # --- what is said ------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        colours = self.app.theme_variables
        _, wrong, problem = sources.wish_of(self.texts, self._fields)
        for row in self.query(FieldRow):
            key = row.field.key
            row.set_class(key == wrong, "wrong")
            if key == wrong:
                row.say(f"✖ {problem}", colours["error"])
            elif key == "layout" and self.seen.get("title") and self.texts["layout"] == sources.RECOGNISED:
                row.say(f"✔ {self.seen['title']}", colours["success"])
            elif key == "output" and self.seen.get("output"):
                told = " is there already" if self.seen.get("exists") else ""
                row.say(f"{words.plain(self.seen['output'])}{told}", colours["warning" if told else "text-muted"])
            else:
                row.say(row.field.help, colours["text-muted"])
        help = next((field.help for field in self._fields if field.key == self._looked), "")
        self.query_one("#help", Lines).put(Text.assemble((f"{self._looked}: ", "bold"), help))
        if self._work is None:
            self._tell(self._told(wrong))
        button = self.query_one("#start", Button)
        ready = bool(self.seen) and "problem" not in self.seen and not wrong and self._work is None
        button.disabled = not ready
        button.label = "Take it as the data (ctrl+s)" if self.summary is not None else "Make the clips file (ctrl+s)"
        self.query_one(KeyLine).show()

    def _told(self, wrong: str) -> Text:
        """Say what is in the folder, or what became of it."""
        colours = self.app.theme_variables
        if self.summary is not None:
            return summary_text(self.summary, colours)
        if wrong or not self.texts.get("source"):
            return Text("")
        if not self.seen:
            return Text("looking ...", colours["text-muted"])
        if "problem" in self.seen:
            told = f"✖ {words.plain(self.seen['problem'])} {words.plain(self.seen.get('hint', ''))}"
            return Text(told, colours["error"])
        return seen_text(self.seen, colours)

    def _tell(self, text: Text) -> None:
        self.query_one("#told-text", Lines).put(text)

    # --- the work ----------------------------------------------------------------------------------------------------

    def on_button_pressed(self) -> None:
        """The button does it too."""
        self.action_start()

    def action_start(self) -> None:
        """Make the clips file; take it once it is there."""
        self._take_all()
        if self._work is not None:
            self.say("It is being made.")
            return
        if self.summary is not None:
            self.post_message(DataPrepared(str(self.summary["path"])))
            return
        wish, wrong, problem = sources.wish_of(self.texts, self._fields)
        if wrong:
            self.say(f"{wrong}: {problem}", warn=True)
            return
        self.run_worker(self._prepare(wish), exclusive=True, group="prepare")

    async def _prepare(self, wish: dict[str, Any]) -> None:
        self._work, self._began, self._first = LongCommand("vdtui.sources", "prepare", json.dumps(wish)), 0.0, 0
        self._tell(Text("opening the videos ...", self.app.theme_variables["text-muted"]))
        self.query_one("#start", Button).disabled = True
        last: dict[str, Any] = {}

        def hear(line: str) -> None:
            nonlocal last
            try:
                last = json.loads(line)
            except ValueError:
                return
            if "done" in last:
                self._show_progress(last)

        done = await self._work.run(hear)
        self._work = None
        self.summary = last.get("summary")
        if self.summary is None:
            self.seen = {"problem": last.get("problem") or done.problem or "It ended too soon.", "hint": ""}
            self.seen["hint"] = last.get("hint", "")
        self._show()

    def _show_progress(self, told: dict[str, Any]) -> None:
        colours, now = self.app.theme_variables, time.monotonic()
        done, total = int(told["done"]), int(told["total"])
        if not self._began:
            self._began, self._first = now, done
        rate = (done - self._first) / (now - self._began) if now > self._began else 0.0
        left = words.duration((total - done) / rate) if rate > 0 else "—"
        full, open_part = words.bar(done / max(1, total), min(40, max(10, self.size.width - 50)))
        self._tell(
            Text.assemble(
                (full, colours["primary"]),
                (open_part, colours["text-disabled"]),
                (f"  video {done} of {total}", "bold"),
                f" · {left} left\n",
                (words.plain(told["video"], 100), colours["text-muted"]),
            )
        )

    def action_back(self) -> None:
        """Leave; what is half done is kept."""
        if self._work is not None:
            self._work.stop()
            self.say("Stopped. The same again goes on where it was.")
        self.app.pop_screen()

    def on_unmount(self) -> None:
        """End the work with the dashboard: nobody would see what becomes of it."""
        if self._work is not None:
            self._work.stop()

    def recolour(self) -> None:
        """The texts in the colours of the theme."""
        self._show()


def seen_text(seen: dict[str, Any], colours: dict[str, str]) -> Text:
    """Say what a prepare would read and write."""
    videos = ", ".join(f"{count} {split}" for split, count in seen["videos"].items())
    text = Text.assemble(
        (f"{seen['classes']} classes", "bold"),
        f", {counted(sum(seen['videos'].values()), 'video')} ({videos}); ",
        f"clips of {seen['frames']} x {seen['size']} x {seen['size']}, about {words.size(seen['bytes'])}",
    )
    for count, told in ((seen["rejected"], "of no use"), (seen["missing"], "not on the disk")):
        if count:
            text.append(f"\n{counted(count, 'video')} {told}", colours["warning"])
    for note in seen["notes"]:
        text.append(f"\n! {words.plain(note, 400)}", colours["warning"])
    return text


def summary_text(summary: dict[str, Any], colours: dict[str, str]) -> Text:
    """Say what was made, and what was skipped."""
    counts = ", ".join(f"{counted(count, f'{split} clip')}" for split, count in summary["clips"].items())
    text = Text(f"✔ {words.plain(summary['path'])}: {len(summary['classes'])} classes, {counts}, ", colours["success"])
    text.append(f"{words.size(summary['nbytes'])} in {words.duration(summary['seconds'])}")
    for number, told in (
        (summary["resumed_videos"], "done already"),
        (summary["dense_videos"], "so short that frames are taken closer together"),
        (summary["short_videos"], "with fewer frames than a clip: the last one is repeated"),
        (summary["missing"], "not on the disk"),
    ):
        if number:
            text.append(f"\n{counted(number, 'video')} {told}", colours["text-muted"])
    skipped = summary["skipped"]
    if skipped:
        text.append(f"\n! {counted(len(skipped), 'video')} skipped", colours["warning"])
    for name, reason in skipped[:SHOWN_SKIPPED]:
        text.append(f"\n  {words.plain(name)}: {words.plain(reason)}", colours["warning"])
    for note in summary["notes"]:
        text.append(f"\n! {words.plain(note, 400)}", colours["warning"])
    return text
