"""What is issued and accepted: access token (RFC 9068), refresh token, ID token."""
