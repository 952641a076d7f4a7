"""Clave Fiscal messages: every valid one is accepted, every faulty one refused for its own reason."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from functools import lru_cache

import pytest

from portero.adapters.afip.clave_fiscal import MAX_TOKEN, Assertion, Fault, Refused, Rules, verify
from portero.adapters.afip.cuit import is_cuit
from portero.adapters.afip.legacy_rsa import sign as rsa_sign
from portero.core.types import NumericDate, Secret
from portero.testing.afip import ClaveFiscalServer, Message, Switch
from portero.testing.afip.clave_fiscal import companies

NOW = 1_795_000_000
ANA = "20111111112"
COMPANY = companies(1)[0]

EXPECTED = {
    Switch.WRONG_KEY: Fault.SIGNATURE,
    Switch.SHA256: Fault.SIGNATURE,
    Switch.OVER_BASE64: Fault.SIGNATURE,
    Switch.EXPIRED: Fault.EXPIRED,
    Switch.FUTURE: Fault.FUTURE,
    Switch.OTHER_SERVICE: Fault.SERVICE,
    Switch.OTHER_DST: Fault.SERVICE,
    Switch.OTHER_ENTITY: Fault.ENTITY,
    Switch.OTHER_SOURCE: Fault.SOURCE,
    Switch.NOT_GRANTED: Fault.NOT_GRANTED,
    Switch.TOO_LONG: Fault.TIMES,
    Switch.BAD_CUIT: Fault.CUIT,
    Switch.WSAA_METHOD: Fault.METHOD,
    Switch.DUPLICATE_LOGIN: Fault.XML,
    Switch.DTD: Fault.XML,
    Switch.LATIN1: Fault.XML,
}


@lru_cache(maxsize=2)
def server(bits: int = 2048) -> ClaveFiscalServer:
    return ClaveFiscalServer(bits=bits)


def rules(**changes: object) -> Rules:
    return replace(Rules((server().source,), "mi_servicio"), **changes)  # type: ignore[arg-type]


def received(message: Message, *, now: int = NOW, expected: Rules | None = None) -> Assertion:
    return verify(Secret(message.token), Secret(message.sign), rules=expected or rules(), now=NumericDate(now))


def signed(document: str | bytes) -> Message:
    """A document of one's own under the believed key."""
    data = document if isinstance(document, bytes) else document.encode()
    signature = rsa_sign(server().key, data, algorithm="RS1")
    return Message(base64.b64encode(data).decode(), base64.b64encode(signature).decode())


def document_of(message: Message) -> str:
    return base64.b64decode(message.token).decode()


def fault_of(message: Message, *, now: int = NOW, expected: Rules | None = None) -> Fault:
    with pytest.raises(Refused) as refused:
        received(message, now=now, expected=expected)
    return refused.value.fault


def test_a_message_says_who_and_for_whom() -> None:
    """Version 2: the person, the relations, and what AFIP calls the method, raw."""
    found = received(server().issue(ANA, now=NOW, relations=[COMPANY], regmethod="4"))

    assert (found.version, found.cuit, found.regmethod) == ("2.0", ANA, "4")
    assert [relation.cuit for relation in found.relations] == [ANA, COMPANY]
    assert (found.gen_time, found.exp_time) == (NOW, NOW + 480)


def test_the_older_version_knows_no_relations() -> None:
    """Version 1 names the person as `username`, our service in a list, and itself as `dst`."""
    found = received(server().issue(ANA, now=NOW, relations=[COMPANY], version="1"))

    assert (found.version, found.cuit, found.relations) == ("1", ANA, ())


@pytest.mark.parametrize("version", ["2.0", "1"])
@pytest.mark.parametrize("switch", [switch for switch in Switch if switch is not Switch.REPLAY])
def test_every_fault_is_refused_for_its_own_reason(switch: Switch, version: str) -> None:
    """All switches of the emulator but the replay, which a store has to notice; three of them are no faults."""
    message = server().issue(ANA, now=NOW, relations=[COMPANY], version=version, switch=switch)

    if switch.accepted:
        assert received(message).cuit == ANA
    else:
        assert fault_of(message) is EXPECTED[switch]


def test_a_key_of_1024_bits_verifies_where_it_is_configured() -> None:
    """What AFIP's WSAA has had."""
    small = server(1024)
    message = small.issue(ANA, now=NOW)

    assert received(message, expected=rules(sources=(small.source,))).cuit == ANA
    assert fault_of(message) is Fault.SIGNATURE


def test_the_hash_is_what_configuration_says() -> None:
    """The message has no say: a source set to SHA-256 refuses SHA-1 and accepts SHA-256."""
    modern = rules(sources=(replace(server().source, algorithm="RS256"),))

    assert fault_of(server().issue(ANA, now=NOW), expected=modern) is Fault.SIGNATURE
    assert received(server().issue(ANA, now=NOW, switch=Switch.SHA256), expected=modern).cuit == ANA


def test_one_believed_server_cannot_speak_as_another() -> None:
    """The name has to be the one of the key that signed, not merely one of the list."""
    other = ClaveFiscalServer(src="C=AR,CN=Otro", _key=server(1024).key)
    both = rules(sources=(server().source, other.source))
    message = ClaveFiscalServer(src=server().src, _key=other.key).issue(ANA, now=NOW)

    assert received(other.issue(ANA, now=NOW), expected=both).src == "C=AR,CN=Otro"
    assert fault_of(message, expected=both) is Fault.SOURCE


@pytest.mark.parametrize(
    ("age", "fault"), [(-61, Fault.FUTURE), (-60, None), (0, None), (479, None), (480, Fault.EXPIRED)]
)
def test_a_message_holds_from_gen_time_to_exp_time(age: int, fault: Fault | None) -> None:
    """`gen_time` may be a minute ahead of our clock; `exp_time` is the first second at which it is over."""
    message = server().issue(ANA, now=NOW)

    if fault is None:
        assert received(message, now=NOW + age).cuit == ANA
    else:
        assert fault_of(message, now=NOW + age) is fault


@pytest.mark.parametrize(("lifetime", "fault"), [(900, None), (901, Fault.TIMES), (0, Fault.TIMES), (-5, Fault.TIMES)])
def test_a_message_holds_a_quarter_of_an_hour_at_most(lifetime: int, fault: Fault | None) -> None:
    """Whatever it says of itself."""
    document = document_of(server().issue(ANA, now=NOW)).replace(f'"{NOW + 480}"', f'"{NOW + lifetime}"')

    if fault is None:
        assert received(signed(document)).exp_time == NOW + lifetime
    else:
        assert fault_of(signed(document)) is fault


def test_versions_can_be_left_out() -> None:
    """Whoever needs one version accepts one."""
    assert fault_of(server().issue(ANA, now=NOW, version="1"), expected=rules(versions=("2.0",))) is Fault.VERSION


def test_a_relation_that_is_nobody_is_not_offered() -> None:
    """A CUIT whose last digit is wrong is left out; one that is no CUIT at all makes the message another thing."""
    document = document_of(server().issue(ANA, now=NOW, relations=[COMPANY]))
    wrong = COMPANY[:10] + str((int(COMPANY[10]) + 1) % 10)

    assert not is_cuit(wrong)
    assert [one.cuit for one in received(signed(document.replace(COMPANY, wrong))).relations] == [ANA]
    assert fault_of(signed(document.replace(COMPANY, "x"))) is Fault.CUIT


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("</sso>", "<x/></sso>", Fault.STRUCTURE),
        ("<sso ", "<SSO ", Fault.XML),
        ('version="2.0"', 'version="3.0"', Fault.VERSION),
        ('version="2.0"', 'version="1"', Fault.VERSION),
        ("</sso>", "</sso><sso/>", Fault.XML),
        ("</sso>", "</sso>\n<?php x ?>", Fault.XML),
        ("<id ", "<id/><id ", Fault.XML),
        ("<operation ", "<operation/><operation ", Fault.XML),
        ('uid="', 'username="20222222223" uid="', Fault.STRUCTURE),
        ('uid="', 'uid="20222222223" uid="', Fault.XML),
        ('uid="20111111112"', 'uid="20111111112 "', Fault.CUIT),
        ('uid="20111111112"', 'uid="２0111111112"', Fault.CUIT),
        ('regmethod="3"', 'regmethod="3\'; drop"', Fault.STRUCTURE),
        ('<?xml version="1.0"?>', '<?xml version="1.0" encoding="ISO-8859-1"?>', Fault.XML),
        ('<?xml version="1.0"?>', '\ufeff<?xml version="1.0"?>', Fault.XML),
        ("</login>", "<relations/></login>", Fault.STRUCTURE),
        ("</operation>", "text</operation>", Fault.XML),
        ("gen_time=\"1795000000\"", "gen_time=\"1795000000.5\"", Fault.TIMES),
        ("gen_time=\"1795000000\"", "gen_time=\"-1795000000\"", Fault.TIMES),
    ],
)  # fmt: skip
def test_a_document_of_another_shape_is_refused_even_when_signed(before: str, after: str, fault: Fault) -> None:
    """What the key signed is still read strictly."""
    document = document_of(server().issue(ANA, now=NOW, relations=[COMPANY]))
    assert before in document

    assert fault_of(signed(document.replace(before, after))) is fault


@pytest.mark.parametrize(
    "bomb",
    [
        b'<!DOCTYPE s [<!ENTITY a "' + b"x" * 99 + b'">' + b"".join(
            b'<!ENTITY a%d "%s">' % (n, b"&a;" * 9) for n in range(9)) + b"]><sso>&a8;</sso>",
        b'<!DOCTYPE s SYSTEM "http://127.0.0.1:9/x.dtd"><sso/>',
        b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><sso>&x;</sso>',
        b"<sso>" * 5000,
        b"<sso>" + b"<x/>" * 5000 + b"</sso>",
        b"",
        b"\x00" * 100,
        "<sso/>".encode("utf-16"),
        '<?xml version="1.0" encoding="UTF-16"?><sso/>'.encode("utf-16-le"),
    ],
)  # fmt: skip
def test_hostile_xml_is_refused_where_it_begins(bomb: bytes) -> None:
    """Bombs, external files, depth, width and other encodings, under the believed key."""
    assert fault_of(signed(bomb)) in (Fault.XML, Fault.SIZE, Fault.STRUCTURE)


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        ("", Fault.SIZE),
        ("A" * (MAX_TOKEN + 4), Fault.SIZE),
        ("not base64!", Fault.BASE64),
        ("QQ", Fault.BASE64),
        ("QR==", Fault.BASE64),
        ("Q\nQ==", Fault.BASE64),
        ("_-==", Fault.BASE64),
        ("QUJD" * 4, Fault.SIGNATURE),
    ],
)
def test_base64_has_one_spelling(token: str, fault: Fault) -> None:
    """No line breaks, no other alphabet, no ignored bits; and sizes before anything."""
    sign = server().issue(ANA, now=NOW).sign

    assert fault_of(Message(token, sign)) is fault
    assert fault_of(Message(server().issue(ANA, now=NOW).token, "A" * 2000)) is Fault.SIZE


def test_what_was_verified_is_what_is_read() -> None:
    """A second document after the signed one, or the signature of another, changes nothing but the answer."""
    mine = server().issue(ANA, now=NOW)
    other = server().issue("27222222228", now=NOW)
    longer = base64.b64encode(base64.b64decode(mine.token) + b"<sso/>").decode()

    assert fault_of(Message(other.token, mine.sign)) is Fault.SIGNATURE
    assert fault_of(Message(longer, mine.sign)) is Fault.SIGNATURE


def test_a_message_has_one_name_to_remember() -> None:
    """Two spellings that are accepted of one message count as one; two messages as two."""
    message = server().issue(ANA, now=NOW)
    damaged = Message(message.token.replace("+", " "), message.sign.replace("+", " "))

    assert received(message).once == received(damaged).once
    assert received(message).once != received(server().issue(ANA, now=NOW)).once


def test_ten_thousand_mutations_are_refused() -> None:
    """Any change of one to four characters anywhere, seeded: none is accepted."""
    dice = random.Random(20_111_111_112)
    message = server().issue(ANA, now=NOW, relations=[COMPANY])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= -_\n"
    accepted = 0
    for _ in range(10_000):
        parts = [message.token, message.sign]
        which = dice.randrange(2)
        text = parts[which]
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(text) or 1)
            text = dice.choice(
                (text[:at] + dice.choice(alphabet) + text[at + 1 :], text[:at] + text[at + 1 :], text[:at])
                if dice.random() < 0.5
                else (text[:at] + dice.choice(alphabet) + text[at:],)
            )
        if text.replace(" ", "+") == parts[which]:
            continue  # the one damage that is undone
        parts[which] = text
        try:
            received(Message(*parts))
        except Refused:
            continue
        accepted += 1

    assert accepted == 0
