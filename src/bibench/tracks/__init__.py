"""Tracks, one file each: pure functions from records to scores."""

from bibench.tracks.base import TRACKS, Score, track

__all__ = ["TRACKS", "Score", "track"]
