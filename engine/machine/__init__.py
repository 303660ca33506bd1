"""The machine that a run is on: its cores and memory, how much of them is in use, and other processes of the run."""
