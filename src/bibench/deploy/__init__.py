"""Deployment: trained models as packed files, the engines that run them, and proof that they are the same model."""

from bibench.deploy.engine import ENGINES, Engine, Obstacle, engine
from bibench.deploy.exporting import Deployed, export, load
from bibench.deploy.session import library, ort_session

__all__ = ["ENGINES", "Deployed", "Engine", "Obstacle", "engine", "export", "library", "load", "ort_session"]
