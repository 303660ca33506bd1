"""What the device is said to be doing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine.machine import usage as module
from engine.machine.usage import Gauge, MemoryPeak

CPU = torch.device("cpu")


def test_memory_and_load_of_this_process_in_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user would take pages for bytes, or one busy core for a busy machine."""
    now, busy = 100.0, 7.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(module.time, "process_time", lambda: busy)
    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    gauge = Gauge(CPU)
    assert gauge.figures() == {}, "told at most once a second"
    now, busy = 102.0, 11.0
    told = gauge.figures()
    assert told["device_load"] == pytest.approx(4.0 / 2.0 / 4)
    resident = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    assert told["device_memory"] == pytest.approx(resident, rel=0.1)
    now, busy = 103.5, 11.3
    assert gauge.figures()["device_load"] == pytest.approx(0.3 / 1.5 / 4, abs=1e-4)


def test_a_machine_that_tells_nothing_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of days would end because the system has no /proc."""
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("no /proc")))
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)
    gauge = Gauge(CPU)
    time.sleep(0.01)
    assert set(gauge.figures()) == {"device_load"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_card_tells_its_memory_and_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user could not see that the card is full, or idle."""
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)
    device = torch.device("cuda")
    gauge = Gauge(device)
    kept = torch.zeros(1 << 26, device=device)
    for _ in range(200):
        kept = kept * 1.0001
    torch.cuda.synchronize()
    told = gauge.figures()
    assert told["device_memory"] >= kept.numel() * 4
    assert 0.0 <= told["device_load"] <= 1.0


def test_the_peak_is_of_this_process_and_those_below_it_at_once() -> None:
    """Added most of each, at whatever time, would ask for memory that a run never takes; so would libraries twice."""
    hold = "import sys, time; kept = bytearray(100 << 20); print(flush=True); sys.stdin.read()"
    with MemoryPeak() as alone:
        time.sleep(0.2)
    with MemoryPeak() as peak:
        for _ in range(2):  # one after the other
            command = [sys.executable, "-c", hold]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(0.3)
    assert 100 << 20 < peak.bytes - alone.bytes < 150 << 20


def test_where_nothing_tells_what_is_held_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan has another way then."""
    monkeypatch.setattr(module, "Path", lambda _: Path("/nowhere"))
    with MemoryPeak() as peak:
        time.sleep(0.15)
    assert peak.bytes == 0
