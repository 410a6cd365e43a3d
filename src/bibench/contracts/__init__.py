"""Contracts: what every operator, model and task must keep, run by ``bibench check`` and by the tests."""

from bibench.contracts.base import Finding, causes, check, check_file, contracts_of

__all__ = ["Finding", "causes", "check", "check_file", "contracts_of"]
