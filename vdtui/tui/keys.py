"""All keys of the dashboard in one table: bindings, key lines, help, and the table of docs/dashboard.md come from it.

A key has one meaning, whatever the screen; what that is to a screen is its use. Were bindings written screen by screen,
``p`` would pause a run in one place and show something in the next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from textual.binding import Binding

SCREENS = ("runs", "run", "gallery", "data", "compare", "presets", "form", "prepare")
"""The screens; in the last three one types, so that letters are no keys there."""

SIGNS = {
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "escape": "esc",
    "question_mark": "?",
    "slash": "/",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "shift+tab": "shift tab",
    "ctrl+s": "ctrl s",
    "ctrl+r": "ctrl r",
    "ctrl+n": "ctrl n",
    "ctrl+b": "ctrl b",
    "ctrl+y": "ctrl y",
    "ctrl+o": "ctrl o",
    "ctrl+t": "ctrl t",
}
"""Keys as help writes them, where that is not their name."""


@dataclasses.dataclass(frozen=True)
class Use:
    """The effect of a key on one screen: an action, what it does there, and its word in the line of keys."""

    screen: str
    action: str
    effect: str
    label: str = ""
    """The word in the line of keys at the foot of the screen; keys without one stand in the help alone."""
    keys: tuple[str, ...] = ()
    """The keys, where not all of them can be had: where one types, no letters."""
    early: bool = False
    """True for keys that the screen takes before the widget in which one is."""


@dataclasses.dataclass(frozen=True)
class Key:
    """Keys with one meaning, and what they do on each screen that has them."""

    keys: tuple[str, ...]
    meaning: str
    uses: tuple[Use, ...]

    @property
    def sign(self) -> str:
        """The keys as help and guide write them."""
        return signs(self.keys)


def signs(names: Sequence[str]) -> str:
    """Write keys as a user knows them."""
    return " ".join(SIGNS.get(name, name) for name in names)


def _everywhere(action: str, effect: str, label: str, *screens: str) -> tuple[Use, ...]:
    return tuple(Use(screen, action, effect, label) for screen in screens)


_TYPED = ("f1",)
"""The key of help where one types."""

TABLE: tuple[Key, ...] = (
    # --- the next step -----------------------------------------------------------------------------------------------
    Key(
        ("enter",),
        "go on: open, choose, next field",
        (
            Use("runs", "open", "open the run: curves, log, results", "Open", early=True),
            Use("run", "gallery", "open the gallery: the synthetic clips of a class"),
            Use("presets", "choose", "go on to the values of this preset", "Choose", early=True),
            Use("form", "next_field", "the next field, from one that is typed in", early=True),
            Use("prepare", "next_field", "the next field, from one that is typed in", early=True),
        ),
    ),
    Key(
        ("r",),
        "resume a run",
        (
            Use("runs", "resume", "resume a stopped, failed, crashed or paused run", "Resume"),
            Use("run", "resume", "resume the run where it stopped, failed, crashed or was paused", "Resume"),
        ),
    ),
    Key(
        ("p",),
        "pause, go on",
        (
            Use("runs", "pause", "pause the run, and let it go on"),
            Use("run", "pause", "pause the run, and let it go on", "Pause/go on"),
            Use("gallery", "play", "pause the films, and let them go on", "Pause/go on"),
            Use("data", "play", "pause the films, and let them go on", "Pause/go on"),
        ),
    ),
    Key(
        ("s",),
        "stop a run",
        (
            Use("runs", "stop", "stop the run (asks first); its state is saved"),
            Use("run", "stop", "stop the run (asks first); its state is saved", "Stop"),
        ),
    ),
    Key(
        ("n",),
        "new run",
        (
            Use("runs", "new", "start a new run", "New"),
            Use("run", "new", "start a new run"),
        ),
    ),
    Key(
        ("e",),
        "export the set",
        (
            Use("runs", "export", "export the synthetic set as tensors, videos, pictures"),
            Use("run", "export", "export the synthetic set as tensors, videos, pictures", "Export"),
        ),
    ),
    Key(
        ("w",),
        "write the report",
        (
            Use("runs", "report", "write the report, a page of HTML: of the run, or of all that are marked"),
            Use("run", "report", "write the report, a page of HTML, into the run's folder", "Report"),
            Use("compare", "report", "write the comparison, a page of HTML, beside the runs", "Report"),
        ),
    ),
    Key(
        ("space",),
        "mark",
        (Use("runs", "mark", "mark the run, to compare it", "Mark"),),
    ),
    Key(
        ("c",),
        "compare",
        (Use("runs", "compare", "compare the marked runs, 2 to 6", "Compare"),),
    ),
    Key(
        ("N",),
        "new run from this one",
        (
            Use("runs", "clone", "new run from this one: its values, to be changed", "New from this"),
            Use("run", "clone", "new run from this one: its values, to be changed", "New from this"),
        ),
    ),
    Key(
        ("x", "delete"),
        "remove",
        (Use("runs", "remove", "delete a run that has ended (asks first)"),),
    ),
    Key(
        ("i",),
        "images and clips of the set",
        (
            Use("runs", "gallery", "open the gallery; of two to five marked runs side by side"),
            Use("run", "gallery", "open the gallery: the synthetic clips of a class", "Gallery"),
        ),
    ),
    Key(
        ("d",),
        "data: the clips file",
        (
            Use("runs", "data", "data: what is in its clips file, and real clips"),
            Use("run", "data", "data: what is in its clips file, and real clips"),
        ),
    ),
    Key(
        ("E",),
        "evaluate now",
        (Use("run", "once('evaluate')", "evaluate now; the choice of the step ignores it"),),
    ),
    Key(
        ("S",),
        "save a checkpoint now",
        (Use("run", "once('checkpoint')", "save a checkpoint now"),),
    ),
    # --- moving ------------------------------------------------------------------------------------------------------
    Key(
        ("up", "k"),
        "one up",
        (
            Use("runs", "row(-1)", "the run above"),
            Use("run", "scroll('up')", "scroll the log up"),
            Use("gallery", "next_clip(-1)", "the clip before, of this class"),
            Use("data", "scroll('up')", "scroll the facts of the file up"),
            Use("compare", "scroll('up')", "scroll up"),
            Use("presets", "move(-1)", "the preset above", keys=("up",), early=True),
        ),
    ),
    Key(
        ("down", "j"),
        "one down",
        (
            Use("runs", "row(1)", "the run below"),
            Use("run", "scroll('down')", "scroll the log down"),
            Use("gallery", "next_clip(1)", "the next clip of this class", "Clip"),
            Use("data", "scroll('down')", "scroll the facts of the file down"),
            Use("compare", "scroll('down')", "scroll down"),
            Use("presets", "move(1)", "the preset below", "Move", keys=("down",), early=True),
        ),
    ),
    Key(
        ("left", "h"),
        "one to the left",
        (
            Use("run", "move(False)", "earlier steps in the curve, where not all are shown"),
            Use("gallery", "turn(-1)", "the class before"),
            Use("data", "turn(-1)", "the class before"),
            Use("compare", "turn(-1)", "the view before, where not all fits", early=True),
        ),
    ),
    Key(
        ("right", "l"),
        "one to the right",
        (
            Use("run", "move(True)", "later steps in the curve, where not all are shown"),
            Use("gallery", "turn(1)", "the next class", "Class"),
            Use("data", "turn(1)", "the next class", "Class"),
            Use("compare", "turn(1)", "the next view: accuracy, loss, differences, results", early=True),
        ),
    ),
    Key(
        ("home", "g"),
        "to the first",
        (
            Use("runs", "end(False)", "the first run"),
            Use("run", "scroll('home')", "the beginning of the log"),
            Use("gallery", "end(False)", "the first class"),
            Use("data", "scroll('home')", "the beginning of the facts"),
            Use("compare", "scroll('home')", "the beginning"),
            Use("presets", "end(False)", "the first preset", keys=("home",), early=True),
        ),
    ),
    Key(
        ("end", "G"),
        "to the last",
        (
            Use("runs", "end(True)", "the last run"),
            Use("run", "scroll('end')", "the end of the log"),
            Use("gallery", "end(True)", "the last class"),
            Use("data", "scroll('end')", "the end of the facts"),
            Use("compare", "scroll('end')", "the end"),
            Use("presets", "end(True)", "the last preset", keys=("end",), early=True),
        ),
    ),
    Key(
        ("comma",),
        "an earlier step",
        (Use("gallery", "travel(-1)", "an earlier step of the memory"),),
    ),
    Key(
        ("full_stop",),
        "a later step",
        (Use("gallery", "travel(1)", "a later step of the memory", "Step"),),
    ),
    # --- what is shown -----------------------------------------------------------------------------------------------
    Key(
        ("slash",),
        "search",
        (
            Use("runs", "filter", "show only runs with these words; esc shows all", "Filter"),
            Use("run", "search", "search the log; esc shows all of it"),
            Use("gallery", "search", "go to a class by letters of its name"),
        ),
    ),
    Key(
        ("v",),
        "another view",
        (
            Use("run", "view", "results or log, where both do not fit"),
            Use("gallery", "view", "one film alone, large"),
            Use("compare", "turn(1)", "the next view: accuracy, loss, differences, results", "View"),
        ),
    ),
    Key(
        ("t",),
        "the next stage",
        (
            Use("run", "stage", "the curve of the next stage"),
            Use("compare", "stage", "the losses of the next stage", "Stage"),
        ),
    ),
    Key(("1",), "stage 1", (Use("run", "stage('static')", "the curve of the static stage"),)),
    Key(("2",), "stage 2", (Use("run", "stage('dynamic')", "the curve of the dynamic stage"),)),
    Key(
        ("f",),
        "other figures",
        (Use("run", "figures", "other curves: step size, gradients, ranges, device", "Figures"),),
    ),
    Key(
        ("a",),
        "accuracy of each class",
        (Use("run", "classes", "accuracy of each class, or the results"),),
    ),
    Key(
        ("L",),
        "logarithmic scale",
        (
            Use("run", "scale", "logarithmic or linear scale"),
            Use("compare", "scale", "losses on a logarithmic or a linear scale", "Log scale"),
        ),
    ),
    Key(
        ("m",),
        "smoothing",
        (
            Use("run", "smooth", "smooth the curve: off, 0.9, 0.99"),
            Use("compare", "smooth", "smooth the losses: off, 0.9, 0.99", "Smooth"),
        ),
    ),
    Key(
        ("plus", "equals_sign"),
        "zoom in",
        (
            Use("run", "zoom(True)", "fewer of the last steps (or wheel)"),
            Use("compare", "zoom(True)", "fewer of the last steps (or wheel)"),
        ),
    ),
    Key(
        ("minus",),
        "zoom out",
        (
            Use("run", "zoom(False)", "more steps (or wheel)"),
            Use("compare", "zoom(False)", "more steps (or wheel)"),
        ),
    ),
    Key(
        ("left_square_bracket",),
        "one back: read off, or one frame",
        (
            Use("run", "cursor(-1)", "read the curves off: the cross-hair to the left (or mouse)"),
            Use("compare", "cursor(-1)", "read the curves off: the cross-hair to the left (or mouse)"),
            Use("gallery", "frame(-1)", "the frame before, alone"),
            Use("data", "frame(-1)", "the frame before, alone"),
        ),
    ),
    Key(
        ("right_square_bracket",),
        "one on: read off, or one frame",
        (
            Use("run", "cursor(1)", "read the curves off: the cross-hair to the right (or mouse)"),
            Use("compare", "cursor(1)", "read the curves off: the cross-hair to the right (or mouse)"),
            Use("gallery", "frame(1)", "the next frame, alone"),
            Use("data", "frame(1)", "the next frame, alone"),
        ),
    ),
    Key(
        ("z",),
        "zoom to a selection",
        (
            Use("run", "select", "zoom: z at one end, [ ] to the other, z (or drag the mouse)"),
            Use("compare", "select", "zoom: z at one end, [ ] to the other, z (or drag the mouse)"),
        ),
    ),
    Key(("A",), "all classes", (Use("gallery", "all", "all classes in a grid, or one", "All"),)),
    Key(
        ("D",),
        "difference to its start",
        (Use("gallery", "start", "beside what it began as, and the change since"),),
    ),
    Key(
        ("V",),
        "the stored file",
        (Use("gallery", "stored", "what was learned beside what its file decodes to, and the difference"),),
    ),
    Key(("b",), "from the beginning", (Use("gallery", "lapse", "play all steps: the memory as it forms", "Forming"),)),
    Key(("R",), "another real clip", (Use("gallery", "next_real", "another real clip of this class"),)),
    Key(
        ("greater_than_sign",),
        "sort by the next column",
        (Use("runs", "order(1)", "sort by the next column (or click its head)", "Sort"),),
    ),
    Key(
        ("less_than_sign",),
        "sort by the column before",
        (Use("runs", "order(-1)", "sort by the column before"),),
    ),
    Key(("C",), "columns", (Use("runs", "columns", "choose the columns (VDTUI_COLUMNS=state,left,test keeps them)"),)),
    Key(("u",), "upside down", (Use("runs", "turn_order", "turn the order of the runs round"),)),
    # --- files -------------------------------------------------------------------------------------------------------
    Key(
        ("o",),
        "open the report, or the folder",
        (
            Use("runs", "show_files", "open the report, or the folder, in a program of this machine"),
            Use("run", "show_files", "open the report, or the folder, in a program of this machine"),
        ),
    ),
    Key(
        ("y",),
        "copy the path",
        (
            Use("runs", "copy_path", "copy the path of the run's folder"),
            Use("run", "copy_path", "copy the path of the run's folder"),
            Use("data", "copy_path", "copy the path of the clips file"),
        ),
    ),
    Key(
        ("Y",),
        "copy the command",
        (
            Use("runs", "copy_command", "copy the command that started the run"),
            Use("run", "copy_command", "copy the command that started the run"),
        ),
    ),
    Key(
        ("B",),
        "bell at the end",
        _everywhere("bell", "ring the bell when a run ends, or do not (VDTUI_BELL=1 begins so)", "", "runs", "run"),
    ),
    # --- the form ----------------------------------------------------------------------------------------------------
    Key(
        ("tab",),
        "the next field",
        (
            Use("form", "field(1)", "the next field", early=True),
            Use("prepare", "field(1)", "the next field", early=True),
        ),
    ),
    Key(
        ("shift+tab",),
        "the field before",
        (
            Use("form", "field(-1)", "the field before", early=True),
            Use("prepare", "field(-1)", "the field before", early=True),
        ),
    ),
    Key(
        ("ctrl+s",),
        "start",
        (
            Use("form", "start", "start the run", "Start", early=True),
            Use("prepare", "start", "make the clips file; then, take it as the data", "Start", early=True),
        ),
    ),
    Key(
        ("ctrl+o",),
        "videos to clips",
        (
            Use("runs", "videos", "make a clips file of a folder of videos"),
            Use("form", "videos", "make a clips file of a folder of videos, and take it", "Videos", early=True),
        ),
    ),
    Key(
        ("ctrl+t",),
        "plan: time, memory, bytes",
        (Use("form", "plan", "rehearse the run here, some minutes: its time, memory and bytes", "Plan", early=True),),
    ),
    Key(
        ("ctrl+r",),
        "reset",
        (
            Use("form", "reset", "the preset's value in this field again", "Reset", early=True),
            Use("prepare", "reset", "the default in this field again", early=True),
        ),
    ),
    Key(
        ("ctrl+n",),
        "the next page",
        (Use("form", "section(1)", "the next page of values", "Next page", early=True),),
    ),
    Key(("ctrl+b",), "the page before", (Use("form", "section(-1)", "the page before", early=True),)),
    Key(
        ("ctrl+y",),
        "copy the command",
        (
            Use("form", "copy", "copy the command that makes the clips file, or starts the run", early=True),
            Use("prepare", "copy", "copy the command that makes the clips file", early=True),
        ),
    ),
    # --- leaving -----------------------------------------------------------------------------------------------------
    Key(
        ("question_mark", "f1"),
        "help",
        (
            *_everywhere("app.help", "this help", "Help", *SCREENS[:5]),
            Use("presets", "app.help", "this help", "Help", keys=_TYPED),
            Use("form", "app.help", "this help", "Help", keys=_TYPED),
            Use("prepare", "app.help", "this help", "Help", keys=_TYPED),
        ),
    ),
    Key(
        ("escape",),
        "back",
        (
            Use("runs", "clear", "end the filter; a second time: forget the marks"),
            Use("run", "back", "back to all runs", "Runs"),
            *_everywhere("app.pop_screen", "back", "Back", "data", "form"),
            Use("gallery", "back", "end the search, or back", "Back"),
            Use("compare", "back", "end the cross-hair, or back", "Back"),
            Use("presets", "back", "clear the search, or back to the runs", "Back"),
            Use("prepare", "back", "back; what is half done is kept", "Back"),
        ),
    ),
    Key(
        ("q",),
        "leave",
        _everywhere(
            "app.leave", "leave the dashboard; runs go on", "Leave", "runs", "run", "gallery", "data", "compare"
        ),
    ),
)


def uses(screen: str) -> list[tuple[tuple[str, ...], Use]]:
    """The uses that ``screen`` has, each with its keys, in the order of the table."""
    return [(use.keys or key.keys, use) for key in TABLE for use in key.uses if use.screen == screen]


def bindings(screen: str) -> list[Binding]:
    """The bindings of ``screen``. Their line at the foot of the screen is ``KeyLine``'s, not Textual's."""
    return [
        Binding(
            ",".join(names), use.action, use.label or use.effect, show=False, priority=use.early, tooltip=use.effect
        )
        for names, use in uses(screen)
    ]


def help_rows(screen: str) -> list[tuple[str, str]]:
    """Keys and effects on ``screen``; several keys with one effect share a row."""
    rows: dict[str, list[str]] = {}
    for names, use in uses(screen):
        rows.setdefault(use.effect, []).extend(names)
    return [(signs(names), effect) for effect, names in rows.items()]


def foot(screen: str, useful: Callable[[str], bool]) -> list[tuple[str, str, str]]:
    """Sign, word and action of the keys in the line at the foot of ``screen``, of those that are ``useful``."""
    return [
        (signs(names[:1]), use.label, use.action) for names, use in uses(screen) if use.label and useful(use.action)
    ]


def guide_table() -> str:
    """The table of docs/dashboard.md: each key, its meaning, and the screens that have it."""
    lines = ["| key | meaning | screens |", "|---|---|---|"]
    for key in TABLE:
        screens = [screen for screen in SCREENS if any(use.screen == screen for use in key.uses)]
        lines.append(f"| `{key.sign}` | {key.meaning} | {', '.join(screens)} |")
    return "\n".join(lines) + "\n"
