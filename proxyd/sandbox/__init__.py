"""The built-in provider for newcomers and tests: OpenAI, Anthropic and Gemini on one port, with no model behind.

It speaks the three dialects closely enough for the official SDKs to read every answer into their own types, says
the same thing to the same request, and counts exactly. It is no part of the data plane: nothing here is imported by
it, and this package imports nothing of it, so that a test which compares both compares two opinions.

Of OpenAI it has the synchronous endpoints that cost money: chat and text completions, responses and their compacting,
embeddings, speech, transcriptions and translations, and pictures. What is heard or painted is noise.

**Credential.** Any key that begins with `sandbox-`, where the dialect wants it; everything else is 401. One that begins
with `sandbox-answers-401-`, `-429-` or `-503-` is answered with that error each time; on `sandbox-answers-nothing-` the
sandbox hangs up before the first byte; `sandbox-answers-429-2of3-` fails the first two of each three requests.

**Models.** Every model of that provider which the `genai-prices` package knows, and for sound, pictures and films those
in `openai_media.py` and `predictions.py`; others are 404.

**Tokens.** One token for every 4 bytes of UTF-8, rounded up, per message, system prompt, list of tools and answer;
an image, audio or file part is 85 tokens. Output limits are kept, and then the finish reason says so. A second of sound
that is sent has 32,000 bytes.

**Behaviours.** Chosen by the request header `x-sandbox: slow words=5`, by the first words of the last user message,
`sandbox:slow sandbox:words=5 Hello`, or by the end of the model's name, `gpt-4o-mini-sandbox-slow` (the answer then
names the real model). Several can be combined.

| behaviour | what happens |
|---|---|
| `slow`, `slow=S` | S seconds (1) before the answer, a tenth of that before each event |
| `429`, `500`, any other error status | that error, in the dialect; 429 and 503 with `Retry-After: 1` |
| `break`, `break=fin`, `break=early` | cut half-way by a reset, half-way by a plain end, or before the first byte |
| `stall` | silent after half of the answer, until the client goes |
| `hang` | never answers |
| `nousage` | the answer carries no usage, but it is on the invoice |
| `overrun` | ignores the output limit and says three times as much |
| `words=N` | an answer of N words, one token each, one event each |
| `events=N,rate=R` | the same, R events a second (all at once when R is missing) |
| `error-event` | a stream that fails half-way with the dialect's error event; plain requests get a 500 |
| `gzip` | the answer is compressed |
| `think` | thinks first: messages (with a signature) and Gemini's content tell it, chat completions count it |
| `call` | calls the first tool of these three, a text for each argument it requires; not behind a tool's result |

**Other ways.** Gemini's interactions, Imagen's `:predict` and Veo's `:predictLongRunning`; files, batches (OpenAI,
Anthropic, Gemini; inline or by file), and answers in the background. What takes its time elsewhere is done at once, and
who asks for the first time is told so.

**WebSockets.** OpenAI Responses and Realtime and Gemini Live, each answer an attempt of its own on the invoice. In a
Realtime session whoever has spoken (sound that is not silence) and is silent has ended a turn. Sound is silence: a word
is a token of it (50 ms), and each 100 ms (40 ms with Gemini) of what is heard is one. Behaviours stand in the prompt.

**Invoice.** `GET /invoice` tells what this provider would bill for each attempt it saw, priced by `genai-prices` (sound
and pictures by prices of its own) and rounded up to the nano-dollar; `DELETE /invoice` clears it. When a client breaks
off, OpenAI and Anthropic bill what was produced until then, Gemini everything. Each line of a batch stands there by
itself, at the price of batches. Nothing of a credential stands there but its first eight characters and, of one that
is long enough, its last four.
"""
