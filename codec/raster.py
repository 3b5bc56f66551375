"""Placeholder: see models/generator.py for what is expected of Visibility."""
