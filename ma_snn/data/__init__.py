"""MA-SNN's data: windows of recordings in its own containers."""
