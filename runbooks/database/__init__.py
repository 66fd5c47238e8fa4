"""Operating the database: look, switch, replace, upgrade, recover. Plans apart from effects."""
