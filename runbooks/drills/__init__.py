"""Drills: experiments that rehearse procedures."""
