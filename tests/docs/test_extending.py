"""docs/extending.md against the engine: its code is what people begin with, so it must run as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from engine.config.objectives import Facts
from engine.config.plugins import FOLDER
from tests.tiny import PYTHON, ROOT
from tests.tiny_run import QUICK, make_clips

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def blocks(title: str) -> list[str]:
    """The code of a section."""
    (text,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(code: str, folder: Path) -> Any:
    """What ``code`` prints as JSON in a process of its own, for which modules in ``folder`` are those of matching."""
    first = f"import engine.matching\nengine.matching.__path__.insert(0, {str(folder)!r})\n"
    done = subprocess.run([PYTHON, "-c", first + code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


DISTIL = """
import json
from pathlib import Path
from engine.config.objectives import OBJECTIVES
OBJECTIVES += [LINE]
import sys
from engine import load_preset, run_distillation
from engine.config import keys, to_toml
from engine.errors import PresetError
from vdtui.tui.form import Form
from vdtui.tui.watch import stages_ahead
said = {"torch": "torch" in sys.modules, "keys": [key for key in keys() if key.startswith("dynamic.moments.")]}
preset = load_preset("default", [*QUICK, "dynamic.objective=moments", "dynamic.moments.variance=0.5"])
said["toml"] = "[dynamic.moments]\\nvariance = 0.5" in to_toml(preset)
said["form"] = [field.name for field in Form("default").sections["dynamic.moments"]]
said["stages"] = [[stage.name for stage in stages_ahead(preset.tables())], preset.stages]
try:
    load_preset("default", ["dynamic.moments.varianc=1"])
except PresetError as error:
    said["hint"] = error.hint
try:
    load_preset("default", ["dynamic.objective=moment"])
except PresetError as error:
    said["wrong"] = error.problem + error.hint
run = run_distillation(preset, CLIPS, runs_dir=RUNS)
said["state"], said["losses"] = run.state(), len(run.folded().losses["dynamic"].values)
said["rows"] = {row["what"]: row["objective"] for row in run.folded().results}
print(json.dumps(said))
"""


def test_the_objective_of_the_page_is_known_everywhere_and_distils(tmp_path: Path) -> None:
    """A file and a line, as the page says: else whoever follows it searches for the rest."""
    (code,) = blocks("An objective")
    (line,) = re.findall(r'line in `OBJECTIVES` is `("[\w.:]+"),`', PAGE)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "moments.py").write_text(code)
    given = {
        "QUICK": [*QUICK, "dynamic.steps=2", "evaluation.epochs=1", "evaluation.repeats=1"],
        "CLIPS": str(make_clips(tmp_path)),
        "RUNS": str(tmp_path / "runs"),
    }
    head = "".join(f"{name} = {value!r}\n" for name, value in given.items())
    said = run(head + DISTIL.replace("LINE", line), tmp_path / "code")
    assert said["torch"] is False and said["keys"] == ["dynamic.moments.variance"] and said["form"] == ["variance"]
    assert said["toml"] and said["stages"][0] == said["stages"][1]
    assert "dynamic.moments.variance" in said["hint"]
    assert "moments: means and variances of embeddings" in said["wrong"]
    assert (said["state"], said["losses"]) == ("completed", 2)
    assert said["rows"] == {"static-dynamic": "moments", "random": None, "static-only": "moments"}


OWN = """
import json
from engine import load_preset
from engine.models import video_model
from engine.models.registry import check_model
import torch
check_model("mynets:Net", 8, 64)
network = video_model("mynets:Net", 5, 8, 64, 0, torch.device("cpu"))
clips = torch.zeros(2, 3, 8, 64, 64)
changes = ["dynamic.objective=mygoals:Moments", "dynamic.options.variance=0.5", 'evaluation.models=["mynets:Net"]']
settings = load_preset("default", changes).dynamic.settings
print(json.dumps([list(network(clips).shape), list(network.embed(clips).shape), settings.variance]))
"""


def test_a_network_and_an_objective_are_found_in_the_folder_of_the_command(tmp_path: Path) -> None:
    """Whoever follows the page must get theirs without touching the package."""
    (tmp_path / "mynets.py").write_text(blocks("Without editing the package")[0])
    (tmp_path / "mygoals.py").write_text(blocks("An objective")[0])
    environment = {name: value for name, value in os.environ.items() if name != FOLDER} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([PYTHON, "-P", "-c", OWN], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[2, 5], [2, 32], 0.5]


OPTION = """
import json
from engine.config import load_preset
from engine.matching import Setting, clips_objective, stills_objective
from tests.engine.matching.test_distribution import SPEC, TinyNetwork
from tests.tiny import make_real, make_static_dynamic
losses = {}
for unit in ("false", "true"):
    preset = load_preset("default", [f"dynamic.dm.unit={unit}"] if UNIT else [])
    objective = clips_objective(preset, Setting(make_real(SPEC, (3, 5)), TinyNetwork, 0))
    losses[unit] = objective.loss(make_static_dynamic(SPEC, ipc=2), 1).item()
stills_objective(load_preset("default", ["static.objective=dm"]), Setting(make_real(SPEC, (3, 5)), TinyNetwork, 0))
print(json.dumps(losses))
"""


def test_the_option_of_the_page_changes_what_it_says_and_nothing_by_default(tmp_path: Path) -> None:
    """A default that changed the loss would change every run of an earlier preset."""
    (code,) = blocks("An option of an objective")
    (tmp_path / "code").mkdir()
    before = run("UNIT = False" + OPTION, tmp_path / "code")
    (tmp_path / "code" / "distribution.py").write_text(code)
    after = run("UNIT = True" + OPTION, tmp_path / "code")
    assert after["false"] == before["false"] and after["true"] != before["false"]


def test_the_table_of_facts_is_that_of_the_class() -> None:
    """A fact that the page does not name is one that a new objective does not say."""
    listed = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    own = [*Facts.__annotations__, *(name for name, each in vars(Facts).items() if isinstance(each, classmethod))]
    assert sorted(listed) == sorted(name for name in own if name != "settings_in")
