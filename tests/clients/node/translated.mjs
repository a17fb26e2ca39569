// The official SDKs for Node and models of other providers, through the router: a picture, a thought, a tool call and its
// result, whole and in a stream. Run by tests/e2e/test_translated_elsewhere.py; each case prints a line of JSON.
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";

const given = JSON.parse(process.argv[2]);
const MODELS = { claude: "claude-sonnet-4-6", gemini: "gemini-2.5-flash", gpt: "gpt-4o-mini" };
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const url = `data:image/png;base64,${given.png}`;
const openai = new OpenAI({ baseURL: `${given.base}/v1`, apiKey: given.key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: given.base, apiKey: given.key, maxRetries: 0 });
const google = new GoogleGenAI({ apiKey: given.key, apiVersion: "v1beta", httpOptions: { baseUrl: given.base } });

const chat = (model) => async (asked, streamed) => {
  const tools = [{ type: "function", function: { name: "weather", parameters } }];
  const more = { model: MODELS[model], tools, ...(model === "claude" && { reasoning_effort: "low" }) };
  const answerTo = async (messages) => {
    if (!streamed) return (await openai.chat.completions.create({ messages, ...more })).choices[0].message;
    const stream = openai.chat.completions.stream({ messages, ...more });
    // Of fields that it does not know, this SDK keeps the last piece alone; whoever wants thoughts gathers them.
    let thought = "";
    for await (const chunk of stream) thought += chunk.choices[0]?.delta.reasoning_content ?? "";
    return { ...(await stream.finalChatCompletion()).choices[0].message, reasoning_content: thought || undefined };
  };
  const content = [{ type: "image_url", image_url: { url } }, { type: "text", text: asked }];
  const said = [{ role: "user", content }];
  const answer = await answerTo(said);
  const [call] = answer.tool_calls;
  const last = await answerTo([...said, answer, { role: "tool", tool_call_id: call.id, content: "rain" }]);
  const calls = answer.tool_calls.map((one) => ({ name: one.function.name, arguments: JSON.parse(one.function.arguments) }));
  return { text: answer.content, calls, thought: answer.reasoning_content ?? "", last: last.content };
};

const responses = (model) => async (asked, streamed) => {
  const tools = [{ type: "function", name: "weather", parameters, strict: false }];
  const more = { model: MODELS[model], tools, store: false, reasoning: { effort: "low" } };
  const answerTo = async (input) =>
    streamed ? openai.responses.stream({ input, ...more }).finalResponse() : openai.responses.create({ input, ...more });
  const said = [{ role: "user", content: [{ type: "input_image", image_url: url, detail: "auto" }, { type: "input_text", text: asked }] }];
  const answer = await answerTo(said);
  const found = answer.output.filter((item) => item.type === "function_call");
  const results = found.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: "rain" }));
  const last = await answerTo([...said, ...answer.output, ...results]);
  const calls = found.map((call) => ({ name: call.name, arguments: JSON.parse(call.arguments) }));
  const thought = answer.output.flatMap((item) => item.summary ?? []).map((part) => part.text).join("");
  return { text: answer.output_text, calls, thought, last: last.output_text };
};

const messages = (model) => async (asked, streamed) => {
  const more = { model: MODELS[model], max_tokens: 4000, tools: [{ name: "weather", input_schema: parameters }] };
  const answerTo = async (said) =>
    streamed ? anthropic.messages.stream({ messages: said, ...more }).finalMessage() : anthropic.messages.create({ messages: said, ...more });
  const textOf = (answer) => answer.content.filter((block) => block.type === "text").map((block) => block.text).join("");
  const source = { type: "base64", media_type: "image/png", data: given.png };
  const said = [{ role: "user", content: [{ type: "image", source }, { type: "text", text: asked }] }];
  const answer = await answerTo(said);
  const uses = answer.content.filter((block) => block.type === "tool_use");
  const results = uses.map((use) => ({ type: "tool_result", tool_use_id: use.id, content: "rain" }));
  const last = await answerTo([...said, { role: "assistant", content: answer.content }, { role: "user", content: results }]);
  const calls = uses.map((use) => ({ name: use.name, arguments: use.input }));
  const thought = answer.content.map((block) => block.thinking ?? "").join("");
  return { text: textOf(answer), calls, thought, last: textOf(last) };
};

const generate = (model) => async (asked, streamed) => {
  const config = { tools: [{ functionDeclarations: [{ name: "weather", parametersJsonSchema: parameters }] }], thinkingConfig: { includeThoughts: true } };
  const partsOf = (answer) => answer.candidates?.[0].content?.parts ?? [];
  const answerTo = async (contents) => {
    const request = { model: MODELS[model], contents, config };
    if (!streamed) return partsOf(await google.models.generateContent(request));
    const parts = [];
    for await (const chunk of await google.models.generateContentStream(request)) parts.push(...partsOf(chunk));
    return parts;
  };
  const textOf = (parts, thought) => parts.filter((part) => Boolean(part.thought) === thought).map((part) => part.text ?? "").join("");
  const said = [{ role: "user", parts: [{ inlineData: { mimeType: "image/png", data: given.png } }, { text: asked }] }];
  const parts = await answerTo(said);
  const found = parts.filter((part) => part.functionCall).map((part) => part.functionCall);
  const results = found.map((call) => ({ functionResponse: { name: call.name, response: { output: "rain" } } }));
  const last = await answerTo([...said, { role: "model", parts }, { role: "user", parts: results }]);
  const calls = found.map((call) => ({ name: call.name, arguments: call.args }));
  return { text: textOf(parts, false), calls, thought: textOf(parts, true), last: textOf(last, false) };
};

const CASES = {
  "openai chat claude": chat("claude"),
  "openai chat gemini": chat("gemini"),
  "openai responses claude": responses("claude"),
  "openai responses gemini": responses("gemini"),
  "anthropic gpt": messages("gpt"),
  "anthropic gemini": messages("gemini"),
  "google gemini": generate("gemini"),
  "google claude": generate("claude"),
  "google gpt": generate("gpt"),
};

for (const [client, run] of Object.entries(CASES)) {
  for (const streamed of [false, true]) {
    console.log(JSON.stringify({ client, streamed, ...(await run(given.asked[client], streamed)) }));
  }
}
