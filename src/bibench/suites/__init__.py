"""Suites, one short file each."""
