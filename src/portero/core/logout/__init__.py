"""Telling clients that a session is over (OpenID Connect Back-Channel Logout 1.0)."""
