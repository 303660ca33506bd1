"""From video files to clips: where the videos lie, how they are decoded, the clips file and its reader."""
