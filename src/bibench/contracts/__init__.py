"""Contracts: what every operator, model and task must keep, run by ``bibench check`` and by the tests."""

from bibench.contracts.base import Finding, check, check_file, contracts_of

__all__ = ["Finding", "check", "check_file", "contracts_of"]
