"""OAuth and OpenID messages: parse requests, render answers; one module per endpoint."""
