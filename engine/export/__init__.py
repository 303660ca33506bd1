"""What leaves the tool: synthetic sets as files, pictures and videos, and the report of a run.

Import the modules below by name; this package itself imports nothing, so that asking for an export's help does not
wait for torch.
"""
