"""The texts of the examples, one function a client: what somebody copies into a shell, a script or a configuration.

All of them take the key from the variable ROUTER_KEY, so that none holds a secret. What a shell can run stands as a
shell would run it. `base` is the proxy's address without a path, `model` one that the key may use; neither has a
character that a shell or a script would act on.
"""

_MESSAGES = '[{"role": "user", "content": "Say hello"}]'


def curl(base: str, model: str) -> str:
    return f"""curl {base}/v1/chat/completions \\
  -H "Authorization: Bearer $ROUTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": {_MESSAGES}}}'"""


def curl_embeddings(base: str, model: str) -> str:
    return f"""curl {base}/v1/embeddings \\
  -H "Authorization: Bearer $ROUTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "input": "Say hello"}}'"""


def powershell(base: str, model: str) -> str:
    return f"""$answer = Invoke-RestMethod {base}/v1/chat/completions -Method Post `
  -Headers @{{ Authorization = "Bearer $env:ROUTER_KEY" }} -ContentType "application/json" `
  -Body '{{"model": "{model}", "messages": {_MESSAGES}}}'
$answer.choices[0].message.content"""


def openai(base: str, model: str) -> str:
    return f"""export OPENAI_BASE_URL={base}/v1
export OPENAI_API_KEY=$ROUTER_KEY

# pip install openai
python3 - <<'END'
from openai import OpenAI
answer = OpenAI().chat.completions.create(model="{model}", messages={_MESSAGES})
print(answer.choices[0].message.content)
END"""


def anthropic(base: str, model: str) -> str:
    return f"""# The base address ends without /v1: the SDK adds it.
export ANTHROPIC_BASE_URL={base}
export ANTHROPIC_API_KEY=$ROUTER_KEY

# pip install anthropic
python3 - <<'END'
from anthropic import Anthropic
answer = Anthropic().messages.create(model="{model}", max_tokens=100, messages={_MESSAGES})
print(answer.content[0].text)
END"""


def gemini(base: str, model: str) -> str:
    return f"""# pip install google-genai
python3 - <<'END'
import os
from google import genai
client = genai.Client(api_key=os.environ["ROUTER_KEY"], http_options={{"base_url": "{base}/gemini"}})
print(client.models.generate_content(model="{model}", contents="Say hello").text)
END"""


def node(base: str, model: str) -> str:
    return f"""export OPENAI_BASE_URL={base}/v1
export OPENAI_API_KEY=$ROUTER_KEY

# npm install openai
node --input-type=module <<'END'
import OpenAI from "openai";
const answer = await new OpenAI().chat.completions.create({{ model: "{model}", messages: {_MESSAGES} }});
console.log(answer.choices[0].message.content);
END"""


def ai_sdk(base: str, model: str) -> str:
    return f"""# npm install ai @ai-sdk/openai
node --input-type=module <<'END'
import {{ createOpenAI }} from "@ai-sdk/openai";
import {{ generateText }} from "ai";
const router = createOpenAI({{ baseURL: "{base}/v1", apiKey: process.env.ROUTER_KEY }});
const {{ text }} = await generateText({{ model: router.chat("{model}"), prompt: "Say hello" }});
console.log(text);
END"""


def langchain(base: str, model: str) -> str:
    return f"""# pip install langchain-openai
python3 - <<'END'
import os
from langchain_openai import ChatOpenAI
model = ChatOpenAI(model="{model}", base_url="{base}/v1", api_key=os.environ["ROUTER_KEY"])
print(model.invoke("Say hello").content)
END"""


def litellm(base: str, model: str) -> str:
    """Whosever the model is: `openai/` tells litellm which API is spoken at the address."""
    return f"""# pip install litellm
python3 - <<'END'
import os
import litellm
answer = litellm.completion(
    model="openai/{model}", api_base="{base}/v1", api_key=os.environ["ROUTER_KEY"], messages={_MESSAGES}
)
print(answer.choices[0].message.content)
END"""


def llm(base: str, model: str) -> str:
    return f"""# pip install llm
export LLM_USER_PATH="${{LLM_USER_PATH:-$HOME/.config/io.datasette.llm}}"
mkdir -p "$LLM_USER_PATH"
cat >> "$LLM_USER_PATH/extra-openai-models.yaml" <<'END'
- model_id: router
  model_name: {model}
  api_base: {base}/v1
  api_key_name: router
END
llm -m router --key "$ROUTER_KEY" "Say hello\""""


def claude_code(base: str, model: str = "", small: str = "") -> str:
    """Without a model it chooses by itself, which suits a key that may use all of them."""
    models = f"export ANTHROPIC_MODEL={model}\nexport ANTHROPIC_DEFAULT_HAIKU_MODEL={small}\n" if model else ""
    return f"""# A key of Anthropic's own that is still set would be sent beside this one.
unset ANTHROPIC_API_KEY
export ANTHROPIC_BASE_URL={base}
export ANTHROPIC_AUTH_TOKEN=$ROUTER_KEY
{models}claude"""


def codex(base: str, model: str) -> str:
    return f"""# in ~/.codex/config.toml, above the first [table]
model = "{model}"
model_provider = "router"

# at its end
[model_providers.router]
name = "Enterprise Router"
base_url = "{base}/v1"
env_key = "ROUTER_KEY"
wire_api = "responses\""""


def gemini_cli(base: str, model: str) -> str:
    """At another address than Google's it takes a key only if its settings say so (`getAuthTypeFromEnv`, 0.61)."""
    return f"""# A key of Google's own that is still set would be sent in the place of this one.
unset GOOGLE_API_KEY GOOGLE_GENAI_USE_VERTEXAI
export GOOGLE_GEMINI_BASE_URL={base}
export GEMINI_API_KEY=$ROUTER_KEY

# If there are settings already, add this to them.
mkdir -p ~/.gemini
[ -e ~/.gemini/settings.json ] || cat > ~/.gemini/settings.json <<'END'
{{"security": {{"auth": {{"selectedType": "gemini-api-key"}}}}}}
END
gemini --model {model}"""


def opencode(base: str, model: str) -> str:
    return f"""cat > opencode.json <<'END'
{{
  "$schema": "https://opencode.ai/config.json",
  "provider": {{
    "router": {{
      "npm": "@ai-sdk/openai-compatible",
      "name": "Enterprise Router",
      "options": {{ "baseURL": "{base}/v1", "apiKey": "{{env:ROUTER_KEY}}" }},
      "models": {{ "{model}": {{}} }}
    }}
  }},
  "model": "router/{model}",
  "small_model": "router/{model}"
}}
END
opencode"""


def aider(base: str, model: str) -> str:
    return f"""export OPENAI_API_BASE={base}/v1
export OPENAI_API_KEY=$ROUTER_KEY
aider --model openai/{model} --weak-model openai/{model}"""


def continue_dev(base: str, model: str) -> str:
    return f"""# in ~/.continue/config.yaml; the key stands in ~/.continue/.env as ROUTER_KEY=...
name: Enterprise Router
version: 1.0.0
schema: v1
models:
  - name: {model}
    provider: openai
    model: {model}
    apiBase: {base}/v1
    apiKey: ${{{{ secrets.ROUTER_KEY }}}}
    roles: [chat, edit, apply]"""


def open_webui(base: str, model: str) -> str:
    return f"""# It lists the models that the key may use. In a container, set the same variables there.
export OPENAI_API_BASE_URL={base}/v1
export OPENAI_API_KEY=$ROUTER_KEY
export DEFAULT_MODELS={model}
open-webui serve"""
