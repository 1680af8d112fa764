"""Wanted assignments into Protime: read, planned, sent one by one, each with a receipt."""
