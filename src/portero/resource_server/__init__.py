"""The Guard: the same check in every service, in every Python framework."""
