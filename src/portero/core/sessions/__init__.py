"""The device session and its refresh tokens, as a table (design decision: one live branch)."""
