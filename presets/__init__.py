"""The presets that come with the tool, as TOML files; see `vdtui presets`."""
