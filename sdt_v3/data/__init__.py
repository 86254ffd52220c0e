"""From recordings to the frames that the DVS networks see."""
