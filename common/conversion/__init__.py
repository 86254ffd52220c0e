"""From what the authors of a data set published to what its loader reads, and whether what is there is whole."""
