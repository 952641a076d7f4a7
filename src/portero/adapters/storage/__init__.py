"""Stores: memory and SQLite, one schema, one conformance suite."""
