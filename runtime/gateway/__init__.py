"""The data plane's front door: it takes each request to an instance that has a free slot, and the answer back.

`resolve`, `routes`, `pick`, `gate`, `headers` and `usage` decide and never wait; `invocation`, `relay`, `upstreams`,
`feeds` and `reporter` do the waiting. `main` puts them together.
"""
