"""Protime over HTTP."""
