"""What a request and an answer likely have in tokens, for those of which no figures came."""

from shared.pricing import Size

BYTES_PER_TOKEN = 3  # English text has about 4
IMAGE_TOKENS = 1_500


def estimated_input(size: Size) -> int:
    """Tokens that a request's input likely has, on the high side."""
    return -(-size.text_bytes // BYTES_PER_TOKEN) + size.audio_tokens + size.image_parts * IMAGE_TOKENS


def weigh(value: object) -> int:
    """Bytes of all text in a JSON value, names of fields left out."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    total = 0
    waiting = [value]  # not by recursion: a provider may nest as deep as the parser allows
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            total += len(item.encode())
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return total
