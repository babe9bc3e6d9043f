"""Looking users up in a directory, in a process of its own.

Law: bonsai holds Python's interpreter lock while it connects, binds and asks the KDC, so a directory that doesn't
answer would stop the whole server, from whatever thread; hence nothing here but ``child`` and ``login`` loads it, and
they run in a child process, whose environment (credential cache, TLS, no reverse DNS) is its own too. Whatever it
hangs in, it is ended at the deadline.
"""
