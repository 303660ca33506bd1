"""Which videos were cut from one recording, as far as their names tell.

The official splits of HMDB51 and UCF101 keep the clips of one recording on one side, since a network tells a scene
that it has seen more easily than an action. What is held out of training to choose by must be parted in the same way,
or it is chosen by how well scenes are remembered, and the test split asks for something else.
"""

from __future__ import annotations

import re

HMDB51 = re.compile(r"_[fuhl]_[nc]m_np\d+_(?:fr|ba|le|ri)_(?:bad|med|goo)_\d+$")
"""NAME_CLASS_ visible body, camera motion, people, viewpoint, quality, number (Kuehne et al. 2011)."""
UCF101 = re.compile(r"(_g\d+)_c\d+$")
"""v_CLASS_gGROUP_cNUMBER (Soomro et al. 2012)."""


def recording(name: str) -> str:
    """The recording that the video ``name`` (a path) was cut from: the name without what tells its clips apart.

    A name that is of neither form is its own.
    """
    folder, slash, file = name.rpartition("/")
    stem = file.rpartition(".")[0] or file
    for pattern, kept in ((HMDB51, ""), (UCF101, r"\1")):
        found, count = pattern.subn(kept, stem)
        if count:
            return folder + slash + found
    return name
