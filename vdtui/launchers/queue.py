"""States of jobs as SLURM tells them, and why jobs wait or have ended.

`squeue` knows jobs until some minutes after their end, `sacct` those before that, where a cluster keeps accounts. One
call tells of all jobs, since schedulers dislike to be asked often.
"""

from __future__ import annotations

import dataclasses
import getpass
import subprocess
from collections.abc import Iterable

from engine.errors import UsageError

ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
        *("REVOKED", "TIMEOUT", "UNKNOWN"),
    }
)
"""States of jobs that will not run any more; a preempted job that is requeued is PENDING."""
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})


@dataclasses.dataclass(frozen=True)
class JobState:
    """The state of a job as SLURM spells it, and its reason, "" if there is none."""

    state: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """True if it will not run any more."""
        return self.state in ENDED

    @property
    def waits(self) -> bool:
        """True if it waits for its turn."""
        return self.state in WAITING

    def __str__(self) -> str:
        return f"{self.state} ({self.reason})" if self.reason else self.state


FORGOTTEN = JobState("UNKNOWN", "SLURM does not know the job any more")


def job_states(jobs: Iterable[str]) -> dict[str, JobState]:
    """Return the state of each of ``jobs`` (such as 17, or 17_3 of an array).

    Raises UsageError where SLURM's commands are missing or do not answer.
    """
    wanted = list(dict.fromkeys(jobs))
    if not wanted:
        return {}
    options = ["--array", "--noheader", "--states=all", f"--user={getpass.getuser()}", "--format=%i|%T|%r"]
    states = _parsed(_asked(["squeue", *options]))
    left = [job for job in wanted if job not in states]
    if left:
        options = ["--noheader", "--parsable2", "--allocations", f"--jobs={','.join(left)}"]
        states |= _parsed(_asked(["sacct", *options, "--format=JobID,State,Reason"], needed=False))
    return {job: states.get(job, FORGOTTEN) for job in wanted}


def _parsed(answer: str) -> dict[str, JobState]:
    """Return the states in lines of id, state and reason; sacct says ``CANCELLED by 0``."""
    states = {}
    for line in answer.splitlines():
        job, _, rest = line.strip().partition("|")
        state, _, reason = rest.partition("|")
        states[job] = JobState(state.split()[0].rstrip("+"), "" if reason == "None" else reason) if state else FORGOTTEN
    return states


def cancel(job: str) -> None:
    """Cancel ``job``; raises UsageError as ``job_states`` does."""
    _asked(["scancel", job])


def _asked(command: list[str], needed: bool = True) -> str:
    """Return what ``command`` says, "" where it fails and is not ``needed``, as without accounts."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError as error:
        if not needed:
            return ""
        problem = f"SLURM's {command[0]} is not on this machine's PATH."
        raise UsageError(problem, "Run this on a login node of the cluster, or take --launcher local.") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{command[0]} does not answer.", "Try again later: SLURM is busy or down.") from error
    if answer.returncode and needed:
        words = " ".join(answer.stderr.split())
        raise UsageError(f"{command[0]} failed: {words}", "Is this a node of the cluster, and is SLURM up?")
    return answer.stdout if answer.returncode == 0 else ""
