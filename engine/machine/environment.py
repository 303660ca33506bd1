"""Variables of the environment that make a run faster and a better neighbour. None of them changes a result."""

WORKER_ENVIRONMENT = {
    # Threads that wait by spinning take the cores from whatever runs beside: another run, or the dashboard.
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc gives large blocks back at once, and the next step pays for fresh pages; a worker keeps them instead.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
}
"""Set for workers unless the user has set them otherwise."""
