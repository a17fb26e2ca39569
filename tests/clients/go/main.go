// go-openai as a client of the router; the cases and the output of ../python/frameworks.py.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	openai "github.com/sashabaranov/go-openai"
)

const client = "go-openai"

var messages = []openai.ChatCompletionMessage{{Role: "user", Content: "What is the weather in Paris?"}}

func ask(base, key string, tools []openai.Tool) (openai.ChatCompletionMessage, error) {
	answer, err := connect(base, key).CreateChatCompletion(context.Background(), request(tools))
	if err != nil {
		return openai.ChatCompletionMessage{}, err
	}
	return answer.Choices[0].Message, nil
}

func connect(base, key string) *openai.Client {
	config := openai.DefaultConfig(key)
	config.BaseURL = base + "/v1"
	return openai.NewClientWithConfig(config)
}

func request(tools []openai.Tool) openai.ChatCompletionRequest {
	return openai.ChatCompletionRequest{Model: "gpt-4o-mini", Messages: messages, Tools: tools}
}

func streamed(base, key string) string {
	stream, err := connect(base, key).CreateChatCompletionStream(context.Background(), request(nil))
	must(err)
	defer stream.Close()
	whole := ""
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return whole
		}
		must(err)
		for _, choice := range chunk.Choices {
			whole += choice.Delta.Content
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func tell(found map[string]any) {
	found["client"] = client
	line, err := json.Marshal(found)
	must(err)
	fmt.Println(string(line))
}

func main() {
	var given struct {
		Base string
		Keys map[string]map[string]string
	}
	must(json.Unmarshal([]byte(os.Args[1]), &given))
	keys := given.Keys[client]
	message, err := ask(given.Base, keys["good"], nil)
	must(err)
	tell(map[string]any{"case": "call", "text": message.Content})
	tell(map[string]any{"case": "stream", "text": streamed(given.Base, keys["good"])})
	schema := json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`)
	function := openai.FunctionDefinition{Name: "get_weather", Parameters: schema}
	message, err = ask(given.Base, keys["good"], []openai.Tool{{Type: "function", Function: &function}})
	must(err)
	call := message.ToolCalls[0].Function
	tell(map[string]any{"case": "tool", "name": call.Name, "arguments": json.RawMessage(call.Arguments)})
	for _, refusal := range []string{"wrong", "poor"} {
		_, err = ask(given.Base, keys[refusal], nil)
		var told *openai.APIError
		if !errors.As(err, &told) {
			panic(err)
		}
		tell(map[string]any{"case": refusal, "kind": "APIError", "status": told.HTTPStatusCode, "message": told.Message})
	}
}
