"""Where key-encryption keys and tag keys live: a file outside the database."""
