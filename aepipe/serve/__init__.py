"""The service: collections as HTTP endpoints and as a page.

A question from the network is one of the closed types of :mod:`aepipe.serve.requests`: an id, a key, a code, words, a
vector, a row or bytes. None of them can name a file, an address or stdin.
"""
