"""The HTTP API for other services: its own process and port, a user of the Producer like any other program.

server.py    the process: listens, and says who is let in
guard.py     before every route: request ids, tokens, rates, how many at once
app.py       the application: which file answers what
*_routes.py  the answers, by subject
follower.py  one reader of changes, for all who follow along
bodies.py    what is sent to us, read within limits
views.py     what is told, as it stands in the OpenAPI document
problems.py  what is told when something is wrong (RFC 9457)
"""
