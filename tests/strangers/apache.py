"""Apache with mod_auth_openidc, from Debian's packages: a site whose pages and API only signed-in people reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from tests.strangers.world import SECRET, World

APACHE = shutil.which("apache2") or "/usr/sbin/apache2"
MODULES = Path("/usr/lib/apache2/modules")
INSTALL = "Apache and mod_auth_openidc are needed: sudo apt-get install apache2-bin libapache2-mod-auth-openidc"
_CONFIGURATION = """
ServerRoot {folder}
ServerName localhost
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
LogLevel warn
Listen 127.0.0.1:{port}
{identity}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule env_module {modules}/mod_env.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule auth_openidc_module {modules}/mod_auth_openidc.so
DocumentRoot {folder}/site
DirectoryIndex index.html

OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {client_id}
OIDCClientSecret "{secret}"
OIDCRedirectURI http://localhost:{port}/protected/callback
OIDCCryptoPassphrase of-the-site-alone
OIDCScope "openid profile email orders:read"
OIDCPKCEMethod S256
OIDCCookieSameSite On
OIDCInfoHook access_token id_token userinfo
OIDCPassIDTokenAs claims serialized
OIDCDefaultLoggedOutURL http://localhost:{port}/

<Location /protected>
  AuthType openid-connect
  Require valid-user
  Header always set X-Signed-In "expr=%{{REMOTE_USER}}"
  ErrorDocument 401 "signed out"
</Location>
<Location /protected/orders>
  OIDCUnAuthAction 401
  RequestHeader set Authorization "Bearer %{{OIDC_access_token}}e" env=OIDC_access_token
  ProxyPass {api}/
</Location>
"""


def is_installed() -> bool:
    """Whether both packages are there."""
    return Path(APACHE).exists() and (MODULES / "mod_auth_openidc.so").exists()


@contextmanager
def apache_site(world: World, *, port: int, client_id: str) -> Iterator[str]:
    """Run it; yields its address once it listens. Its own words are shown when it does not start."""
    assert is_installed(), INSTALL
    # Apache does not serve as root; the user it then is must be able to read and write here, so no folder of pytest's.
    with TemporaryDirectory(prefix="portero-apache-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "site/protected").mkdir(parents=True)
        (folder / "site/index.html").write_text("<h1>Everybody</h1>")
        (folder / "site/protected/index.html").write_text("<h1>Members</h1>")
        configuration = folder / "apache.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder,
                port=port,
                modules=MODULES,
                identity="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
                issuer=world.issuer,
                api=world.api,
                client_id=client_id,
                secret=SECRET,
            )
        )
        log = folder / "said.log"
        with log.open("wb") as said:
            process = subprocess.Popen([APACHE, "-f", str(configuration), "-D", "FOREGROUND"], stderr=said, stdout=said)
        address = f"http://localhost:{port}"
        try:
            awaited(lambda: process.poll() is not None or listens(address))
            assert process.poll() is None, log.read_text()
            yield address
        finally:
            process.terminate()
            process.wait(60)


def listens(address: str) -> bool:
    """Whether a site answers."""
    try:
        return httpx2.get(address).status_code == 200
    except httpx2.TransportError:
        return False


def awaited(holds: Callable[[], bool]) -> None:
    """Wait for a condition, a minute at most."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
