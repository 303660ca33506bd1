"""The packages of a wheel; all else stands in pyproject.toml.

Presets lie at the top of the repository, where users look for them, and inside `engine` in a wheel: a top-level package
called `presets` could meet another one of that name.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["engine*", "vdtui*"]), "engine.presets"],
    package_dir={"engine.presets": "presets"},
)
