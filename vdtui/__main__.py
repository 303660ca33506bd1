"""`python -m vdtui`: the command, where its script is not on the path."""

from vdtui.cli.main import main

main()
