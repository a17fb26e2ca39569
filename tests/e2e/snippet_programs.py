"""Stand-ins for programs that examples start and that are not installed where the tests run; and whoever uses them.

Each takes its settings from where the program takes them (environment, options, the file that the example wrote) and
sends what the program sends first: the facts are those of `cli_requests`, and of the programs' documentation in November
2026. It prints the answer's text, and ends in an error where the router refuses. Of some the real one is asked where it
is installed: on PATH, or at ROUTER_TEST_AIDER, ROUTER_TEST_OPEN_WEBUI.
"""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli_requests import Call, claude_code, claude_code_start, codex, gemini_cli, opencode

HERE = Path(__file__).parent
QUESTION = [{"role": "user", "content": "Say hello"}]


def install(folder: Path, names: Sequence[str]) -> None:
    """Put programs of these names into a folder, for PATH. They need the standard library alone."""
    for name in names:
        real = installed(name) if name in USED else None
        call = f"PROGRAMS[{name!r}](sys.argv[1:])" if real is None else f"USED[{name!r}]({real!r}, sys.argv[1:])"
        program = folder / name
        program.write_text(
            f"#!{sys.executable} -S\nimport sys\nsys.path.insert(0, {str(HERE)!r})\n"
            f"from snippet_programs import PROGRAMS, USED\n{call}\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


def installed(name: str) -> str | None:
    """Where the real one is."""
    return os.environ.get(f"ROUTER_TEST_{name.upper().replace('-', '_')}") or shutil.which(name)


def send(base: str, call: Call) -> str:
    """The text of the answer. Raises HTTPError for one that is none."""
    url, headers = base.rstrip("/") + call.path, {**call.headers, "accept-encoding": "identity"}
    request = urllib.request.Request(url, data=call.body or None, headers=headers, method=call.method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


def ask(base: str, key: str, model: str) -> None:
    """A chat completion, as anything that is compatible with OpenAI asks for it."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    body = json.dumps({"model": model, "messages": QUESTION, "max_tokens": 100}).encode()
    print(json.loads(send(base, Call("POST", "/chat/completions", headers, body)))["choices"][0]["message"]["content"])


def option(arguments: Sequence[str], *names: str) -> str:
    return next(arguments[place + 1] for place, word in enumerate(arguments) if word in names)


def claude(arguments: Sequence[str]) -> None:
    assert "ANTHROPIC_API_KEY" not in os.environ  # it would win
    base, key = os.environ["ANTHROPIC_BASE_URL"], os.environ["ANTHROPIC_AUTH_TOKEN"]
    small = os.environ.get("ANTHROPIC_DEFAULT_HAIKU_MODEL", "claude-haiku-4-5")
    probe, models, quota, *_ = claude_code_start(key)
    for call in (probe, models):
        send(base, call)
    send(base, of_model(quota, small))
    turn = claude_code(key, model=os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-4-6"), max_tokens=8_000)
    print(send(base, turn))


def of_model(call: Call, model: str) -> Call:
    body = json.dumps({**json.loads(call.body), "model": model}).encode()
    return Call(call.method, call.path, call.headers, body)


def gemini(arguments: Sequence[str]) -> None:
    assert not {"GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"} & os.environ.keys()
    settings = json.loads((Path.home() / ".gemini" / "settings.json").read_text())
    assert settings["security"]["auth"]["selectedType"] == "gemini-api-key"  # else it asks for a login
    model = option(arguments, "--model", "-m")
    call = gemini_cli(os.environ["GEMINI_API_KEY"])
    path = f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
    print(send(os.environ["GOOGLE_GEMINI_BASE_URL"], Call("POST", path, call.headers, call.body)))


def open_code(arguments: Sequence[str]) -> None:
    told = json.loads(Path("opencode.json").read_text())
    for setting in ("model", "small_model"):
        provider, _, model = told[setting].partition("/")
        chosen = told["provider"][provider]
        assert chosen["npm"] == "@ai-sdk/openai-compatible"
        assert model in chosen["models"]
        key = re.sub(r"\{env:(\w+)\}", lambda name: os.environ[name[1]], chosen["options"]["apiKey"])
        call = opencode(key, model=model, max_tokens=1_000)
        print(send(chosen["options"]["baseURL"], Call("POST", "/chat/completions", call.headers, call.body)))


def aider(arguments: Sequence[str]) -> None:
    for named in (option(arguments, "--model"), option(arguments, "--weak-model")):
        spoken, _, model = named.partition("/")
        assert spoken == "openai"
        ask(os.environ["OPENAI_API_BASE"], os.environ["OPENAI_API_KEY"], model)


def llm(arguments: Sequence[str]) -> None:
    told = (Path(os.environ["LLM_USER_PATH"]) / "extra-openai-models.yaml").read_text()
    fields = dict(re.findall(r"^[- ] (\w+): (.+)$", told, re.MULTILINE))
    assert option(arguments, "-m") == fields["model_id"]
    ask(fields["api_base"], option(arguments, "--key"), fields["model_name"])


def open_webui(arguments: Sequence[str]) -> None:
    assert list(arguments) == ["serve"]
    base, key = os.environ["OPENAI_API_BASE_URL"], os.environ["OPENAI_API_KEY"]
    listed = json.loads(send(base, Call("GET", "/models", {"authorization": f"Bearer {key}"})))["data"]
    assert os.environ["DEFAULT_MODELS"] in [model["id"] for model in listed]
    ask(base, key, os.environ["DEFAULT_MODELS"])


def curl(arguments: Sequence[str]) -> None:
    fields = (arguments[place + 1] for place, word in enumerate(arguments) if word == "-H")
    headers = dict(field.split(": ", 1) for field in fields)
    print(send(arguments[0], Call("POST", "", headers, option(arguments, "-d").encode())))


def use_aider(program: str, arguments: Sequence[str]) -> None:
    """One question, and none of its own to whoever sits there."""
    asked = ("--message", "Say hello", "--yes-always", "--no-check-update", "--analytics-disable", "--no-git")
    subprocess.run([program, *arguments, *asked], check=True, stdin=subprocess.DEVNULL)


def use_open_webui(program: str, arguments: Sequence[str]) -> None:
    """Whoever signs up first chooses the model and says hello, as its pages would send it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = {**os.environ, "DATA_DIR": str(Path.cwd() / "webui"), "HF_HUB_OFFLINE": "1"}
    served = [program, *arguments, "--host", "127.0.0.1", "--port", str(port)]
    base = f"http://127.0.0.1:{port}"
    with subprocess.Popen(served, env=environ, stdout=sys.stderr) as server:
        try:
            while not _is_served(f"{base}/health"):
                assert server.poll() is None, "it ended"
                time.sleep(0.5)
            person = {"name": "Staff", "email": "staff@example.com", "password": "a-Password-of-1"}
            key = json.loads(send(base, _posted("/api/v1/auths/signup", "", person)))["token"]
            listed = json.loads(send(base, Call("GET", "/api/models", {"authorization": f"Bearer {key}"})))["data"]
            model = os.environ["DEFAULT_MODELS"]
            assert model in [one["id"] for one in listed]
            asked = {"model": model, "messages": QUESTION}
            answer = json.loads(send(base, _posted("/api/chat/completions", key, asked)))
            print(answer["choices"][0]["message"]["content"])
        finally:
            server.terminate()


def _is_served(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _posted(path: str, key: str, document: Any) -> Call:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return Call("POST", path, headers, json.dumps(document).encode())


PROGRAMS = {
    "claude": claude,
    "gemini": gemini,
    "opencode": open_code,
    "aider": aider,
    "llm": llm,
    "open-webui": open_webui,
    "curl": curl,
}
USED = {"aider": use_aider, "open-webui": use_open_webui}


# What no shell runs: read here as its reader would, and asked for likewise.


def as_codex(text: str, environ: Mapping[str, str]) -> None:
    told = tomllib.loads(text)
    provider = told["model_providers"][told["model_provider"]]
    assert provider["wire_api"] == "responses"
    call = codex(environ[provider["env_key"]], model=told["model"], max_output_tokens=1_000)
    send(provider["base_url"], Call("POST", "/responses", call.headers, call.body))


def as_powershell(text: str, environ: Mapping[str, str]) -> None:
    """One call, as far as its example goes: a backtick ends a line that goes on."""
    line = text.replace("`\n", "").splitlines()[0]
    told = re.fullmatch(
        r"\$answer = Invoke-RestMethod (\S+) -Method Post +-Headers @\{ Authorization = \"(.*?)\" \} "
        r"-ContentType \"(.*?)\" +-Body '(.*)'",
        line,
    )
    assert told is not None, line
    url, bearer, kind, body = told.groups()
    headers = {"authorization": bearer.replace("$env:ROUTER_KEY", environ["ROUTER_KEY"]), "content-type": kind}
    answer = json.loads(send(url, Call("POST", "", headers, body.encode())))
    assert answer["choices"][0]["message"]["content"]


READERS = {"codex": as_codex, "powershell": as_powershell}


def continue_asked(text: str) -> str:
    """What a shell does who puts a configuration of Continue where its first line says, and asks its command line."""
    return (
        f"mkdir ~/.continue\ncat > ~/.continue/config.yaml <<'END'\n{text}\nEND\n"
        "echo \"ROUTER_KEY=$ROUTER_KEY\" > ~/.continue/.env\ncn --print 'Say hello'"
    )
