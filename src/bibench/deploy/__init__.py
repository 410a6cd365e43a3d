"""Deployment: models as packed files, engines that run them, devices that they run on."""
