"""The one exception of the sandbox."""


class Refusal(Exception):
    """The request is wrong, or asked to fail: told in the dialect by its `error` function."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
