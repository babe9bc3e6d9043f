"""Strict, pure readers of what comes in as bytes: headers, tokens, tickets, keytabs, PAC buffers. Their law:
bytes in, a frozen value or a `WireError` out; no I/O, no clock, no logger, nothing of this package but each
other."""
