"""A collection behind a service: asked over HTTP, with the standard library alone.

Nothing here loads an index or a network. Items from outside are read on this machine and sent as bytes.
"""
