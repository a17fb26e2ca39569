"""Alerts: noticed, and delivered by mail and webhook, in a loop that one process of a data directory runs.

Law of this package: whatever it knows stands in the database before it is acted on, so that it may be killed anywhere.
`evaluator` looks for what people want to be told of, which `found` and `spend` know page by page, and hands it to
`actions.alerts`, where each thing happens once; `sweep` forgets what is old;
`deliverer` takes what is to be sent, one attempt at a time, through `post` (webhooks) and `mail`. What is said stands
in `messages`; `loop` runs all of it.
"""
