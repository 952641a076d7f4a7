"""The engine Envoy: the manifest as its configuration, its keys and revocations fresh, its process alive."""
