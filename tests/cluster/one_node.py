"""A SLURM of one node on this machine: munge, slurmctld and slurmd in a folder of their own, for tests that ask for it.

Needs Debian's ``slurm-wlm`` and ``munge``, and root, since slurmd starts jobs for others. Nothing outside of the folder
is read or written, so a SLURM that the machine already has is left alone. ``python -m tests.cluster.one_node FOLDER``
starts one, says the variable that makes `sbatch` use it, and waits for ctrl+C.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldParameters=enable_configless
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=0
KillWait=60
MinJobAge=300
ReturnToService=2
SlurmdTimeout=300
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP PriorityTier=1 OverSubscribe=NO
PartitionName=urgent Nodes={host} State=UP PriorityTier=10 OverSubscribe=NO
"""


def missing() -> str:
    """Return what is lacking for a SLURM here, in words, or ""."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if lacking:
        return f"no {', '.join(lacking)}: install slurm-wlm and munge"
    return "" if os.getuid() == 0 else "slurmd needs root"


@contextmanager
def slurm(folder: Path, cpus: int = 2) -> Iterator[dict[str, str]]:
    """Start a SLURM of this node with ``cpus`` in ``folder``; yield the variables of processes that are to use it.

    Its partitions are ``main``, and ``urgent``, whose jobs preempt those of the former by requeueing them. All that it
    started is ended on leaving.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    host = socket.gethostname().partition(".")[0]
    controller, daemon = _free_ports(2)
    text = CONFIGURATION.format(
        host=host, controller=controller, daemon=daemon, user=getpass.getuser(), folder=folder, cpus=cpus
    )
    (folder / "slurm.conf").write_text(text, encoding="utf-8")
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")} | variables
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    commands = {"munged": munge, "slurmctld": ["slurmctld", "-D"], "slurmd": ["slurmd", "-D"]}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with open(folder / f"{name}.out", "ab") as out:
                started.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            if name == "munged":
                _wait_for(lambda: (folder / "munge.socket").exists(), "munged")
        ask = ["sinfo", "--noheader", "--format=%T", "--partition=main"]
        _wait_for(lambda: subprocess.run(ask, env=environment, capture_output=True).stdout.strip() == b"idle", "slurmd")
        yield variables
    finally:
        subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, capture_output=True)
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            process.wait()


def _free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on, each another."""
    sockets = [socket.create_server(("", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for(condition, what: str, seconds: float = 60.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} does not come up; see its log")
        time.sleep(0.2)


if __name__ == "__main__":
    with slurm(Path(sys.argv[1]).resolve()) as found:
        print(f"export SLURM_CONF={found['SLURM_CONF']}", flush=True)  # noqa: T201
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            pass
