"""Who uses the service while a drill goes on: open-loop, every answer noted with its time."""
