"""Generators: geometry and photos in, a picture out. And the zoo of their weights."""
