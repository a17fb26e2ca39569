"""WebSockets through the router: OpenAI Responses and Realtime, and Gemini Live.

`opening` makes a session of two handshakes, ours with the client and ours with the provider. A `Session` passes
messages on in both directions, and shows each of them to its `Conversation` first, which knows the dialect: which
message begins a turn that costs money, and which tells what it did cost. Each turn is admitted like a request, by the
same `AdmissionController`, with its own BEGIN and END (`turns`). `watch` looks after the sessions of a worker: keys
that were revoked meanwhile, peers that are gone, worker processes that end.
"""
