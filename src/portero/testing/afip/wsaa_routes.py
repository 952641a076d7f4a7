"""WSAA over HTTP: the service itself, certificates for computers, and the switch for what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cryptography import x509
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from portero.adapters.afip.cuit import is_cuit
from portero.testing.afip.authority import pem_of
from portero.testing.afip.wsaa import LOST, PATH, SLOW, SWITCHES, WsaaServer

_MAX_BODY = 64 * 1024
_SLOW = 120
"""Seconds; shorter where the caller goes away."""

_WSDL = """<?xml version="1.0" encoding="UTF-8"?>
<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:t="http://wsaa.view.sua.dvadac.desein.afip.gov"
 targetNamespace="http://wsaa.view.sua.dvadac.desein.afip.gov"><wsdl:types>
<xsd:schema elementFormDefault="qualified" targetNamespace="http://wsaa.view.sua.dvadac.desein.afip.gov">
<xsd:element name="loginCms"><xsd:complexType><xsd:sequence><xsd:element name="in0" type="xsd:string"/></xsd:sequence>
</xsd:complexType></xsd:element><xsd:element name="loginCmsResponse"><xsd:complexType><xsd:sequence>
<xsd:element name="loginCmsReturn" type="xsd:string"/></xsd:sequence></xsd:complexType></xsd:element></xsd:schema>
</wsdl:types><wsdl:message name="request"><wsdl:part name="parameters" element="t:loginCms"/></wsdl:message>
<wsdl:message name="response"><wsdl:part name="parameters" element="t:loginCmsResponse"/></wsdl:message>
<wsdl:portType name="LoginCMS"><wsdl:operation name="loginCms"><wsdl:input message="t:request"/>
<wsdl:output message="t:response"/></wsdl:operation></wsdl:portType>
<wsdl:binding name="LoginCmsSoapBinding" type="t:LoginCMS">
<soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/><wsdl:operation name="loginCms">
<soap:operation soapAction=""/><wsdl:input><soap:body use="literal"/></wsdl:input><wsdl:output>
<soap:body use="literal"/></wsdl:output></wsdl:operation></wsdl:binding><wsdl:service name="LoginCMSService">
<wsdl:port name="LoginCms" binding="t:LoginCmsSoapBinding"><soap:address location="{url}"/></wsdl:port></wsdl:service>
</wsdl:definitions>
"""


def wsaa_routes(server: WsaaServer, now: Callable[[], float]) -> list[Route]:
    """Build the routes."""

    async def login_cms(request: Request) -> Response:
        if request.method == "GET":
            return Response(_WSDL.format(url=request.url.replace(query="")), media_type="text/xml")
        body = await request.body()
        if len(body) > _MAX_BODY:
            return Response(status_code=413)
        if "soapaction" not in request.headers and "soap+xml" not in request.headers.get("content-type", ""):
            return Response("no SOAPAction header!", status_code=500, media_type="text/plain")
        switch = server.switch
        status, text = await run_in_threadpool(server.answer, body, now=now())
        if switch == LOST:
            return Response(status_code=504)
        if switch == SLOW:
            for _ in range(_SLOW * 10):
                if await request.is_disconnected():
                    break
                await asyncio.sleep(0.1)
        return Response(text, status_code=status, media_type="text/xml; charset=utf-8")

    async def certify(request: Request) -> Response:
        alias, cuit = request.query_params.get("alias", ""), request.query_params.get("cuit", "")
        try:
            wanted = x509.load_pem_x509_csr((await request.body())[:_MAX_BODY])
            if not is_cuit(cuit) or not alias.isalnum() or len(alias) > 50:
                raise ValueError("alias is letters and digits, cuit eleven digits the last of which is right")
            return Response(pem_of(server.issue(wanted, alias=alias, cuit=cuit, now=now())), media_type="text/plain")
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=422)

    async def switch(request: Request) -> Response:
        name, window = request.query_params.get("falla", server.switch), request.query_params.get("ventana", "")
        if name and name not in SWITCHES:
            return JSONResponse({"error": "falla", "conocidas": SWITCHES}, status_code=422)
        server.switch = name
        if window.isdecimal():
            server.window = int(window)
        return JSONResponse({"falla": server.switch, "ventana": server.window, "tickets": server.given})

    return [
        Route(PATH, login_cms, methods=["GET", "POST"]),
        Route("/admin/certs", certify, methods=["POST"]),
        Route("/admin/wsaa", switch, methods=["POST"]),
    ]
