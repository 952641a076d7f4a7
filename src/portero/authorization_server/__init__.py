"""Signs people in, keeps one session per device; issues, refreshes and revokes tokens."""
