"""Landmark recognition: models, honest scores and a miniature world to learn them on."""
