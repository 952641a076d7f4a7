"""Public: what tests of a service, a store or an adapter need.

| module | what is in it |
|---|---|
| `fixtures` | pytest: `portero_issuer`, `portero_clock`, `portero_jwks_server` |
| `stand_in` | an issuer that stands in for a Guard's own, without a network |
| `tokens`, `bad_tokens`, `proofs` | any good or bad token; DPoP proofs |
| `clock`, `shared_clock` | time that moves when told, in one process and in several |
| `issuer`, `jwks_server` | an issuer in memory; on loopback, where it rotates, stalls, fails and lies |
| `adapter_conformance` | the laws of every framework adapter |
| `store_conformance` | the laws of every store |
"""
