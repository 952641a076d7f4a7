"""Ways to begin a session: with a browser on this machine, or with a code that is typed on another device."""
