// The official SDKs for Node and the AI SDK as clients of the router; the cases and the output of ../python/frameworks.py.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { generateText, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";

const given = JSON.parse(process.argv[2]);
const [OPENAI, ANTHROPIC, GEMINI] = ["gpt-4o-mini", "claude-sonnet-4-6", "gemini-2.5-flash"];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const named = { name: "get_weather", description: "The weather of a city." };
const text = "What is the weather in Paris?";
const messages = [{ role: "user", content: text }];

const tell = (client, found) => console.log(JSON.stringify({ client, ...found }));

async function gathered(stream, pieceOf) {
  let whole = "";
  for await (const piece of stream) whole += pieceOf(piece) ?? "";
  return whole;
}

const openai = (key) => new OpenAI({ baseURL: `${given.base}/v1`, apiKey: key }).chat.completions;
const anthropic = (key) => new Anthropic({ baseURL: given.base, apiKey: key }).messages;
const google = (key) => new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: given.base } }).models;

function aiSdk(modelOf) {
  const tools = { get_weather: tool({ description: named.description, inputSchema: jsonSchema(parameters) }) };
  return {
    call: async (key) => (await generateText({ model: modelOf(key), prompt: text })).text,
    stream: (key) => gathered(streamText({ model: modelOf(key), prompt: text }).textStream, (piece) => piece),
    tool: async (key) => {
      const [call] = (await generateText({ model: modelOf(key), prompt: text, tools })).toolCalls;
      return [call.toolName, call.input];
    },
  };
}

const CLIENTS = {
  "node openai": {
    call: async (key) => (await openai(key).create({ model: OPENAI, messages })).choices[0].message.content,
    stream: async (key) =>
      gathered(await openai(key).create({ model: OPENAI, messages, stream: true }), (chunk) => chunk.choices[0]?.delta.content),
    tool: async (key) => {
      const tools = [{ type: "function", function: { ...named, parameters } }];
      const answer = await openai(key).create({ model: OPENAI, messages, tools });
      const call = answer.choices[0].message.tool_calls[0].function;
      return [call.name, JSON.parse(call.arguments)];
    },
  },
  "node anthropic": {
    call: async (key) => (await anthropic(key).create({ model: ANTHROPIC, max_tokens: 100, messages })).content[0].text,
    stream: async (key) =>
      gathered(anthropic(key).stream({ model: ANTHROPIC, max_tokens: 100, messages }), (event) => event.delta?.text),
    tool: async (key) => {
      const tools = [{ ...named, input_schema: parameters }];
      const [call] = (await anthropic(key).create({ model: ANTHROPIC, max_tokens: 100, messages, tools })).content;
      return [call.name, call.input];
    },
  },
  "node google": {
    call: async (key) => (await google(key).generateContent({ model: GEMINI, contents: text })).text,
    stream: async (key) =>
      gathered(await google(key).generateContentStream({ model: GEMINI, contents: text }), (chunk) => chunk.text),
    tool: async (key) => {
      const tools = [{ functionDeclarations: [{ ...named, parametersJsonSchema: parameters }] }];
      const [call] = (await google(key).generateContent({ model: GEMINI, contents: text, config: { tools } })).functionCalls;
      return [call.name, call.args];
    },
  },
  "ai-sdk openai": aiSdk((key) => createOpenAI({ baseURL: `${given.base}/v1`, apiKey: key })(OPENAI)),
  "ai-sdk anthropic": aiSdk((key) => createAnthropic({ baseURL: `${given.base}/v1`, apiKey: key })(ANTHROPIC)),
  "ai-sdk google": aiSdk((key) => createGoogleGenerativeAI({ baseURL: `${given.base}/v1beta`, apiKey: key })(GEMINI)),
};

for (const [client, cases] of Object.entries(CLIENTS)) {
  const keys = given.keys[client];
  tell(client, { case: "call", text: await cases.call(keys.good) });
  tell(client, { case: "stream", text: await cases.stream(keys.good) });
  const [name, args] = await cases.tool(keys.good);
  tell(client, { case: "tool", name, arguments: args });
  for (const refusal of ["wrong", "poor"]) {
    const error = await cases.call(keys[refusal]).then(() => null, (reason) => reason);
    tell(client, { case: refusal, kind: error?.constructor.name, status: error?.status ?? error?.statusCode, message: String(error?.message) });
  }
}
