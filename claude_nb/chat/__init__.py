"""The chat: a panel in a notebook that shows a session and talks to it."""
