"""The parts of the screens. Each shows one piece of a snapshot and reads no file."""
