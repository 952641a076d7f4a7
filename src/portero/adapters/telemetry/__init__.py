"""Counters and structured logs. Never a token, code, secret or key."""
