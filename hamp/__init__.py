"""Hardware-aware neural-network pruning by multi-objective evolution."""
