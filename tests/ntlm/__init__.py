"""NTLM: the built-in acceptor, its user file, Windows."""
