"""The card of a saved index: what the folder holds."""

CARD = "index.json"
REMEDY = "delete the folder and run again: it will be made anew"
