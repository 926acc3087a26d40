"""For who works on claude_nb: what tests, benchmarks and the README's pictures share."""
