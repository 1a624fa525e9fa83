"""An engine for oumi-core that answers in capitals."""
