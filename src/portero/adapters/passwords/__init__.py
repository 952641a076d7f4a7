"""argon2id, behind a bound on concurrent work."""
