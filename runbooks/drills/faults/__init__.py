"""How faults are done to a lab's hosts and fabric, and undone by any later process."""
