"""The same check once, in front of all services."""
