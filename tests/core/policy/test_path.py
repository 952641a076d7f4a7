"""The normal form of paths: what is equal, what is refused, and that the form is one."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portero.core.policy.path import MAX_PATH_BYTES, PLAIN, AmbiguousPath, normal_path, segments_of, split_target

EQUAL = [
    ("/", "/"),
    ("/orders", "/orders"),
    ("/orders/", "/orders/"),
    ("/orders/5", "/orders/5"),
    # RFC 3986 §6.2.2.2: unreserved characters are decoded.
    ("/%6f%72ders", "/orders"),
    ("/%4F", "/O"),
    ("/a%2Db%2Ec%5Fd%7Ee", "/a-b.c_d~e"),
    # §6.2.2.1: hex digits in capitals.
    ("/caf%c3%a9", "/caf%C3%A9"),
    ("/caf%C3%A9", "/caf%C3%A9"),
    # A decoding server sees no difference between these pairs.
    ("/%40me", "/@me"),
    ("/@me", "/@me"),
    ("/a%3Ab", "/a:b"),
    ("/a%2Bb", "/a+b"),
    ("/a%21%24%26%27%28%29%2A%2C%3D", "/a!$&'()*,="),
    # A semicolon would be cut off by some servers, its octet is not.
    ("/a;b=1", "/a%3Bb=1"),
    ("/a%3bb", "/a%3Bb"),
    # Browsers send these as they are.
    ("/a|b", "/a%7Cb"),
    ("/a[1]", "/a%5B1%5D"),
    ("/a^b", "/a%5Eb"),
    ('/a"<>`{}', "/a%22%3C%3E%60%7B%7D"),
    # Characters of other parts of a URL, encoded: data.
    ("/a%3fb", "/a%3Fb"),
    ("/a%23b", "/a%23b"),
    ("/a%20b", "/a%20b"),
    # A percent sign is data as long as nothing looks like an octet after it.
    ("/100%25", "/100%25"),
    ("/100%25zz", "/100%25zz"),
    ("/%25/41", "/%25/41"),
    # Dots that are no dot segment.
    ("/...", "/..."),
    ("/.well-known/x", "/.well-known/x"),
    ("/a..", "/a.."),
    ("/..a", "/..a"),
    ("/.%61", "/.a"),
    # No folding, no recomposition.
    ("/A", "/A"),
    ("/e%CC%81", "/e%CC%81"),
    ("/%EF%BC%8F", "/%EF%BC%8F"),
    ("/%F0%9F%94%91", "/%F0%9F%94%91"),
]

REFUSED = {
    "no leading slash": ["", "orders", "*", "http://x/", "%2Forders", "?a", "example.org:443"],
    "encoded slash": ["/a%2Fb", "/a%2fb", "/%2f", "/a/%2F/b"],
    "backslash": ["/a\\b", "/\\", "/..\\x", "/a%5Cb", "/a%5cb", "/%5c..%5c"],
    "dot segment": [
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/a/.",
        "/../a",
        "/%2e%2e/a",
        "/%2E%2e/a",
        "/.%2e/a",
        "/%2e./a",
        "/a/%2e",
        "/a/%2E/",
        "/a/..;/b",
        "/a/..;x=1/b",
        "/a/.;/b",
        "/a/%2e%2e%3b/b",
    ],
    "double encoding": [
        "/%252e%252e/a",
        "/%25%32%65",
        "/a%252Fb",
        "/a%255cb",
        "/%2541",
        "/%25252e",
        "/100%2541",
        "/%25%34%31",
    ],
    "empty segment": ["//", "//a", "/a//b", "/a//", "///"],
    "control character": ["/a%00b", "/%00", "/a%0d%0aX:1", "/a%09", "/a%1f", "/a%7F", "/a%C2%80", "/a%c2%9f"],
    "raw octet": ["/a\x00b", "/a b", "/a\tb", "/a\r\nb", "/a\x7fb", "/caf\xe9", "/caf\xc3\xa9", "/a\x80"],
    "not UTF-8": ["/%ff", "/%C3", "/%c0%af", "/%c0%ae%c0%ae/", "/%e0%80%af", "/%ed%a0%80", "/%f8%80%80%80%af", "/%A9"],
    "delimiter": ["/a#b", "/a?b", "/#", "/?"],
    "percent": ["/%", "/%4", "/a%zz", "/a%g1", "/100%", "/%u0041", "/%%41", "/a%+1", "/% 1"],
}


@pytest.mark.parametrize(("raw", "normal"), EQUAL)
def test_what_a_decoding_server_reads_alike_has_one_form(raw: str, normal: str) -> None:
    """Octets in capitals, plain characters as themselves, everything else as octets (RFC 3986 §6.2.2)."""
    assert normal_path(raw.encode("latin-1")) == normal


@pytest.mark.parametrize(("rule", "raw"), [(rule, raw) for rule, paths in REFUSED.items() for raw in paths])
def test_what_two_programs_could_read_differently_is_refused(rule: str, raw: str) -> None:
    """Refused with 400 and never repaired (design §3.4)."""
    with pytest.raises(AmbiguousPath) as refused:
        normal_path(raw.encode("latin-1"))

    assert refused.value.status == 400
    assert refused.value.error == "invalid_request"


@pytest.mark.parametrize(
    ("rule", "raw"),
    [
        ("encoded slash", b"/a%2Fb"),
        ("backslash", b"/a\\b"),
        ("dot segment", b"/a/.."),
        ("encoded twice", b"/a%2541"),
        ("empty segment", b"/a//b"),
        ("control character", b"/a%00"),
        ("not UTF-8", b"/%ff"),
        ("must be percent-encoded", b"/a b"),
        ("delimiter", b"/a#b"),
        ("begins no octet", b"/%zz"),
        ("not begin with a slash", b"a"),
    ],
)
def test_a_refusal_names_its_rule(rule: str, raw: bytes) -> None:
    """One thing is wrong with each path, and that is what is said; the path itself is not."""
    with pytest.raises(AmbiguousPath) as refused:
        normal_path(raw)

    assert rule in refused.value.description


@pytest.mark.parametrize("begin", [b"/", b"/%61"])
def test_a_path_has_a_greatest_length(begin: bytes) -> None:
    """8192 bytes pass, one more does not, already normal or not."""
    longest = begin + b"a" * (MAX_PATH_BYTES - len(begin))

    assert normal_path(longest)
    with pytest.raises(AmbiguousPath, match="longer"):
        normal_path(longest + b"a")


PIECES = st.sampled_from(
    [
        "/",
        "a",
        "Z",
        ".",
        "..",
        "%2e",
        "%2F",
        "%5c",
        "%25",
        "%41",
        "%c3%a9",
        ";",
        "%3b",
        "@",
        "%40",
        "%7c",
        "|",
        "\\",
        "%",
    ]
)


@given(st.lists(PIECES, max_size=8).map(lambda pieces: ("/" + "".join(pieces)).encode()))
def test_the_form_is_one(raw: bytes) -> None:
    """A normal path is its own normal form, decodes to what the raw one decodes to, and is plain or octets."""
    try:
        normal = normal_path(raw)
    except AmbiguousPath:
        return

    assert normal_path(normal.encode("ascii")) == normal
    assert unquote_to_bytes(normal) == unquote_to_bytes(raw)
    assert set(normal) <= set(PLAIN) | {"/", "%"}


@given(st.lists(PIECES, max_size=6), st.lists(PIECES, max_size=6))
def test_equal_forms_are_equal_paths(one: list[str], other: list[str]) -> None:
    """Two forms are equal exactly when the decoded paths are."""
    raws = [("/" + "".join(pieces)).encode() for pieces in (one, other)]
    try:
        first, second = (normal_path(raw) for raw in raws)
    except AmbiguousPath:
        return

    assert (first == second) == (unquote_to_bytes(raws[0]) == unquote_to_bytes(raws[1]))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_form_or_a_refusal(raw: bytes) -> None:
    """No input raises anything else."""
    try:
        normal = normal_path(b"/" + raw)
    except AmbiguousPath:
        return

    assert normal.startswith("/")
    assert not {"", ".", ".."} & set(unquote_to_bytes(normal).decode().split("/")[1:-1])


@given(st.text(alphabet=PLAIN + "/", max_size=30))
def test_the_short_way_decides_as_the_long_one(text: str) -> None:
    """A path that is taken as it stands would come out of the whole procedure unchanged."""
    raw = ("/" + text).encode()
    try:
        quick: str | None = normal_path(raw)
    except AmbiguousPath:
        quick = None
    # An encoded letter takes the long way.
    try:
        long: str | None = normal_path(raw + b"%7A" if not raw.endswith((b"/", b".")) else b"/%7A" + raw)
    except AmbiguousPath:
        long = None

    if quick is not None:
        assert long in (quick + "z", "/z" + quick)


def test_segments_end_where_the_path_does() -> None:
    """A slash at the end adds no segment; the root has none."""
    assert segments_of("/") == ()
    assert segments_of("/a/b") == ("a", "b")
    assert segments_of("/a/b/") == ("a", "b")


def test_a_target_is_split_at_its_first_question_mark() -> None:
    """What follows is query, whatever stands there (attack: `/x?/health`)."""
    assert split_target(b"/x?/health") == (b"/x", b"/health")
    assert split_target(b"/x?") == (b"/x", b"")
    assert split_target(b"/x") == (b"/x", None)


@pytest.mark.parametrize("target", [b"*", b"http://a/b", b"a:443", b"", b"/a#b", b"/a?b#c"])
def test_a_target_of_another_form_is_refused(target: bytes) -> None:
    """Only the origin form, without fragment (RFC 9112 §3.2.1)."""
    with pytest.raises(AmbiguousPath):
        split_target(target)
