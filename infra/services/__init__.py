"""Services: one declaration each of who calls them, what they keep, and how they prove to be well."""
