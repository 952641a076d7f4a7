"""The laws of `portero.testing.store_conformance`, by subject."""
