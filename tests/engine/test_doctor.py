"""If these fail, the doctor calls a machine sound on which a run will fail, or dies of what it is to find."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import av
import pytest
import torchvision

from engine import doctor
from engine.doctor import BROKEN, LIMITED, OK, Finding, examine
from engine.export import encode


def found(part: str, runs: Path, device: str = "cpu") -> Finding:
    return next(one for one in examine(runs, device) if one.part == part)


def test_a_sound_machine_is_sound_and_stays_clean(tmp_path: Path) -> None:
    findings = list(examine(tmp_path / "runs", "cpu"))
    assert [one.part for one in findings if one.state == BROKEN] == []
    assert [one.state for one in findings if one.part in ("torch and torchvision", "encoding", "HDF5")] == [OK] * 3
    assert found("device", tmp_path).state == LIMITED and all(one.found for one in findings)
    assert not list(tmp_path.iterdir())


def test_what_fails_is_a_finding_and_the_rest_is_still_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise RuntimeError("no encoder")

    monkeypatch.setattr(encode, "mp4", fails)
    monkeypatch.setattr(torchvision.ops, "nms", fails)
    findings = {one.part: one for one in examine(tmp_path, "cuda:77")}
    broken = {part for part, one in findings.items() if one.state == BROKEN}
    assert broken == {"encoding", "torch and torchvision", "device"}
    assert "no encoder" in findings["encoding"].found and "cpu" in findings["device"].advice
    assert findings["HDF5"].state == OK


def test_an_encoder_that_changes_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed storage would be judged by other clips than it holds."""
    honest = encode.mp4
    monkeypatch.setattr(encode, "mp4", lambda frames, fps: honest([255 - frame for frame in frames], fps))
    assert found("encoding", tmp_path).state == BROKEN


def test_a_decoder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = av.codec.Codec

    def codec(name: str, mode: str) -> object:
        if name == "av1":
            raise ValueError(name)
        return real(name, mode)

    monkeypatch.setattr(av.codec, "Codec", codec)
    one = found("decoding", tmp_path)
    assert one.state == LIMITED and "av1" in one.advice and "av1" not in one.found


def test_folders_that_no_run_can_be_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    assert found("runs folder", tmp_path / "file" / "runs").state == BROKEN
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 10**9))
    assert found("runs folder", tmp_path).state == LIMITED

    def locked(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(doctor.fcntl, "flock", locked)
    assert "No locks" in found("runs folder", tmp_path).found
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("cuda", "usable", "driver", "told"),
    [
        (None, False, None, ""),
        (None, False, "550.54", "built for the CPU alone"),
        ("12.8", True, "570.1", ""),
        ("12.8", False, None, "no NVIDIA driver"),
        ("12.8", False, "470.82.01", "wants driver 525 or later, and here is 470.82.01"),
        ("12.8", False, "570.1", "cannot use the card"),
        ("12.8", False, "", "driver unknown"),
    ],
)
def test_a_wheel_or_a_driver_that_is_the_wrong_one_is_told(
    cuda: str | None, usable: bool, driver: str | None, told: str
) -> None:
    """With a CPU build on a machine with a card a run takes days, and nothing else says why."""
    problem, advice = doctor.wrong_wheel(cuda, None, usable, driver)
    assert told in problem and bool(problem) == bool(advice) == bool(told)


def test_the_driver_is_read_from_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "version"
    monkeypatch.setattr(doctor, "NVIDIA", path)
    path.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 2024")
    assert doctor.nvidia_driver() == "550.54.15"
    path.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build")
    assert doctor.nvidia_driver() == "570.86.15"
