"""Answers that are like others among the samples but for one thing: another place, another spelling, another name."""

from sample_kit import CHAT, RESPONSES, D, K, M, Sample, chat, gemini, generate, response

TOLD = {"promptTokenCount": 300, "candidatesTokenCount": 10, "totalTokenCount": 310}
SOUND = {"input_tokens": 10, "output_tokens": 1_000, "total_tokens": 1_010}

SAMPLES = [
    # No table knows these places. The name says that it is sound, so it costs what sound costs elsewhere.
    Sample(
        "sound in an answer of Responses", "openai", RESPONSES,
        *response("gpt-5", [], [], usage={**SOUND, "output_tokens_details": {"audio_tokens": 900}}),
        D(10) * D("1.25") / M + D(100) * D(10) / M + D(900) * D(80) / M,
        ("unknown_class",),
    ),
    Sample(
        "sound in a list whose name is new", "openai", CHAT,
        *chat(
            "gpt-4o-audio-preview",
            {
                "prompt_tokens": 10, "completion_tokens": 1_000, "total_tokens": 1_010,
                "completion_token_details": {"audio_tokens": 900},
            },
        ),
        D(10) * D("2.5") / M + D(100) * D(10) / M + D(900) * D(80) / M,
        ("unknown_class",),
    ),
    Sample(
        "pictures in a chat", "openai", CHAT,
        *chat(
            "gpt-4o",
            {
                "prompt_tokens": 17, "completion_tokens": 1_000, "total_tokens": 1_017,
                "completion_tokens_details": {"image_tokens": 900},
            },
        ),
        D(17) * D("2.5") / M + D(100) * D(10) / M + D(900) * D(32) / M,
        ("unknown_class",),
    ),
    Sample(
        "a chat that is asked to search, of a model that need not", "openai", CHAT,
        *chat("gpt-4o", {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}, web_search_options={}),
        D(10) * D("2.5") / M + D(20) * D(10) / M + D(1) * D(10) / K,
    ),
    # The name leads to a Gemini 3, which bills each query.
    Sample(
        "searches of whichever model is the latest", "gemini", gemini("gemini-pro-latest"),
        *generate("gemini-pro-latest", TOLD, {"webSearchQueries": ["a", "b"]}, tools=[{"googleSearch": {}}]),
        D(300) * D(2) / M + D(10) * D(12) / M + D(2) * D(14) / K,
    ),
    Sample(
        "a search by the only tool, which stands there without a list", "gemini", gemini("gemini-2.5-flash"),
        *generate("gemini-2.5-flash", TOLD, {"groundingChunks": [{"web": {}}]}, tools={"google_search": {}}),
        D(300) * D("0.30") / M + D(10) * D("2.50") / M + D(1) * D(35) / K,
    ),
]  # fmt: skip
