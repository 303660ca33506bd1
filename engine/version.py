"""The version, where both the package and the files that it writes find it."""

VERSION = "0.2.0"
