"""Reading a curve: a cross-hair at the mouse or moved by keys, the values there, and zoom to a part that is selected.

The plots say what there is to read (``steps``, ``read``); where the cross-hair stands, and what is selected, is here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.text import Text
from textual.events import Leave, MouseDown, MouseMove, MouseUp
from textual_hires_canvas import Canvas
from textual_plot import PlotWidget

FEWEST_CELLS = 3
"""A mouse that was moved by less selects nothing."""


class Readable(PlotWidget):
    """A plot with a cross-hair; its kinds say what stands at a step, and how to show a part of the steps."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cursor: float | None = None
        """The step that is read off; None: no cross-hair."""
        self.other_end: float | None = None
        """The other end of a selection that is being made."""
        self._note = Text("")

    # --- what the kinds say ------------------------------------------------------------------------------------------

    def steps(self) -> np.ndarray:
        """The steps (N), ordered, at which there is something to read, of those that are shown."""
        return np.empty(0)

    def read(self, step: float) -> list[tuple[str, str]]:
        """The values at ``step``, each with the colour of its line."""
        return []

    def zoom_to(self, first: float, last: float) -> None:
        """Show the steps from ``first`` to ``last``; a plot that always shows all does nothing."""

    # --- the cross-hair ----------------------------------------------------------------------------------------------

    def put_note(self, note: Text) -> None:
        """Show ``note`` below the plot while nothing is read off."""
        self._note = note
        if self.cursor is not None and not len(self.steps()):
            self.cursor = self.other_end = None
        self._show_note()

    def _show_note(self) -> None:
        if self.cursor is None:
            self.border_subtitle = self._note
            return
        step = f"step {self.cursor:,.0f}".replace(",", " ")
        text = Text(f"{step}{' to ...' if self.other_end is not None else ''}")
        for value, colour in self.read(self.cursor):
            text.append(" · ").append(value, colour)
        self.border_subtitle = text

    def look_at(self, step: float | None) -> None:
        """Put the cross-hair on the known step that is nearest to ``step``; None takes it away."""
        known = self.steps()
        if step is None or not len(known):
            step = self.other_end = None
        else:
            place = int(np.clip(np.searchsorted(known, step), 0, len(known) - 1))
            before = known[max(0, place - 1)]
            step = float(before if abs(before - step) <= abs(known[place] - step) else known[place])
        if step != self.cursor:
            self.cursor = step
            self._show_note()
            self._rerender()

    def move_cursor(self, by: int) -> None:
        """Move the cross-hair by a column, to a step that is another one; it begins at the last step."""
        known = self.steps()
        if not len(known):
            return
        if self.cursor is None:
            self.look_at(float(known[-1]))
            return
        place = int(np.searchsorted(known, self.cursor))
        column = max((known[-1] - known[0]) / max(1, self.size.width), 0.0)
        further = self.cursor + by * column
        nearest = int(np.searchsorted(known, further, "left" if by > 0 else "right")) - (by < 0)
        place = max(place + 1, nearest) if by > 0 else min(place - 1, nearest)
        self.look_at(float(known[int(np.clip(place, 0, len(known) - 1))]))

    def select(self) -> str:
        """Set one end of a selection at the cross-hair; the second time zoom to what is between. Say what was done."""
        if self.cursor is None:
            self.move_cursor(1)
            return "[ and ] move the cross-hair; z sets one end, and z again zooms."
        if self.other_end is None:
            self.other_end = self.cursor
            self._show_note()
            return "One end is set; move to the other, then z again."
        self._zoom_between(self.other_end, self.cursor)
        return ""

    def _zoom_between(self, one: float, other: float) -> None:
        self.other_end = None
        if one != other:
            self.zoom_to(min(one, other), max(one, other))
        self._show_note()

    def draw_cursor(self, canvas: Canvas, colour: str) -> None:
        """Draw the cross-hair into the finished picture, and the other end of a selection."""
        for step in (self.cursor, self.other_end):
            if step is None:
                continue
            x, _ = self.get_pixel_from_coordinate(step, 0.0)
            for y in range(1, canvas._canvas_size.height - 1):
                if 0 < x < canvas._canvas_size.width and canvas.get_pixel(x, y)[0] == " ":
                    canvas.set_pixel(x, y, "│" if step == self.cursor else "┆", colour)

    # --- the mouse ---------------------------------------------------------------------------------------------------

    def _step_below(self, event: MouseMove | MouseDown | MouseUp) -> float | None:
        canvas = self.query_one("#plot", Canvas)
        x, y = int(event.screen_x) - canvas.region.x, int(event.screen_y) - canvas.region.y
        if not (0 < x < canvas.size.width - 1 and 0 <= y < canvas.size.height):
            return None
        return self.get_coordinate_from_pixel(x, 1)[0]

    def on_mouse_move(self, event: MouseMove) -> None:
        """Read off what is below the mouse."""
        step = self._step_below(event)
        if step is not None or self.other_end is None:
            self.look_at(step)

    def on_mouse_down(self, event: MouseDown) -> None:
        """Begin to select."""
        if event.button == 1 and (step := self._step_below(event)) is not None:
            self.look_at(step)
            self.other_end = self.cursor
            self.capture_mouse()

    def on_mouse_up(self, event: MouseUp) -> None:
        """Show what was selected."""
        self.release_mouse()
        if self.other_end is None or self.cursor is None:
            return
        ends = [self.get_pixel_from_coordinate(step, 0.0)[0] for step in (self.other_end, self.cursor)]
        if abs(ends[0] - ends[1]) >= FEWEST_CELLS:
            self._zoom_between(self.other_end, self.cursor)
        self.other_end = None

    def on_leave(self, event: Leave) -> None:
        """Take the cross-hair away with the mouse."""
        if not self.is_mouse_over:
            self.look_at(None)
