"""With every key that a lab's hosts hold: delete, overwrite, shorten, hide the far copies; then restore."""
