"""Floor 1, pure: values in, values out. No I/O, clock, randomness or logging."""
