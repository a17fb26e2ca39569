"""What OpenAI answers, and what it costs by hand."""

from sample_kit import CHAT, RESPONSES, D, K, M, Sample, chat, response

SEARCHES = [
    {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "a"}},
    {"type": "web_search_call", "status": "completed", "action": {"type": "open_page", "url": "u"}},
    {"type": "web_search_call", "status": "completed", "action": {"type": "find_in_page", "pattern": "p"}},
    {"type": "web_search_call", "status": "failed", "action": {"type": "search", "query": "b"}},
]
GPT5 = D(1_000) * D("1.25") / M + D(100) * D(10) / M
GPT41 = D(1_000) * D(2) / M + D(100) * D(8) / M

SAMPLES = [
    Sample(
        "cached input and reasoning", "openai", CHAT,
        *chat(
            "gpt-5",
            {
                "prompt_tokens": 2_000, "completion_tokens": 500, "total_tokens": 2_500,
                "prompt_tokens_details": {"cached_tokens": 1_500},
                "completion_tokens_details": {"reasoning_tokens": 400},
            },
        ),
        D(500) * D("1.25") / M + D(1_500) * D("0.125") / M + D(500) * D(10) / M,
    ),
    # Sound without a rate of its own costs what other models of the provider ask for it, at most 80 a million.
    Sample(
        "sound without a rate", "openai", CHAT,
        *chat(
            "gpt-4o-audio-preview",
            {
                "prompt_tokens": 17, "completion_tokens": 1_000, "total_tokens": 1_017,
                "completion_tokens_details": {"audio_tokens": 900, "text_tokens": 100},
            },
            modalities=["text", "audio"],
        ),
        D(17) * D("2.5") / M + D(100) * D(10) / M + D(900) * D(80) / M,
        ("unknown_class",),
    ),
    Sample(
        "sound with a rate", "openai", CHAT,
        *chat(
            "gpt-audio",
            {
                "prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200,
                "prompt_tokens_details": {"audio_tokens": 60},
                "completion_tokens_details": {"audio_tokens": 90},
            },
        ),
        D(40) * D("2.5") / M + D(60) * D(32) / M + D(10) * D(10) / M + D(90) * D(64) / M,
    ),
    Sample(
        "a class of tokens that is new", "openai", CHAT,
        *chat(
            "gpt-4o",
            {
                "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
                "completion_tokens_details": {"hologram_tokens": 4},
            },
        ),
        D(10) * D("2.5") / M + D(20) * D(10) / M,
        ("unknown_class",),
    ),
    # The model searches before every answer, and names no tool.
    Sample(
        "a model that always searches", "openai", CHAT,
        *chat("gpt-4o-search-preview", {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}),
        D(10) * D("2.5") / M + D(20) * D(10) / M + D(1) * D(25) / K,
    ),
    Sample(
        "only searches are billed, and only those that came to an end", "openai", RESPONSES,
        *response("gpt-5", SEARCHES, [{"type": "web_search"}]),
        GPT5 + D(1) * D(10) / K,
    ),
    Sample(
        "the provider says how many", "openai", RESPONSES,
        *response("gpt-5", SEARCHES, [{"type": "web_search"}], tool_usage={"web_search": {"num_requests": 3}}),
        GPT5 + D(3) * D(10) / K,
    ),
    Sample(
        "the provider says that none was billed", "openai", RESPONSES,
        *response("gpt-5", SEARCHES, [{"type": "web_search"}], tool_usage={"web_search": {"num_requests": 0}}),
        GPT5,
    ),
    Sample(
        "the older search on a model that does not reason", "openai", RESPONSES,
        *response("gpt-4.1", SEARCHES, [{"type": "web_search_preview"}]),
        GPT41 + D(1) * D(25) / K,
    ),
    Sample(
        "the older search on a model that reasons", "openai", RESPONSES,
        *response("gpt-5", SEARCHES, [{"type": "web_search_preview_2025_03_11"}]),
        GPT5 + D(1) * D(10) / K,
    ),
    Sample(
        "a search on a model whose entry has no fee", "openai", RESPONSES,
        *response("gpt-5.3-codex", SEARCHES[:1], [{"type": "web_search"}]),
        D(1_000) * D("1.75") / M + D(100) * D(14) / M + D(1) * D(10) / K,
    ),
    Sample(
        "files are searched", "openai", RESPONSES,
        *response("gpt-5", [{"type": "file_search_call", "status": "completed"}] * 2, [{"type": "file_search"}]),
        GPT5 + D(2) * D("2.50") / K,
    ),
    Sample(
        "code is run in a container", "openai", RESPONSES,
        *response("gpt-5", [{"type": "code_interpreter_call", "status": "completed"}], [{"type": "code_interpreter"}]),
        GPT5,
        ("unpriced_tool",),
    ),
    Sample(
        "a picture, painted by nobody knows whom", "openai", RESPONSES,
        *response("gpt-5", [{"type": "image_generation_call", "status": "completed"}], [{"type": "image_generation"}]),
        GPT5,
        ("unpriced_tool",),
    ),
    Sample(
        "a picture, painted by a model that is named", "openai", RESPONSES,
        *response(
            "gpt-5",
            [{"type": "image_generation_call", "status": "completed"}],
            [{"type": "image_generation", "model": "gpt-image-2"}],
            tool_usage={
                "image_gen": {
                    "input_tokens": 50, "input_tokens_details": {"text_tokens": 50, "image_tokens": 0},
                    "output_tokens": 4_000, "total_tokens": 4_050,
                }
            },
        ),
        GPT5 + D(50) * D(5) / M + D(4_000) * D(30) / M,
    ),
    # It does not say what of the output is a picture: all of it, at the dearer rate.
    Sample(
        "a picture, painted by a model whose words are cheaper", "openai", RESPONSES,
        *response(
            "gpt-5",
            [{"type": "image_generation_call", "status": "completed"}],
            [{"type": "image_generation", "model": "gpt-image-1.5"}],
            tool_usage={
                "image_gen": {
                    "input_tokens": 50, "input_tokens_details": {"text_tokens": 50, "image_tokens": 0},
                    "output_tokens": 4_000, "total_tokens": 4_050, "cached_tokens": 40,
                }
            },
        ),
        GPT5 + D(10) * D(5) / M + D(40) * D("1.25") / M + D(4_000) * D(32) / M,
    ),
    Sample(
        "in the background", "openai", RESPONSES,
        {"model": "gpt-5", "input": "x", "background": True},
        {"model": "gpt-5", "status": "queued", "output": [], "usage": None},
        D(0),
        ("unmetered",),
    ),

    Sample(
        "a tuned model", "openai", CHAT,
        *chat(
            "ft:gpt-4.1-2025-04-14:org::abc",
            {
                "prompt_tokens": 1_000, "completion_tokens": 10, "total_tokens": 1_010,
                "prompt_tokens_details": {"cached_tokens": 400},
            },
        ),
        D(600) * D(3) / M + D(400) * D("0.75") / M + D(10) * D(12) / M,
    ),
    Sample(
        "a tuned small model", "openai", CHAT,
        *chat(
            "ft:gpt-4.1-mini-2025-04-14:org::abc", {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        ),
        D(100) * D("0.8") / M + D(10) * D("3.2") / M,
    ),
    Sample(
        "embeddings", "openai", "/v1/embeddings",
        {"model": "text-embedding-3-small", "input": "x"},
        {"model": "text-embedding-3-small", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        D(8) * D("0.02") / M,
    ),
]  # fmt: skip
