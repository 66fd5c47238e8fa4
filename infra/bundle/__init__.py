"""The bundle: every package, wheel and binary that hosts install, locked by version and SHA-256.

`build` makes it, `verify` holds it to its lock, `push` sends what is missing to a host.
`cli/` will call `build_bundle` and `verify_bundle` for `yiyun bundle build` and `yiyun bundle verify`.
"""
