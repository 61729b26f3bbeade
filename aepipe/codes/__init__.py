"""Codes: packed bits, and the frozen encoder that makes them."""
