"""Asking a person before a tool runs: questions, cards and forms, decisions, and the log of them."""
