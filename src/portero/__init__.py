"""Portero: the complete life of a JSON Web Token for teams with Python services.

Rooms, by role (RFC 6749 §1.1): `authorization_server`, `resource_server` (the Guard), `gateway`,
`client`; the floors below them are `core` (pure), `ports` and `adapters`. See ARCHITECTURE.md.
"""
