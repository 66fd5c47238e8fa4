"""Reports of drills: made, signed, chained, shown, and verified by strangers."""
