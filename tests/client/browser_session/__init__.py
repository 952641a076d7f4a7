"""The browser session, with a real authorization server, a real service and real sockets."""
