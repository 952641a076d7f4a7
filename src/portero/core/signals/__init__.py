"""Shared Signals: what receivers outside the fleet are told, in OpenID's own words (SSF 1.0, CAEP 1.0)."""
