"""Door sign: AFIP vouches.

The person signs in at AFIP with their Clave Fiscal, and AFIP's page has their browser send us `token` and `sign`; the
person then says for whom they act.

```toml
[sign_in.clave_fiscal]
service = "mi_servicio"                # as AFIP registered it
login_url = "https://…"                # where AFIP signs people in for it
[[sign_in.clave_fiscal.sources]]       # whose signatures are believed
src = "CN=…"                           # exactly as its messages say
key_file = "afip.pem"                  # its key, or its certificate, of which only the key counts
algorithm = "RS1"                      # RS1 (SHA-1) or RS256 (SHA-256)
```

Steps: `start` (a link; leaves for AFIP) · `return` (AFIP's form, from another site: checked, and kept under the cookie
of the browser that left) · `choose` (shows who is coming in and whom they may act for) · `confirm` (the person's own
form; only there a session begins).
"""

from __future__ import annotations

from portero.authorization_server.sign_in.methods.clave_fiscal.method import ClaveFiscalMethod
from portero.authorization_server.sign_in.methods.clave_fiscal.settings import open_method

__all__ = ["ClaveFiscalMethod", "open_method"]
