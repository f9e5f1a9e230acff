"""Marks that say a picture is generated."""
