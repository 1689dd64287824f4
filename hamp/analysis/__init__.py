"""What a set of objective vectors is worth: dominance, hypervolume, quality indicators, statistics."""
