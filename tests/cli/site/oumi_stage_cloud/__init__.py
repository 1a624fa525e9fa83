"""Only data: a provider that is reached by HTTP."""
