"""Equations of the site, as MathML, which browsers show without a script: a hook of MkDocs (mkdocs.yml).

Pages have them as GitHub reads them: a block that begins with ```math, and $`...`$ within a line.
"""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert

_BLOCK = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"\$`([^`\n]+)`\$")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page with its equations as MathML."""
    blocks = _BLOCK.sub(lambda found: f"\n<div>{convert(found[1].strip(), display='block')}</div>\n", markdown)
    # In a span: what begins a line with <math> would be taken for a block.
    return _INLINE.sub(lambda found: f"<span>{convert(found[1])}</span>", blocks)
