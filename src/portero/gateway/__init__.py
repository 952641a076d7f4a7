"""The gateway: the same check once, in front of all services. Engines: `engines.ENGINES`; one manifest for all."""
