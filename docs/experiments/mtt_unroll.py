"""What the three unrolls of trajectory matching cost: memory and time of a step, with ConvNet3D.

Each variant runs in a process of its own, since a process never tells its peak memory anew. Run it with
`OMP_NUM_THREADS=1 python docs/experiments/mtt_unroll.py`; some minutes on one core, of which the time is told that was
spent computing, so that a busy machine does not show. With `--device cuda --size 112 --frames 16
--classes 50` it measures the step that is published for MiniUCF at IPC 1.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch

from engine.data.spec import ClipSpec
from engine.matching.experts import FlatParameters
from engine.matching.unroll import UNROLLS, Student
from engine.models import video_model
from engine.synthetic import Pixels


def main() -> None:
    """Print a row for every unroll."""
    options = arguments()
    if options.unroll is not None:
        measure(options)
        return
    print("unroll         peak MiB    above start   seconds/step   |gradient|", flush=True)  # noqa: T201
    for unroll in UNROLLS:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--unroll", unroll], check=True)


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    for name, value in {"classes": 10, "frames": 8, "size": 64, "ipc": 1, "syn-steps": 10, "repeats": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--unroll", choices=list(UNROLLS), help="measure only this one, in this process")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> None:
    """Take a few steps, and print what they took."""
    device = torch.device(options.device)
    student, start, target = make(options, device)
    before = peak(device)
    seconds, norm = [], 0.0
    for _ in range(options.repeats):
        pixels = student.synthetic.parameters()["pixels"]
        pixels.grad = None
        began = clock(device)
        UNROLLS[options.unroll](student, start, target).backward()
        assert pixels.grad is not None
        norm = pixels.grad.norm().item()  # waits for the device
        seconds.append(clock(device) - began)
    told = f"{peak(device):11.0f} {peak(device) - before:14.0f} {min(seconds):14.2f} {norm:12.5g}"
    print(f"{options.unroll:12s} {told}", flush=True)  # noqa: T201


def make(options: argparse.Namespace, device: torch.device) -> tuple[Student, torch.Tensor, torch.Tensor]:
    """A student of random clips, between random weights and others near them."""
    rng = torch.Generator().manual_seed(0)
    classes, side = tuple(map(str, range(options.classes))), options.size
    spec = ClipSpec(classes, options.frames, side, side, (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
    pixels = torch.randn(options.classes, options.ipc, options.frames, 3, side, side, generator=rng)
    network = video_model("convnet3d", options.classes, options.frames, side, 0, device).requires_grad_(False).train()
    parameters = FlatParameters(network)
    start = parameters.gather(network)
    target = start + (1e-3 * torch.randn(start.shape, generator=rng)).to(device)
    student = Student(
        Pixels(spec, pixels.to(device).requires_grad_()),
        network,
        parameters,
        torch.tensor(0.01, device=device, requires_grad=True),
        options.syn_steps,
        seed=0,
        precision=getattr(torch, options.precision),
        batch=None,
        at_once=options.at_once,
    )
    return student, start, target


def clock(device: torch.device) -> float:
    """Seconds: of the wall while a device computes, otherwise those that the process had of the processors."""
    return time.monotonic() if device.type == "cuda" else time.process_time()


def peak(device: torch.device) -> float:
    """The most memory that was held so far, MiB: of the device, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
