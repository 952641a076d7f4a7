"""Requirement × principal → verdict, and what a refusal looks like on each wire."""
