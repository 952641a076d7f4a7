"""The account and operator API: JSON over HTTP, described by its own OpenAPI document.

Nothing of it is loaded before the first request to `/api` (`gate`): FastAPI costs a fifth of a
second and a third of the memory a server starts with, and many servers are never asked.
"""
