"""Adapters that give each connection of a server an identity, one module per server."""
