"""How a person proves who they are: the browser session and its cookie."""
