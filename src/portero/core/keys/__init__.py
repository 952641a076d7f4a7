"""The life of a signing key, as a table; the key cache: use, fetch, or wait."""
