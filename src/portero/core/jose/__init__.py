"""JOSE: base64url, algorithms, JWK, JWK Set, JWS compact, JWT (RFC 7515, 7517, 7518, 7519, 8037, 9864).

No JWE and no JSON serialization, on purpose.
"""
