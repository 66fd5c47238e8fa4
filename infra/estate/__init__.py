"""The estate: its model, its loading, and everything derived from it. Pure."""
