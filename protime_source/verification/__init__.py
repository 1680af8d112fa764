"""Compares a warehouse with what Protime shows, without touching the delta."""
