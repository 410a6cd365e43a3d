"""Engines that run deployed models: one file each; see `bibench.deploy.engine` for what an engine is."""
