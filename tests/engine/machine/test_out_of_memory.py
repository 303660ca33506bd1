"""Memory that runs out: told as such, whoever says it and in whatever way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.errors import MemoryShortError
from engine.machine.out_of_memory import memory_errors


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: torch.empty(10**14), "Memory ran out when 400,000.00 GB more were asked for."),
        (lambda: np.empty(10**15), "Memory ran out when 7.11 PiB more were asked for."),
        (lambda: bytearray(10**15), "Memory ran out."),
    ],
)
def test_what_each_library_raises(ask, said: str) -> None:
    with pytest.raises(MemoryShortError) as caught, memory_errors():
        ask()
    assert caught.value.problem == said and caught.value.exit_code == 1


def test_what_cuda_raises() -> None:
    """Its text as torch words it; the class is the one that torch raises."""
    text = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1 GiB is"
    with pytest.raises(MemoryShortError, match=r"ran out when 2\.50 GiB more"), memory_errors():
        raise torch.OutOfMemoryError(text)
    with pytest.raises(MemoryShortError), memory_errors():
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def test_other_errors_stay_what_they_are() -> None:
    """A bug that is called a lack of memory would never be reported."""
    with pytest.raises(RuntimeError, match="shape"), memory_errors():
        raise RuntimeError("The shape of a tensor is wrong")
    with pytest.raises(KeyError), memory_errors():
        raise KeyError("out of memory")


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_a_limit_of_the_shell_is_named(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `ulimit -v` a library that did not fit was called a bug of ours."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (2_000_000_000, 2_000_000_000))
    with pytest.raises(MemoryShortError) as caught, memory_errors():
        raise error
    assert "2.00 GB" in caught.value.hint and "ulimit -v unlimited" in caught.value.hint
