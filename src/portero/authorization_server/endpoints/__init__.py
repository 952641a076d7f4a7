"""One module per protocol endpoint: parse, transition, render."""
