"""The face of the tool: commands and dashboard. It knows `engine`; `engine` never knows it."""
