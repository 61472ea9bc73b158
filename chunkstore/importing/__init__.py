"""Brings foreign data into files, whatever the format they come from."""
