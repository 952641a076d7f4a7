"""Public: token factory, fake clock, JWKS server that misbehaves, store conformance."""
