"""Operating the database: look, switch the writer, replace a member, upgrade, recover. Plans apart from effects."""
