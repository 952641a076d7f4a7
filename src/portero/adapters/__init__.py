"""Floor 3, the world: one folder per port. Chosen in composition roots only."""
