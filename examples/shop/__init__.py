"""The demo: an authorization server, three services in three frameworks, and a single-page app, as a team runs them.

`make demo` starts them as separate processes on this machine; `make demo CHECK=1` walks the twelve steps of the
story in headless Chromium. Everything the demo keeps lies in `.demo/`.
"""
