"""The embedded engine: an HTTP/1.1 reverse proxy with the Guard in process (asyncio protocols, uvloop, httptools).

What llhttp lets through and we do not is in `head_rules` and `chunks`; `client_side` and
`upstream_side` are the two ends of an exchange. Every message is parsed and written anew.
"""
