"""Named steps of long operations: listed, limited, journaled, resumed."""
