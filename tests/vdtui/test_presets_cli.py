"""`vdtui presets`: the list from which everybody chooses. What it hides or mixes up is run by nobody, or by mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from typing import Any

from engine.config import load_preset, preset_names


def listed(*words: str) -> subprocess.CompletedProcess[str]:
    code = "from vdtui.cli.main import main; main()"
    command = [sys.executable, "-c", code, "presets", *words]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result


def names_of(table: str) -> set[str]:
    """First words of the lines; names are never wrapped."""
    return {line.split()[0] for line in table.splitlines() if line.strip()} & set(preset_names())


def test_published_settings_are_listed_on_request_and_said_to_be_there() -> None:
    """The recommended ones are found at a glance, and the published ones are not lost."""
    published = {name for name in preset_names() if name.endswith("-published")}
    short, whole = listed(), listed("--all")
    assert names_of(short.stdout) == set(preset_names()) - published
    assert names_of(whole.stdout) == set(preset_names())
    assert f"{len(published)} more" in short.stderr and "--all" in short.stderr and len(published) == 60
    assert "--all" not in whole.stderr


def test_the_json_has_all_and_tells_them_apart() -> None:
    """A script that goes through the list must not take our rates for the paper's."""
    found = {each["name"]: each for each in json.loads(listed("--json").stdout)}
    assert set(found) == set(preset_names())
    assert all(each["published_setting"] == name.endswith("-published") for name, each in found.items())
    mine, theirs = found["miniucf101-ipc1-dm"], found["miniucf101-ipc1-dm-published"]
    assert "published" not in mine and theirs["published"] == "17.5 % top-1 (Wang et al. 2024)"
    assert (mine["dynamic"]["optimiser"], theirs["dynamic"]["optimiser"]) == ("whitened-adam", "sgd")
    # Its bytes depend on the clips.
    assert mine["stored_bytes"] is None and mine["storage"]["how"] == "av1-10+h264-43@half"
    assert theirs["stored_bytes"] == found["miniucf101-ipc1-mtt"]["stored_bytes"] > 0


def test_what_is_ours_is_marked_beside_what_was_published() -> None:
    """Somebody would publish our rates as the paper's."""
    shown = listed("miniucf101-ipc1-dm").stdout
    assert 'optimiser = "whitened-adam"  # ours; published: "sgd"' in shown
    ours, theirs = (flat(load_preset(f"miniucf101-ipc1-dm{end}").tables()) for end in ("", "-published"))
    differing = {key for key in ours if "." in key and ours[key] != theirs.get(key)}
    assert shown.count("# ours") == len(differing) > 3
    assert json.dumps(flat(tomllib.loads(shown))) == json.dumps(ours)
    assert "# ours" not in listed("miniucf101-ipc1-dm-published").stdout + listed("default").stdout


def flat(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """All values under their whole names, as ``dynamic.dm.bank``."""
    values: dict[str, Any] = {}
    for key, value in tables.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values
