"""Everything a page says, in English and in Spanish (Rioplatense, with voseo).

A text is plain; `{name}` is filled in and the whole is escaped where it is shown. Both languages
have the same keys and the same names, which a test holds them to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from portero.authorization_server.pages import console_texts

EN: Final[Mapping[str, str]] = {
    "language": "English",
    "skip": "Skip to content",
    "front.title": "Your account",
    "front.signed_in": "You are signed in as {name}.",
    "front.signed_out": "Sign in to see where your account is in use.",
    "front.devices": "See your devices",
    "front.sign_in": "Sign in",
    "front.sign_out": "Sign out",
    "sign_in.title": "Sign in",
    "sign_in.to": "to continue to {client}",
    "sign_in.again": "Sign in again to continue.",
    "sign_in.username": "User name",
    "sign_in.wait": "There were too many attempts. Wait {duration}, then try again.",
    "sign_in.or": "or",
    "sign_in.problem": "You are not signed in yet",
    "consent.title": "Allow {client}?",
    "consent.body": "{client} asks for access to your account, {name}. It will be able to:",
    "consent.host": "You go on to {host} after that. You can take this back on your account page at any time.",
    "consent.allow": "Allow",
    "consent.deny": "Do not allow",
    "scope.openid": "know that it is you",
    "scope.profile": "see your name",
    "scope.email": "see your e-mail address",
    "scope.offline_access": "stay signed in while you are away",
    "scope.other": "use “{scope}”",
    "sign_out.title": "Sign out?",
    "sign_out.asked_by": "{client} asks to sign you out.",
    "sign_out.body": "You, {name}, will be signed out in this browser, of every application you use in it.",
    "sign_out.yes": "Sign out",
    "sign_out.no": "Stay signed in",
    "sign_out.onward": "You are signed out here. Now there, too …",
    "sign_out.go_on": "Go on",
    "signed_out.title": "You are signed out",
    "signed_out.body": "Nobody is signed in in this browser any more.",
    "signed_out.everywhere": "You are signed out on all your devices. Applications stop working there within moments.",
    "signed_out.again": "Sign in again",
    "devices.title": "Your devices",
    "devices.intro": "Where your account, {name}, is signed in. If you do not recognize one, sign it out.",
    "devices.this": "This device",
    "devices.client": "Application",
    "devices.created": "Signed in",
    "devices.last_seen": "Last used",
    "devices.place": "Network",
    "devices.place_unknown": "unknown",
    "devices.rename": "Rename",
    "devices.name": "Name of the device",
    "devices.save": "Save",
    "devices.end": "Sign out",
    "devices.end_of": "Sign out {device} ({client})",
    "devices.rename_of": "Rename {device} ({client})",
    "devices.none": "No application is using your account right now. You are signed in in this browser, {device}.",
    "devices.end_others": "Sign out all others",
    "devices.end_others_hint": "Everywhere but in this browser.",
    "devices.end_all": "Sign out everywhere",
    "devices.end_all_hint": "This browser too.",
    "devices.done.renamed": "The device has its new name.",
    "devices.done.ended": "The device is signed out. Its access stops within moments.",
    "devices.done.ended_others": "All other devices are signed out. Their access stops within moments.",
    "devices.done.bad_name": "A name has at least one visible character.",
    "device.title": "Connect a device",
    "device.intro": "Type the code that the device or program shows, {name}.",
    "device.code": "Code",
    "device.continue": "Continue",
    "device.problem.unknown": "No device is waiting with this code. Look at it again, or ask the device for a new one.",
    "device.confirm.title": "Sign in to {client} on a device?",
    "device.confirm.compare": "Does the device show this code?",
    "device.confirm.body": "It says that it is {device}, and asks from the network {place}. It will be signed in "
    "as you, {name}, and able to:",
    "device.confirm.warning": "Go on only if you began this yourself, and the device is in front of you. If somebody "
    "sent you the code, do not.",
    "device.confirm.allow": "Yes, sign it in",
    "device.confirm.deny": "No",
    "device.done.allowed.title": "The device is signed in",
    "device.done.allowed.body": "It goes on by itself within seconds. You can sign it out at any time.",
    "device.done.denied.title": "The device is not signed in",
    "device.done.denied.body": "Its code does not work any more.",
    "account.pages": "Your account",
    "ways.title": "Ways to sign in",
    "ways.intro": "What opens your account, {name}. You can link others that vouch for you, and take a link back.",
    "ways.password": "Password",
    "ways.password_note": "Your user name is {username}.",
    "ways.since": "Linked",
    "ways.gone": "This one cannot be used here any more.",
    "ways.unlink": "Unlink",
    "ways.unlink_of": "Unlink {label} ({provider})",
    "ways.last": "Your only way in: link another before you take it back.",
    "ways.link_title": "Link another",
    "ways.link": "Link {provider}",
    "ways.fresh": "It has been a while since you signed in. You will be asked to do so again before anything changes.",
    "ways.onward": "Go on to {provider}",
    "ways.done.linked": "It is linked. From now on it opens your account.",
    "ways.done.unlinked": "The link is taken back, and whoever signed in with it is signed out.",
    "ways.done.last": "Nothing was changed: it is your only way in.",
    "ways.confirm.title": "Link {provider}?",
    "ways.confirm.body": "{provider} says that you are {label}. Whoever signs in there as {label} will open "
    "your account, {name}.",
    "ways.confirm.yes": "Link {label}",
    "ways.confirm.no": "This is not me",
    "ways.failed.title": "Nothing was linked",
    "ways.failed.taken": "This identity belongs to another account here. Unlink it there first.",
    "ways.failed.back": "Back to your ways to sign in",
    "applications.title": "Applications",
    "applications.intro": "Applications of others that may use your account. Take back what you do not need any more.",
    "applications.none": "You gave no application of others access to your account.",
    "applications.may": "It may:",
    "applications.since": "Allowed",
    "applications.withdraw": "Take back",
    "applications.withdraw_of": "Take back the access of {client}",
    "applications.withdrawn": "The access is taken back. The application stops working within moments.",
    "password.title": "Password",
    "password.intro": "A new password signs you out on all your other devices.",
    "password.old": "Password you have now",
    "password.new": "New password",
    "password.again": "New password, once more",
    "password.hint": "At least {shortest} characters. A few words are easy to remember and hard to guess.",
    "password.submit": "Change password",
    "password.changed": "Your password is changed, and all your other devices are signed out.",
    "password.problem.missing": "Type the password you have now.",
    "password.problem.length": "A new password has at least {shortest} characters.",
    "password.problem.differ": "The two new passwords are not the same.",
    "password.problem.wrong": "The password you have now is another one.",
    "error.no_password.title": "No password here",
    "error.no_password.body": "You sign in to this account in another way, so there is no password to change.",
    "form_post.title": "Back to the application",
    "form_post.body": "You are signed in. If nothing happens, press the button.",
    "form_post.submit": "Continue",
    "error.reference": "Reference: {reference}",
    "error.to_account": "Sign in to your account here",
    "error.technical": "For whoever looks after the application",
    "error.request.title": "This did not work",
    "error.request.body": "The application that sent you here made a request that we cannot answer. Go back to it and "
    "try again. If it happens again, tell the people who look after it.",
    "error.unauthorized_client.title": "Unknown application",
    "error.unauthorized_client.body": "The application that sent you here is not registered with us, so we did not "
    "go on. Nothing happened to your account.",
    "error.invalid_request_uri.title": "This link is used up",
    "error.invalid_request_uri.body": "It works once and for a short time. Go back to the application and sign in from "
    "there.",
    "error.sign_in_elsewhere.title": "This sign-in is not open here",
    "error.sign_in_elsewhere.body": "It began in another browser, it took too long, or your browser does not keep "
    "cookies for this site. Go back to the application and sign in from there.",
    "error.no_account.title": "There is no account for you here",
    "error.no_account.body": "Who you are was confirmed, but no account here belongs to that identity, or it is "
    "disabled. Nothing was changed. Ask the people who look after this site, or go back and sign in another way.",
    "error.form_not_from_here.title": "This form was not yours",
    "error.form_not_from_here.body": "It came from another page or another browser, or you signed in again "
    "meanwhile. Nothing was changed. Go back, load the page again, and try once more.",
    "error.not_found.title": "There is nothing here",
    "error.not_found.body": "The address may be mistyped, or the page is gone.",
    "error.method_not_allowed.title": "That is not how this page works",
    "error.method_not_allowed.body": "Go back and use the buttons of the page.",
    "error.unavailable.title": "We cannot do this right now",
    "error.unavailable.body": "Something on our side is not available. It is not your fault, and nothing was "
    "changed. Wait a moment and load the page again.",
    "error.internal.title": "Something went wrong here",
    "error.internal.body": "It is our mistake, not yours. Try again; if it happens again, give the reference to the "
    "people who look after this site.",
    "ago.now": "just now",
    "ago.minute": "1 minute ago",
    "ago.minutes": "{n} minutes ago",
    "ago.hour": "1 hour ago",
    "ago.hours": "{n} hours ago",
    "ago.day": "yesterday",
    "ago.days": "{n} days ago",
    "duration.second": "1 second",
    "duration.seconds": "{n} seconds",
    "duration.minute": "1 minute",
    "duration.minutes": "{n} minutes",
}

ES: Final[Mapping[str, str]] = {
    "language": "Español",
    "skip": "Ir al contenido",
    "front.title": "Tu cuenta",
    "front.signed_in": "Iniciaste sesión como {name}.",
    "front.signed_out": "Iniciá sesión para ver dónde se está usando tu cuenta.",
    "front.devices": "Ver tus dispositivos",
    "front.sign_in": "Iniciar sesión",
    "front.sign_out": "Cerrar sesión",
    "sign_in.title": "Iniciá sesión",
    "sign_in.to": "para seguir en {client}",
    "sign_in.again": "Iniciá sesión otra vez para seguir.",
    "sign_in.username": "Usuario",
    "sign_in.wait": "Hubo demasiados intentos. Esperá {duration} y probá de nuevo.",
    "sign_in.or": "o",
    "sign_in.problem": "Todavía no iniciaste sesión",
    "consent.title": "¿Le das permiso a {client}?",
    "consent.body": "{client} pide acceso a tu cuenta, {name}. Va a poder:",
    "consent.host": "Después seguís en {host}. Podés retirar el permiso en la página de tu cuenta cuando quieras.",
    "consent.allow": "Dar permiso",
    "consent.deny": "No dar permiso",
    "scope.openid": "saber que sos vos",
    "scope.profile": "ver tu nombre",
    "scope.email": "ver tu dirección de correo",
    "scope.offline_access": "mantener la sesión mientras no estás",
    "scope.other": "usar «{scope}»",
    "sign_out.title": "¿Querés cerrar la sesión?",
    "sign_out.asked_by": "{client} pide cerrar tu sesión.",
    "sign_out.body": "{name}, se va a cerrar tu sesión en este navegador, en todas las aplicaciones que usás en él.",
    "sign_out.yes": "Cerrar sesión",
    "sign_out.no": "Seguir con la sesión",
    "sign_out.onward": "Cerraste tu sesión acá. Ahora también allá …",
    "sign_out.go_on": "Seguir",
    "signed_out.title": "Cerraste la sesión",
    "signed_out.body": "Ya no hay ninguna sesión iniciada en este navegador.",
    "signed_out.everywhere": "Cerraste la sesión en todos tus dispositivos. Las aplicaciones dejan de funcionar ahí "
    "en instantes.",
    "signed_out.again": "Iniciar sesión de nuevo",
    "devices.title": "Tus dispositivos",
    "devices.intro": "Dónde está iniciada la sesión de tu cuenta, {name}. Si no reconocés alguno, cerrale la sesión.",
    "devices.this": "Este dispositivo",
    "devices.client": "Aplicación",
    "devices.created": "Inicio de sesión",
    "devices.last_seen": "Último uso",
    "devices.place": "Red",
    "devices.place_unknown": "desconocida",
    "devices.rename": "Cambiar nombre",
    "devices.name": "Nombre del dispositivo",
    "devices.save": "Guardar",
    "devices.end": "Cerrar sesión",
    "devices.end_of": "Cerrar sesión en {device} ({client})",
    "devices.rename_of": "Cambiar nombre de {device} ({client})",
    "devices.none": "Ninguna aplicación está usando tu cuenta ahora. Tu sesión está iniciada en este navegador, "
    "{device}.",
    "devices.end_others": "Cerrar todas las demás sesiones",
    "devices.end_others_hint": "En todos lados menos en este navegador.",
    "devices.end_all": "Cerrar sesión en todos lados",
    "devices.end_all_hint": "También en este navegador.",
    "devices.done.renamed": "El dispositivo ya tiene su nombre nuevo.",
    "devices.done.ended": "La sesión se cerró. Su acceso termina en instantes.",
    "devices.done.ended_others": "Se cerraron todas las demás sesiones. Su acceso termina en instantes.",
    "devices.done.bad_name": "El nombre tiene que tener al menos un carácter visible.",
    "device.title": "Conectar un dispositivo",
    "device.intro": "Escribí el código que muestra el dispositivo o el programa, {name}.",
    "device.code": "Código",
    "device.continue": "Continuar",
    "device.problem.unknown": "Ningún dispositivo está esperando este código. Miralo de nuevo, o pedile "
    "otro al dispositivo.",
    "device.confirm.title": "¿Iniciar sesión en {client} en un dispositivo?",
    "device.confirm.compare": "¿El dispositivo muestra este código?",
    "device.confirm.body": "Dice que es {device}, y lo pide desde la red {place}. Va a tener tu sesión, {name}, y "
    "podrá:",
    "device.confirm.warning": "Seguí solo si vos empezaste esto y tenés el dispositivo delante. Si alguien te mandó el "
    "código, no sigas.",
    "device.confirm.allow": "Sí, iniciar sesión",
    "device.confirm.deny": "No",
    "device.done.allowed.title": "El dispositivo inició sesión",
    "device.done.allowed.body": "Sigue solo en unos segundos. Podés cerrar su sesión cuando quieras.",
    "device.done.denied.title": "El dispositivo no inició sesión",
    "device.done.denied.body": "Su código ya no funciona.",
    "account.pages": "Tu cuenta",
    "ways.title": "Formas de ingresar",
    "ways.intro": "Lo que abre tu cuenta, {name}. Podés vincular a otros que respondan por vos, y desvincularlos.",
    "ways.password": "Contraseña",
    "ways.password_note": "Tu nombre de usuario es {username}.",
    "ways.since": "Vinculado",
    "ways.gone": "Ya no se puede usar acá.",
    "ways.unlink": "Desvincular",
    "ways.unlink_of": "Desvincular {label} ({provider})",
    "ways.last": "Es tu única forma de ingresar: vinculá otra antes de quitarla.",
    "ways.link_title": "Vincular otra",
    "ways.link": "Vincular {provider}",
    "ways.fresh": "Ingresaste hace un rato. Te vamos a pedir que lo hagas otra vez antes de cambiar algo.",
    "ways.onward": "Seguir a {provider}",
    "ways.done.linked": "Quedó vinculada. Desde ahora abre tu cuenta.",
    "ways.done.unlinked": "Quedó desvinculada, y se cerró la sesión de quien haya ingresado con ella.",
    "ways.done.last": "No se cambió nada: es tu única forma de ingresar.",
    "ways.confirm.title": "¿Vincular {provider}?",
    "ways.confirm.body": "{provider} dice que sos {label}. Quien ingrese ahí como {label} va a abrir "
    "tu cuenta, {name}.",
    "ways.confirm.yes": "Vincular {label}",
    "ways.confirm.no": "No soy yo",
    "ways.failed.title": "No se vinculó nada",
    "ways.failed.taken": "Esa identidad es de otra cuenta de acá. Desvinculala primero ahí.",
    "ways.failed.back": "Volver a tus formas de ingresar",
    "applications.title": "Aplicaciones",
    "applications.intro": "Aplicaciones de otros que pueden usar tu cuenta. Retirá lo que ya no necesites.",
    "applications.none": "No le diste acceso a tu cuenta a ninguna aplicación de otros.",
    "applications.may": "Puede:",
    "applications.since": "Permitido",
    "applications.withdraw": "Retirar",
    "applications.withdraw_of": "Retirar el acceso de {client}",
    "applications.withdrawn": "El acceso quedó retirado. La aplicación deja de funcionar con tu cuenta en instantes.",
    "password.title": "Contraseña",
    "password.intro": "Una contraseña nueva cierra la sesión en todos tus otros dispositivos.",
    "password.old": "Contraseña actual",
    "password.new": "Contraseña nueva",
    "password.again": "Contraseña nueva, otra vez",
    "password.hint": "Al menos {shortest} caracteres. Varias palabras son fáciles de recordar y difíciles de adivinar.",
    "password.submit": "Cambiar contraseña",
    "password.changed": "Cambiaste tu contraseña, y se cerró la sesión en todos tus otros dispositivos.",
    "password.problem.missing": "Escribí tu contraseña actual.",
    "password.problem.length": "Una contraseña nueva tiene al menos {shortest} caracteres.",
    "password.problem.differ": "Las dos contraseñas nuevas no son iguales.",
    "password.problem.wrong": "Tu contraseña actual es otra.",
    "error.no_password.title": "Acá no hay contraseña",
    "error.no_password.body": "A esta cuenta entrás de otra manera, así que no hay una contraseña para cambiar.",
    "form_post.title": "De vuelta a la aplicación",
    "form_post.body": "Ya iniciaste sesión. Si no pasa nada, apretá el botón.",
    "form_post.submit": "Seguir",
    "error.reference": "Referencia: {reference}",
    "error.to_account": "Entrar a tu cuenta de acá",
    "error.technical": "Para quien mantiene la aplicación",
    "error.request.title": "Esto no funcionó",
    "error.request.body": "La aplicación que te mandó acá hizo un pedido que no podemos responder. Volvé a ella y "
    "probá de nuevo. Si vuelve a pasar, avisale a quien la mantiene.",
    "error.unauthorized_client.title": "Aplicación desconocida",
    "error.unauthorized_client.body": "La aplicación que te mandó acá no está registrada, así que no seguimos. A tu "
    "cuenta no le pasó nada.",
    "error.invalid_request_uri.title": "Este enlace ya se usó",
    "error.invalid_request_uri.body": "Funciona una sola vez y por poco tiempo. Volvé a la aplicación e iniciá sesión "
    "desde ahí.",
    "error.sign_in_elsewhere.title": "Este inicio de sesión no está abierto acá",
    "error.sign_in_elsewhere.body": "Empezó en otro navegador, tardó demasiado, o tu navegador no guarda cookies de "
    "este sitio. Volvé a la aplicación e iniciá sesión desde ahí.",
    "error.no_account.title": "Acá no tenés una cuenta",
    "error.no_account.body": "Se confirmó quién sos, pero ninguna cuenta de acá es de esa identidad, o está "
    "deshabilitada. No se cambió nada. Consultá a quien mantiene este sitio, o volvé e iniciá sesión de otra manera.",
    "error.form_not_from_here.title": "Este formulario no era tuyo",
    "error.form_not_from_here.body": "Vino de otra página o de otro navegador, o iniciaste sesión de nuevo mientras "
    "tanto. No se cambió nada. Volvé, cargá la página de nuevo y probá otra vez.",
    "error.not_found.title": "Acá no hay nada",
    "error.not_found.body": "Puede que la dirección esté mal escrita, o que la página ya no exista.",
    "error.method_not_allowed.title": "Esta página no funciona así",
    "error.method_not_allowed.body": "Volvé y usá los botones de la página.",
    "error.unavailable.title": "Ahora no podemos hacerlo",
    "error.unavailable.body": "Algo de nuestro lado no está disponible. No es culpa tuya, y no se cambió nada. Esperá "
    "un momento y cargá la página de nuevo.",
    "error.internal.title": "Algo salió mal acá",
    "error.internal.body": "Es un error nuestro, no tuyo. Probá de nuevo; si vuelve a pasar, dale la referencia a "
    "quien mantiene este sitio.",
    "ago.now": "recién",
    "ago.minute": "hace 1 minuto",
    "ago.minutes": "hace {n} minutos",
    "ago.hour": "hace 1 hora",
    "ago.hours": "hace {n} horas",
    "ago.day": "ayer",
    "ago.days": "hace {n} días",
    "duration.second": "1 segundo",
    "duration.seconds": "{n} segundos",
    "duration.minute": "1 minuto",
    "duration.minutes": "{n} minutos",
}

CATALOGUES: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {**EN, **console_texts.EN},
    "es": {**ES, **console_texts.ES},
}
LANGUAGES: Final = tuple(CATALOGUES)

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language."""

    language: str
    _catalogue: Mapping[str, str]

    def __call__(self, key: str, /, **values: object) -> str:
        """Return a text with its values filled in; an unknown key is a bug and raises."""
        return self._catalogue[key].format(**values)

    def has(self, key: str) -> bool:
        """Say whether there is such a text."""
        return key in self._catalogue

    def scope(self, scope: str) -> str:
        """Say what a scope allows."""
        key = f"scope.{scope}"
        return self(key) if key in self._catalogue else self("scope.other", scope=scope)

    def ago(self, seconds: int) -> str:
        """Say how long ago something was; needs no time zone, which a page without script does not know."""
        if seconds < _MINUTE:
            return self("ago.now")
        for unit, length in (("day", _DAY), ("hour", _HOUR), ("minute", _MINUTE)):
            if seconds >= length:
                return self._counted(f"ago.{unit}", seconds // length)
        raise AssertionError("unreachable: a minute was the least")

    def duration(self, seconds: int) -> str:
        """Say how long something lasts, minutes rounded up."""
        if seconds < 2 * _MINUTE:
            return self._counted("duration.second", seconds)
        return self._counted("duration.minute", -(-seconds // _MINUTE))

    def _counted(self, key: str, n: int) -> str:
        return self(key) if n == 1 else self(f"{key}s", n=n)


def scope_catalogues(scope_texts: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    """What an operator says of scopes, as catalogues by language. Braces are text there."""
    return {
        language: {
            f"scope.{scope}": texts[language].replace("{", "{{").replace("}", "}}")
            for scope, texts in scope_texts.items()
            if language in texts
        }
        for language in CATALOGUES
    }


def texts_in(language: str, *more: Mapping[str, Mapping[str, str]]) -> Texts:
    """Return the texts of a language; English where a configured language has none.

    Args:
        more: catalogues beside our own, by language: those of the ways to sign in.
    """
    known = language if language in CATALOGUES else "en"
    catalogue = CATALOGUES[known]
    for other in more:
        catalogue = {**catalogue, **other[known]}
    return Texts(language, catalogue)
