"""What Anthropic and Gemini answer, and what it costs by hand; with OpenAI's, all samples that there are."""

from sample_answers_openai import SAMPLES as OF_OPENAI
from sample_answers_siblings import SAMPLES as SIBLINGS
from sample_kit import MESSAGES, D, K, M, Sample, gemini, generate, messages

TEXT_ONLY = {"promptTokenCount": 300, "candidatesTokenCount": 10, "totalTokenCount": 310}
FLASH = D(300) * D("0.30") / M + D(10) * D("2.50") / M
PRO3 = D(300) * D(2) / M + D(10) * D(12) / M

SAMPLES = [
    *OF_OPENAI,
    *SIBLINGS,
    Sample(
        "all classes of a cache", "anthropic", MESSAGES,
        *messages(
            "claude-opus-4-8",
            {
                "input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 300,
                "cache_creation_input_tokens": 500,
                "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 300},
                "server_tool_use": {"web_search_requests": 2},
            },
        ),
        D(10) * D(5) / M + D(300) * D("0.5") / M + D(200) * D("6.25") / M + D(300) * D(10) / M
        + D(20) * D(25) / M + D(2) * D(10) / K,
    ),
    # The figures at the top leave the summary out.
    Sample(
        "a summary of the conversation", "anthropic", MESSAGES,
        *messages(
            "claude-opus-4-8",
            {
                "input_tokens": 23_000, "output_tokens": 1_000,
                "iterations": [
                    {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500},
                    {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000},
                ],
            },
        ),
        D(23_000) * D(5) / M + D(1_000) * D(25) / M + D(180_000) * D(5) / M + D(3_500) * D(25) / M,
    ),
    Sample(
        "advice of a dearer model, and a second prompt that the top leaves out", "anthropic", MESSAGES,
        *messages(
            "claude-haiku-4-5",
            {
                "input_tokens": 412, "output_tokens": 531, "cache_read_input_tokens": 0,
                "iterations": [
                    {"type": "message", "input_tokens": 412, "output_tokens": 89},
                    {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 823, "output_tokens": 1_612},
                    {
                        "type": "message", "input_tokens": 1_348, "cache_read_input_tokens": 412,
                        "output_tokens": 442,
                    },
                ],
            },
        ),
        D(412 + 1_348) * D(1) / M + D(412) * D("0.1") / M + D(531) * D(5) / M
        + D(823) * D(5) / M + D(1_612) * D(25) / M,
    ),
    Sample(
        "a hop that declined costs nothing, the one that answered its own rates", "anthropic", MESSAGES,
        *messages(
            "claude-opus-4-8",
            {
                "input_tokens": 100, "output_tokens": 10,
                "iterations": [
                    {"type": "message", "model": "claude-opus-5", "input_tokens": 100, "output_tokens": 0},
                    {"type": "fallback_message", "model": "claude-opus-4-8", "input_tokens": 100, "output_tokens": 10},
                ],
            },
        ),
        D(100) * D(5) / M + D(10) * D(25) / M,
    ),
    Sample(
        "code is run where it is not free", "anthropic", MESSAGES,
        messages("claude-opus-4-8", {})[0],
        {
            "model": "claude-opus-4-8",
            "content": [{"type": "server_tool_use", "name": "bash_code_execution", "input": {"command": "ls"}}],
            "usage": {"input_tokens": 10, "output_tokens": 20},
        },
        D(10) * D(5) / M + D(20) * D(25) / M,
        ("unpriced_tool",),
    ),
    # The list is named otherwise with embeddings.
    Sample(
        "a film is embedded", "gemini", gemini("gemini-embedding-2", "embedContent"),
        {"content": {"parts": [{"text": "x"}]}},
        {
            "embedding": {"values": []},
            "usageMetadata": {
                "promptTokenCount": 662, "totalTokenCount": 662,
                "promptTokenDetails": [
                    {"modality": "VIDEO", "tokenCount": 660},
                    {"modality": "TEXT", "tokenCount": 2},
                ],
            },
        },
        D(2) * D("0.20") / M + D(660) * D(12) / M,
    ),
    Sample(
        "thoughts and sound", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash",
            {
                "promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 30, "totalTokenCount": 140,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 40},
                    {"modality": "AUDIO", "tokenCount": 60},
                ],
            },
        ),
        D(40) * D("0.30") / M + D(60) * D("1.00") / M + D(40) * D("2.50") / M,
    ),

    Sample(
        "pages by their address are no searches", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash", TEXT_ONLY, {"groundingChunks": [{"web": {"uri": "u"}}]}, tools=[{"urlContext": {}}]
        ),
        FLASH,
    ),
    Sample(
        "files of one's own are no searches", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash", TEXT_ONLY, {"groundingChunks": [{"retrievedContext": {}}]}, tools=[{"fileSearch": {}}]
        ),
        FLASH,
    ),
    Sample(
        "before Gemini 3 a request is billed, however many its searches", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash", TEXT_ONLY, {"webSearchQueries": ["a", "b"], "groundingChunks": [{"web": {}}]},
            tools=[{"googleSearch": {}}],
        ),
        FLASH + D(1) * D(35) / K,
    ),
    Sample(
        "from Gemini 3 on each query is billed once, and empty ones are not", "gemini", gemini("gemini-3.1-pro-preview"),
        *generate(
            "gemini-3.1-pro-preview", TEXT_ONLY, {"webSearchQueries": ["a", "", "b", "a", " "]},
            tools=[{"googleSearch": {}}],
        ),
        PRO3 + D(2) * D(14) / K,
    ),
    Sample(
        "maps have a price that nobody knows here", "gemini", gemini("gemini-2.5-flash"),
        *generate("gemini-2.5-flash", TEXT_ONLY, {"groundingChunks": [{"maps": {}}]}, tools=[{"googleMaps": {}}]),
        FLASH,
        ("unpriced_tool",),
    ),
    Sample(
        "a list of details that nobody knows", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash", {**TEXT_ONLY, "promptScentDetails": [{"scent": "ROSE", "tokenCount": 100}]}
        ),
        D(200) * D("0.30") / M + D(100) * D("1.00") / M + D(10) * D("2.50") / M,
        ("unknown_class",),
    ),
]  # fmt: skip
