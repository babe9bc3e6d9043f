"""What people who come from other servers expect: NTLM, the options that go with it, browsers, a login form."""
