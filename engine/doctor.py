"""An examination of this machine: each thing that vdtui needs is tried, none is believed of a version number.

A mismatched torch, a disk without locks or a decoder that was left out of a build would otherwise show hours later, in
the middle of somebody's run.
"""

from __future__ import annotations

import dataclasses
import fcntl
import importlib.metadata
import io
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import VdtuiError
from engine.machine.cores import usable_cores
from engine.version import VERSION

OK, LIMITED, BROKEN = "ok", "limited", "broken"
NEEDED: tuple[str, ...] = (
    "torch",
    "torchvision",
    "h5py",
    "numpy",
    "av",
    "pydantic",
    "safetensors",
    "typer",
    "rich",
    "textual",
    "textual-plot",
    "jinja2",
    "matplotlib",
    "pillow",
)
DECODERS = ("h264", "hevc", "mpeg4", "vp9", "av1", "mjpeg")
"""Codecs of the benchmarks' videos, and of people's own."""
NVIDIA = Path("/proc/driver/nvidia/version")
LEAST_DRIVER = {"11": 450, "12": 525, "13": 580}
"""The first driver of Linux for programs of each major version of CUDA (NVIDIA's table of minor compatibility)."""
LEAST_FREE = 2 * 10**9


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was tried: ``state`` is ok, limited (works, with less) or broken; ``advice`` is the remedy."""

    part: str
    state: str
    found: str
    advice: str = ""


def examine(runs: Path, device: str = "auto") -> Iterator[Finding]:
    """Try everything in turn; ``runs`` is the folder that runs are to be in, which is not made if it is absent.

    Nothing is left behind, and nothing is raised: what fails is a finding.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("versions", _versions),
        ("torch and torchvision", _torch),
        ("device", lambda: _device(device)),
        ("several devices", _distributed),
        ("decoding", _decoding),
        ("encoding", _encoding),
        ("stills", _stills),
        ("HDF5", _hdf5),
        ("runs folder", lambda: _folder(runs)),
    ]
    for part, check in checks:
        try:
            yield check()
        except VdtuiError as error:
            yield Finding(part, BROKEN, error.problem, error.hint)
        except Exception as error:
            yield Finding(part, BROKEN, f"{type(error).__name__}: {error}", "Install vdtui anew: pip install .")


def _versions() -> Finding:
    found = [f"{name} {importlib.metadata.version(name)}" for name in NEEDED]
    return Finding("versions", OK, ", ".join([f"vdtui {VERSION}", f"Python {platform.python_version()}", *found]))


def _torch() -> Finding:
    import torch
    import torchvision

    boxes, scores = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]]), torch.tensor([1.0, 0.5])
    kept = torchvision.ops.nms(boxes, scores, 0.5).tolist()  # a compiled operator: fails where the two do not fit
    if kept != [0]:
        return Finding("torch and torchvision", BROKEN, "torchvision's operators compute rubbish", "Reinstall both.")
    build = f"{torch.__version__}, CUDA build {torch.version.cuda or 'none'}"
    driver = nvidia_driver()
    problem, advice = wrong_wheel(torch.version.cuda, torch.version.hip, torch.cuda.is_available(), driver)
    if problem:
        state = OK if driver is None else LIMITED  # without a card all that is lost is room on the disk
        return Finding("torch and torchvision", state, f"work together; {build}; {problem}", advice)
    return Finding("torch and torchvision", OK, f"work together; {build}")


def nvidia_driver() -> str | None:
    """Return the version of the kernel's NVIDIA driver, "" if it does not say it, None without a driver or a card."""
    try:
        text = NVIDIA.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if Path("/dev/nvidiactl").exists() else None
    found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", text)
    return found[1] if found else ""


def wrong_wheel(cuda: str | None, hip: str | None, usable: bool, driver: str | None) -> tuple[str, str]:
    """Return what is wrong between this build of torch and this machine, and what to do; two empty texts if nothing.

    ``cuda`` and ``hip`` are the versions that torch was built for, ``usable`` says whether it can use a GPU, ``driver``
    is what ``nvidia_driver`` returns.
    """
    if usable or hip is not None:
        return "", ""
    if cuda is None:
        if driver is None:
            return "", ""
        problem = f"there is an NVIDIA driver{f' {driver}' if driver else ''}, and torch was built for the CPU alone"
        return problem, "Install torch and torchvision for CUDA, both from the same index: pytorch.org/get-started."
    if driver is None:
        problem = f"torch was built for CUDA {cuda}, and there is no NVIDIA driver here"
        return problem, "It works, on the CPU; a CPU build takes a fifth of the disk. With a card: install its driver."
    least = LEAST_DRIVER.get(cuda.partition(".")[0])
    if driver and least and int(driver.partition(".")[0]) < least:
        problem = f"torch was built for CUDA {cuda}, which wants driver {least} or later, and here is {driver}"
        return problem, "Update the driver, or install a torch that was built for an older CUDA."
    problem = f"torch was built for CUDA {cuda}, and cannot use the card here (driver {driver or 'unknown'})"
    return problem, "Try `nvidia-smi`; look at CUDA_VISIBLE_DEVICES, and in a container at its access to the card."


def _device(name: str) -> Finding:
    import torch

    from engine.models import choose_device, choose_precision

    device = choose_device(name)
    precision = str(choose_precision("auto", device)).removeprefix("torch.")
    a = torch.eye(64, device=device)
    if not torch.equal((a @ a).cpu(), torch.eye(64)):
        return Finding("device", BROKEN, f"{device} computes rubbish", "Use --device cpu, and check the driver.")
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        free_memory = f"{free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        found = f"{torch.cuda.get_device_name(device)}, {free_memory}, has {precision}"
        return Finding("device", OK, found)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    found = f"{device}, {usable_cores()} cores, {torch.get_num_threads()} threads, {memory:.0f} GB memory, {precision}"
    advice = "Published schedules take days without a GPU; the demo takes minutes."
    return (
        Finding("device", LIMITED, f"{found}; no GPU", advice) if device.type == "cpu" else Finding("device", OK, found)
    )


def _distributed() -> Finding:
    import torch.distributed as dist

    if not dist.is_available():
        return Finding("several devices", LIMITED, "torch.distributed is not in this build", "--processes needs it.")
    backends = [
        name for name, there in (("gloo", dist.is_gloo_available()), ("nccl", dist.is_nccl_available())) if there
    ]
    return Finding(
        "several devices", OK if backends else LIMITED, f"torchrun with {' and '.join(backends) or 'nothing'}"
    )


def _decoding() -> Finding:
    import av

    absent = []
    for name in DECODERS:
        try:
            av.codec.Codec(name, "r")
        except ValueError:
            absent.append(name)
    there = ", ".join(name for name in DECODERS if name not in absent)
    if "h264" in absent:
        return Finding("decoding", BROKEN, "PyAV cannot read H.264", "pip install --force-reinstall av")
    if absent:
        advice = f"Videos in {', '.join(absent)} will be skipped; another build of av may read them."
        return Finding("decoding", LIMITED, there, advice)
    return Finding("decoding", OK, there)


def _encoding() -> Finding:
    """Try a clip to H.264 and back, as exports and compressed storage do it."""
    import av
    import numpy as np

    from engine.export import encode

    frames = [np.full((32, 32, 3), value, np.uint8) for value in (40, 120, 200)]
    with av.open(io.BytesIO(encode.mp4(frames, 8.0)), "r") as container:
        back = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    if len(back) != 3 or max(abs(mean - value) for mean, value in zip(back, (40, 120, 200), strict=True)) > 6:
        return Finding("encoding", BROKEN, "H.264 comes back changed", "pip install --force-reinstall av")
    return Finding("encoding", OK, "H.264, written and read back")


def _stills() -> Finding:
    from PIL import Image, features

    for kind in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (10, 200, 30)).save(buffer, kind)
        Image.open(buffer).load()
    if not features.check("avif"):
        return Finding("stills", LIMITED, "PNG, JPEG", "Storage such as avif-50 needs a newer Pillow.")
    return Finding("stills", OK, "PNG, JPEG, AVIF")


def _hdf5() -> Finding:
    import h5py
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "try.h5"
        clips = np.arange(2 * 8 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 8, 4, 4, 3)
        with h5py.File(path, "w") as file:
            file.create_dataset("clips", data=clips, chunks=(1, 8, 4, 4, 3))
        with h5py.File(path) as file:
            same = np.array_equal(file["clips"][:], clips)
    if not same:
        return Finding("HDF5", BROKEN, "what was written comes back changed", "pip install --force-reinstall h5py")
    return Finding("HDF5", OK, f"written and read back in {tempfile.gettempdir()}")


def _folder(runs: Path) -> Finding:
    """Try room, the right to write, renaming and locks, in the nearest folder that exists."""
    elsewhere = "Choose another with --runs-dir or VDTUI_RUNS."
    place = next(path for path in (runs.resolve(), *runs.resolve().parents) if path.exists())
    if not place.is_dir():
        return Finding("runs folder", BROKEN, f"{place} is a file", elsewhere)
    try:
        with tempfile.TemporaryDirectory(prefix=".vdtui-try-", dir=place) as folder:
            with open(Path(folder) / "one", "wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.replace(Path(folder) / "one", Path(folder) / "two")
    except OSError as error:
        return Finding("runs folder", BROKEN, f"{runs}: {error.strerror or error}", elsewhere)
    free = shutil.disk_usage(place).free
    found = f"{runs}{'' if runs.is_dir() else ' (not there yet)'}, writable, with locks, {free / 1e9:.1f} GB free"
    if free < LEAST_FREE:
        return Finding("runs folder", LIMITED, found, f"Checkpoints take hundreds of MB. {elsewhere}")
    return Finding("runs folder", OK, found)
