"""The Python client against the real authorization server and the real Guard, over sockets."""
