"""The emulator's pages, in Spanish: what it is, the sign-in, and the form that goes to the receiver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from portero.adapters.afip.cuit import readable
from portero.testing.afip.clave_fiscal import Switch
from portero.testing.afip.wsaa import FAULTS, LOST, PATH, SLOW

MEANINGS = {
    Switch.WRONG_KEY: "firmado con otra clave",
    Switch.SHA256: "firmado con SHA-256 en lugar de SHA-1",
    Switch.OVER_BASE64: "firma sobre el texto base64 y no sobre los bytes",
    Switch.EXPIRED: "vencido hace horas",
    Switch.FUTURE: "emitido en el futuro",
    Switch.OTHER_SERVICE: "para otro servicio",
    Switch.OTHER_DST: "con otro destino (dst)",
    Switch.OTHER_ENTITY: "con otra entidad (entity)",
    Switch.OTHER_SOURCE: "con otro origen (src)",
    Switch.NOT_GRANTED: "ingreso no otorgado",
    Switch.TOO_LONG: "válido por un día entero",
    Switch.BAD_CUIT: "CUIT con dígito verificador incorrecto",
    Switch.WSAA_METHOD: "authmethod de una computadora (cms)",
    Switch.REPLAY: "el mismo mensaje que la vez anterior",
    Switch.DUPLICATE_LOGIN: "con dos elementos login",
    Switch.DTD: "con un DTD y entidades",
    Switch.LATIN1: "bytes en Latin-1",
    Switch.PLUS_AS_SPACE: "con los + convertidos en espacios (se acepta)",
    Switch.NO_RELATIONS: "sin relaciones (se acepta)",
    Switch.MANY_RELATIONS: "con 500 relaciones (se acepta)",
}

_STYLE = """
:root{color-scheme:light dark;--page:#eef2f6;--panel:#fff;--ink:#14202b;--soft:#526273;--line:#cfd8e1;--go:#1d5c99}
@media(prefers-color-scheme:dark){:root{--page:#11161b;--panel:#1b2229;--ink:#e9eff4;--soft:#a5b3c0;--line:#36424d;
--go:#7db9f0}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.55 system-ui,sans-serif;
overflow-wrap:anywhere}main{width:min(100% - 2rem,44rem);margin:2rem auto;padding:clamp(1.25rem,4vw,2.25rem);
background:var(--panel);border:1px solid var(--line);border-radius:.8rem}h1{margin:.4rem 0 0;font-size:1.5rem}
h2{font-size:1.1rem;margin:1.75rem 0 0}.tag{display:inline-block;padding:.1rem .7rem;border-radius:1rem;
background:#b3261e;color:#fff;font-size:.85rem;font-weight:600}p{margin:.7rem 0 0}a{color:var(--go)}
label{display:block;margin-top:1rem;font-weight:600;font-size:.95rem}input,select{width:100%;padding:.6rem;font:inherit;
color:inherit;background:var(--panel);border:1px solid var(--soft);border-radius:.5rem;margin-top:.3rem}
button{margin-top:1.4rem;padding:.7rem 1.3rem;font:inherit;font-weight:600;border:0;border-radius:.5rem;
background:var(--go);color:var(--panel);cursor:pointer;width:100%}pre{white-space:pre-wrap;padding:.9rem;
border:1px solid var(--line);border-radius:.5rem;font-size:.85rem}summary{cursor:pointer;margin-top:1.2rem;
color:var(--go);font-weight:600}.problem{padding:.7rem 1rem;border-left:4px solid #b3261e}li{margin-top:.25rem}
"""


def front(services: Mapping[str, str], login_path: str, src: str, certificate: str) -> str:
    """What this is, how to use it, and what it does not know."""
    rows = "".join(
        f'<li><a href="{login_path}?action=SYSTEM&amp;system={escape(name)}">Ingresar a {escape(name)}</a>: '
        f"manda el formulario a <code>{escape(url)}</code></li>"
        for name, url in services.items()
    )
    switches = "".join(f"<li><code>{switch.value}</code>: {escape(said)}</li>" for switch, said in MEANINGS.items())
    faults = "".join(f"<li><code>{code}</code>: {escape(text)}</li>" for code, text in FAULTS.items())
    return _page(
        "Emulador de AFIP",
        f"""<p>Un AFIP de juguete para probar «Ingresar con Clave Fiscal» sin AFIP. Las personas, los CUIT y las claves
son inventados; nada de lo que firma vale fuera de tu máquina.</p>
<h2>Servicios</h2><ul>{rows}</ul>
<h2>Qué configurar en Portero</h2>
<pre>[[sign_in.clave_fiscal.sources]]
src = "{escape(src)}"
key_file = "afip-emulador.pem"   # guardá /certificado.pem con este nombre
algorithm = "RS1"</pre>
<p><a href="/certificado.pem">Descargar certificado.pem</a></p>
<details><summary>Ver el certificado</summary><pre>{escape(certificate)}</pre></details>
<h2>Fallas que sabe provocar</h2><p>En la pantalla de ingreso elegís una; un receptor correcto rechaza todas menos las
que dicen «se acepta».</p><ul>{switches}</ul>
<h2>WSAA: tickets para programas</h2><p>El servicio está en <code>{PATH}</code>. Un certificado de computadora, para
un pedido (CSR) hecho con openssl, y un ticket:</p>
<pre>openssl req -new -newkey rsa:2048 -nodes -keyout miapp.key -subj /CN=miapp -out miapp.csr
curl --data-binary @miapp.csr "http://localhost:9400/admin/certs?alias=miapp&amp;cuit=20111111112" -o miapp.crt
portero afip ticket wsfe --certificate miapp.crt --key miapp.key --url http://localhost:9400{PATH}</pre>
<p>Una falla en todas las respuestas que siguen (vacía: ninguna), y los segundos en que no se da otro ticket:</p>
<pre>curl -X POST "http://localhost:9400/admin/wsaa?falla=wsaa.unavailable&amp;ventana=120"</pre>
<details><summary>Fallas de WSAA</summary><ul>{faults}<li><code>{LOST}</code>: el ticket se emite; la respuesta se
pierde</li><li><code>{SLOW}</code>: el ticket se emite y la respuesta no llega a tiempo</li></ul></details>
<h2>Lo que no se sabe de producción</h2><p>AFIP no publica la especificación de este canal. No se conocen la clave ni
el algoritmo que usa hoy, las condiciones para registrar un servicio, el significado de <code>regmethod</code> y
<code>reltype</code>, ni hay forma conocida de cerrar la sesión en AFIP.</p>""",
    )


def login(
    service: str,
    people: Sequence[tuple[str, str, Sequence[str]]],
    switches: Sequence[Switch],
    *,
    problem: str = "",
) -> str:
    """The sign-in: who, and what should go wrong."""
    persons = "".join(
        f'<option value="{cuit}">{escape(name)} · {readable(cuit)}'
        f"{f' · representa a {len(represents)}' if represents else ''}</option>"
        for cuit, name, represents in people
    )
    faults = "".join(f'<option value="{one.value}">{escape(MEANINGS[one])}</option>' for one in switches)
    levels = "".join(f"<option{' selected' if n == 3 else ''}>{n}</option>" for n in range(1, 5))
    said = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    return _page(
        f"Ingresar a {service}",
        f"""{said}<form method="post">
<label for="cuit">Persona</label><select id="cuit" name="cuit">{persons}</select>
<details><summary>Más opciones</summary>
<label for="otro_cuit">Otro CUIT o CUIL</label>
<input id="otro_cuit" name="otro_cuit" inputmode="numeric" maxlength="11">
<label for="version">Versión del mensaje</label>
<select id="version" name="version"><option>2.0</option><option>1</option></select>
<label for="regmethod">regmethod</label><select id="regmethod" name="regmethod">{levels}</select>
<label for="falla">Falla</label><select id="falla" name="falla"><option value="">ninguna</option>{faults}</select>
</details>
<button type="submit">Ingresar</button></form>""",
    )


def send(action: str, token: str, sign: str) -> str:
    """The form that the browser sends to the receiver by itself, or when its button is pressed."""
    return _page(
        "Volviendo al sitio",
        f"""<p>Si no pasa nada, apretá el botón.</p><form method="post" action="{escape(action)}">
<input type="hidden" name="token" value="{escape(token)}"><input type="hidden" name="sign" value="{escape(sign)}">
<button type="submit">Seguir</button></form><script>document.forms[0].submit()</script>""",
    )


def unknown_service(service: str, known: Sequence[str]) -> str:
    """No such service."""
    names = ", ".join(escape(name) for name in known)
    return _page("Servicio desconocido", f"<p>«{escape(service[:60])}» no está. Conocidos: {names}.</p>")


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="es"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)} · Emulador de AFIP</title><style>{_STYLE}</style></head><body><main>"
        f'<span class="tag">Emulador: no es AFIP</span><h1>{escape(title)}</h1>{content}</main></body></html>'
    )
