"""Part of idsnn."""
