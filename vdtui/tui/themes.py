"""The colours of the dashboard: dark, light, and with high contrast.

``VDTUI_THEME`` chooses one at the start, the command palette at any time; with NO_COLOR set, textual turns every one
of them into shades of grey. State is never told by colour alone, so all of them say the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from textual.theme import Theme

VARIABLE = "VDTUI_THEME"


def _theme(name: str, colours: Mapping[str, str], greys: Mapping[str, str], dark: bool) -> Theme:
    """A theme of the named colours, and of greys for frames, notes and scrollbars."""
    variables = {
        "text-muted": greys["muted"],
        "text-disabled": greys["faint"],
        "border": greys["frame"],
        "border-blurred": greys["thin"],
        "footer-key-foreground": colours["primary"],
        "footer-background": colours["surface"],
        "footer-description-foreground": greys["muted"],
        "scrollbar": greys["thin"],
        "scrollbar-background": colours["surface"],
        "scrollbar-hover": greys["faint"],
        "scrollbar-active": colours["primary"],
    }
    return Theme(name=name, dark=dark, variables=variables, **colours)  # type: ignore[arg-type]


DARK = _theme(
    "vdtui",
    {
        "primary": "#7cc4ff",
        "secondary": "#b9a5ff",
        "accent": "#ffb86b",
        "success": "#8fd694",
        "warning": "#ffc66d",
        "error": "#ff7b80",
        "foreground": "#d8dee9",
        "background": "#10131a",
        "surface": "#161b24",
        "panel": "#212938",
    },
    {"muted": "#8b97ab", "faint": "#465063", "frame": "#3a4559", "thin": "#2b3445"},
    dark=True,
)
LIGHT = _theme(
    "vdtui-light",
    {
        "primary": "#0b62b0",
        "secondary": "#6a45c2",
        "accent": "#954c00",
        "success": "#1d7a34",
        "warning": "#825200",
        "error": "#b8232f",
        "foreground": "#1c2430",
        "background": "#fbfbf8",
        "surface": "#eeeff0",
        "panel": "#e6eef6",
    },
    {"muted": "#566071", "faint": "#a3abb8", "frame": "#9aa4b2", "thin": "#c3c9d2"},
    dark=False,
)
CONTRAST = _theme(
    "vdtui-contrast",
    {
        "primary": "#66d9ff",
        "secondary": "#e0b0ff",
        "accent": "#ffcc00",
        "success": "#5cff5c",
        "warning": "#ffe600",
        "error": "#ff8080",
        "foreground": "#ffffff",
        "background": "#000000",
        "surface": "#202020",
        "panel": "#002a80",
    },
    {"muted": "#e0e0e0", "faint": "#a0a0a0", "frame": "#ffffff", "thin": "#c0c0c0"},
    dark=True,
)
THEMES = (DARK, LIGHT, CONTRAST)
TITLES = {DARK.name: "dark", LIGHT.name: "light", CONTRAST.name: "high contrast"}


def chosen() -> str:
    """The name of the theme that ``VDTUI_THEME`` asks for (``dark``, ``light``, ``contrast``), else the dark one."""
    wish = os.environ.get(VARIABLE, "").strip().lower()
    return {"light": LIGHT.name, "contrast": CONTRAST.name, "high contrast": CONTRAST.name}.get(wish, DARK.name)
