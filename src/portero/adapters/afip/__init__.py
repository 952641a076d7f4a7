"""AFIP (ARCA): its messages, checked and made.

SHA-1 and RSA of 1024 bits are what AFIP uses, and are used only here.
"""
