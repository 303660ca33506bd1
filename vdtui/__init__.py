"""The face of the tool: commands and dashboard. It knows `engine`; `engine` never knows it."""

from vdtui.own_engine import take_own_engine

take_own_engine()
