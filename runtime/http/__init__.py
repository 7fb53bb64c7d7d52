"""HTTP/1.1 on asyncio protocols, by a grammar of its own: what the gateway speaks to clients and to instances.

`server` reads requests and gives each as an `Exchange`; `client` sends one request at a time over a connection and
gives the response as it comes; `pool` keeps idle connections to one address; `framing` and `fields` are the pure parts.
"""
