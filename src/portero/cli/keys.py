"""`portero keys …`: the keys that sign tokens, and the secrets outside the database."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from portero.cli.output import instant, print_rows
from portero.cli.settings import Desk, at_desk, config_option, json_option, seconds, settings
from portero.core.transitions import SigningKey, SigningKeysKey
from portero.core.types import Issuer, Kid

SECRETS = {"tag": "tag_keys", "key-encryption": "key_encryption_keys", "purpose": "purpose_roots"}


@click.group("keys")
def command() -> None:
    """Signing keys (in the database, sealed) and secrets (in their file)."""


@command.command("list")
@json_option
@config_option
def list_keys(as_json: bool, config_file: Path | None) -> None:
    """List the signing keys that are in use, oldest first."""

    async def work(desk: Desk) -> list[SigningKey]:
        # Two of one second are told apart by what they do next.
        return sorted(await desk.store.read(SigningKeysKey()), key=lambda key: (key.signs_from, key.created))

    rows = [
        {
            "kid": key.kid,
            "alg": key.alg,
            "status": key.status.value,
            "created": instant(key.created),
            "signs_from": instant(key.signs_from),
            "retires": instant(key.retires),
            "remove_after": instant(key.remove_after),
        }
        for key in at_desk(config_file, work)
    ]
    columns = ("kid", "alg", "status", "signs_from", "remove_after")
    print_rows(rows, columns=columns, as_json=as_json, nothing="no key yet: portero serve makes the first")


@command.command("rotate")
@click.option("--emergency", "kid", metavar="KID", help="This key is known to a stranger: remove it at once.")
@click.option("--secrets", "kind", type=click.Choice(list(SECRETS)), help="Rotate a set of the secrets file instead.")
@config_option
def rotate(kid: str | None, kind: str | None, config_file: Path | None) -> None:
    """Publish a new signing key; it signs once verifiers have had time to see it.

    With --emergency the named key goes at once, and every token it signed stops working: people
    whose tokens those are get new ones with their next refresh.
    """
    if kid is not None and kind is not None:
        raise click.UsageError("one thing at a time: --emergency KID or --secrets KIND")
    if kind is not None:
        _rotate_secret(config_file, SECRETS[kind])
        return

    async def work(desk: Desk) -> tuple[SigningKey, ...]:
        # The key ring and its cryptography are loaded for this command alone.
        from portero.core.keys.signing_key import emergency_removal, plan_rotation

        now, config = desk.now(), desk.config
        longest = seconds(max(config.access_token_lifetime, config.id_token_lifetime) + config.revocation_margin)
        fresh = new_key(desk)
        if kid is None:
            ahead = seconds(config.key_publish_ahead)
            decide = partial(plan_rotation, now=now, publish_ahead=ahead, longest_token=longest, new_key=fresh)
            return await desk.commit(SigningKeysKey(), decide, now=now)
        iss = Issuer(config.issuer)
        remove = partial(emergency_removal, Kid(kid), now=now, issuer=iss, longest_token=longest, new_key=fresh)
        return await desk.commit(SigningKeysKey(), lambda keys: remove(keys=keys), now=now)

    for key in at_desk(config_file, work):
        when = f"from {instant(key.signs_from)}" if key.status.value == "published" else ""
        click.echo(f"{key.kid}  {key.alg}  {key.status.value} {when}".rstrip())


@command.command("rotate-gateway")
@click.option(
    "--manifest",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("portero.toml"),
    show_default=True,
    metavar="FILE",
    help="The manifest, which says where the keys are.",
)
@click.option(
    "--emergency", is_flag=True, help="A stranger has the keys: remove them all at once, sign with a new one."
)
def rotate_gateway(file: Path, emergency: bool) -> None:
    """Take one step with the keys of a gateway's assertions: the waiting one signs, a new one waits.

    The first time, a key is added that waits. Ten minutes have to lie between two steps: services get to
    know a key before it signs. Gateways that run take the file over by themselves.
    """
    from portero.adapters.system import SystemClock
    from portero.core.errors import ConfigurationError
    from portero.core.policy.manifest_parser import parse_manifest
    from portero.gateway.key_rotation import rotate

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(file), "(not readable)", f"must be a manifest ({error})") from None
    gateway = parse_manifest(text, file=str(file)).gateway
    if gateway is None:
        raise ConfigurationError("gateway", "(missing)", f"must be in {file}: there is no gateway whose keys to rotate")
    keys = rotate(file.parent / gateway.keys_file, now=SystemClock().now(), emergency=emergency).keys
    for key, status in zip(keys, ("signs", "waits", "retires"), strict=False):
        click.echo(f"{key.kid}  ES256  {status}")


def new_key(desk: Desk) -> SigningKey:
    """Generate a signing key, sealed as the database keeps it."""
    from portero.adapters.keys.generate import generate_private_key
    from portero.adapters.keys.secrets_file import read_secrets
    from portero.core.jose.jwk import private_key_to_jwk
    from portero.core.keys.signing_key import NONCE_BYTES, new_signing_key, seal_private

    sealing = read_secrets(desk.config.secrets_file).key_encryption_keys
    key = generate_private_key(desk.config.signing_algorithm)
    nonce = desk.random.bytes(NONCE_BYTES)
    jwk = private_key_to_jwk(key)
    sealed = seal_private(jwk, key=sealing.current_key, key_id=sealing.current, nonce=nonce, kid=key.kid)
    return new_signing_key(key, sealed_private=sealed, created=desk.now())


def _rotate_secret(config_file: Path | None, name: str) -> None:
    from portero.adapters.keys.secrets_file import SecretKind, rotate_secret
    from portero.adapters.system import SystemRandom

    config = settings(config_file)
    key_id = rotate_secret(config.secrets_file, SecretKind(name), random=SystemRandom())
    click.echo(f"{name}: id {key_id} is the current one; the servers use it after their next start")
