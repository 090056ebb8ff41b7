"""Control's HTTP: one table of endpoints, served at two doors."""
