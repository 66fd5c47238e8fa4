"""County health platform: residents, their results, and the pages that show them."""
