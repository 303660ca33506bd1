"""Writes the table of keys into dashboard.md, from the one that the dashboard binds: python docs/key_table.py"""

from __future__ import annotations

from pathlib import Path

from vdtui.tui.keys import guide_table

PAGE = Path(__file__).parent / "dashboard.md"
BEGIN, END = "<!-- keys: written by docs/key_table.py -->\n", "<!-- end of keys -->\n"


def with_table(text: str) -> str:
    """Return ``text`` with the present table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{guide_table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
