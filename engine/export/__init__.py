"""Exports: synthetic sets as files, pictures and videos, the report of a run, and tables of several runs.

Import the modules below by name. The package itself imports nothing, so that the help of an export does not wait for
torch.
"""
