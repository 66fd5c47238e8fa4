"""The Pulumi engine: getting it, driving it, its locks and its recovery."""
