"""One request, top to bottom: route, chain, target, answer. Knows no plugin and no engine."""
