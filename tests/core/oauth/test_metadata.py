"""The metadata document: where it is, and that its URLs are the mounted paths."""

from __future__ import annotations

import pytest

from portero.core.oauth.metadata import Endpoints, server_metadata
from portero.core.types import Issuer


@pytest.mark.parametrize(
    ("issuer", "paths"),
    [
        (
            "https://as.example",
            ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
        ),
        (
            "https://as.example/tenant",
            (
                "/.well-known/oauth-authorization-server/tenant",
                "/.well-known/openid-configuration/tenant",
                "/tenant/.well-known/openid-configuration",
            ),
        ),
    ],
)
def test_where_the_metadata_is(issuer: str, paths: tuple[str, ...]) -> None:
    """RFC 8414 §3.1 and §5, OpenID Discovery §4: before the issuer's path and after it."""
    assert Endpoints.of(Issuer(issuer)).well_known == paths


@pytest.mark.parametrize("issuer", ["https://as.example", "https://as.example/tenant", "http://localhost:9000"])
def test_a_url_is_the_issuer_and_the_mounted_path(issuer: str) -> None:
    """What is announced and what is mounted cannot differ."""
    endpoints = Endpoints.of(Issuer(issuer))
    origin = issuer.removesuffix("/tenant")

    assert endpoints.url("token") == origin + endpoints.path("token")


def test_everything_announced_is_https_where_the_issuer_is() -> None:
    """RFC 8414 §2."""
    metadata = server_metadata(
        issuer=Issuer("https://as.example"), scopes=("openid",), id_token_algorithms=("ES256",), languages=("en",)
    )
    urls = [value for name, value in metadata.items() if name.endswith(("_endpoint", "_uri"))]

    assert len(urls) == 10
    assert all(url.startswith("https://as.example/") for url in urls)


def test_pkce_is_s256_only() -> None:
    """RFC 9700 §2.1.1: the methods are published, and `plain` is not one of them."""
    metadata = server_metadata(
        issuer=Issuer("https://as.example"), scopes=("openid",), id_token_algorithms=("ES256",), languages=("en",)
    )

    assert metadata["code_challenge_methods_supported"] == ["S256"]


def test_what_a_request_may_ask_of_the_page_is_announced() -> None:
    """OIDC Discovery §3, Initiating User Registration 1.0 §4: response modes, prompts and contexts, as they are."""
    metadata = server_metadata(
        issuer=Issuer("https://as.example"),
        scopes=("openid",),
        id_token_algorithms=("ES256",),
        languages=("en",),
        acr_values=("urn:portero:password",),
    )

    assert metadata["response_modes_supported"] == ["query", "form_post"]
    assert metadata["prompt_values_supported"] == ["none", "login", "consent", "select_account"]
    assert metadata["acr_values_supported"] == ["urn:portero:password"]
