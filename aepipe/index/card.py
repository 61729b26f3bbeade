"""The card of a saved index: what the folder holds."""

CARD = "index.json"
