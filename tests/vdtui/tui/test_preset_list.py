"""The list of presets: groups and search by facts, whatever a description says."""

from __future__ import annotations

from engine.config import load_preset
from vdtui.tui.preset_list import ABLATIONS, ANY, listed


def test_presets_are_listed_by_what_they_are_and_not_by_what_is_said_of_them() -> None:
    """A preset whose description names another method would be found for that, and one with no words not at all."""
    pixels = load_preset("hmdb51-ipc1-pixels-mtt").model_copy(update={"description": "Unlike frepo on ssv2, ipc9."})
    (preset,) = listed({"mine": pixels})
    assert preset.group == "hmdb51" and preset.objectives == ("mtt",)
    assert preset.matches("hmdb51 pixels MTT ipc1 ours") and preset.matches("")
    assert not any(preset.matches(word) for word in ("frepo", "ssv2", "ipc9", "unlike", "published"))


def test_the_order_of_the_list() -> None:
    """The preset for one's own data, which most begin with, would stand among the benchmarks."""
    names = ["ablation-pairing-1", "ucf101-ipc1-dm-published", "ucf101-ipc1-dm", "demo", "hmdb51-ipc1", "default"]
    found = listed({name: load_preset(name) for name in names})
    assert [preset.name for preset in found] == [
        "default", "demo", "hmdb51-ipc1", "ucf101-ipc1-dm", "ucf101-ipc1-dm-published", "ablation-pairing-1"
    ]  # fmt: skip
    assert found[0].group == ANY and found[-1].group == ABLATIONS
    assert not found[4].matches("ucf101") and found[4].matches("ucf101 published") and found[4].matches("pub")
