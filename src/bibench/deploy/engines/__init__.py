"""Engines that run deployed models: one file each; see `bibench.deploy.engines.base` for what an engine is."""
