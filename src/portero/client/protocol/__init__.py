"""The messages of a client as pure functions: a request to build, an answer to sort. No I/O and no clock."""
