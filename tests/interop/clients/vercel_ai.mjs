// Vercel's AI SDK.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { Output, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { ASK, BASE, TRIP, keyFor, run, weather } from './cells.mjs';

const model = (name = 'agent') =>
  createOpenAICompatible({ name: 'interop', baseURL: BASE, apiKey: keyFor(name), supportsStructuredOutputs: true })(name);
const Trip = z.object({ city: z.string(), days: z.number().int() });

async function structured(name = 'agent') {
  return (await generateText({ model: model(name), prompt: TRIP, output: Output.object({ schema: Trip }) })).output;
}

await run('ai', (name) => generateText({ model: model(name), prompt: ASK }), {
  text: async () => (await generateText({ model: model(), prompt: ASK })).text,
  stream: async () => {
    const pieces = [];
    for await (const piece of streamText({ model: model(), prompt: ASK }).textStream) pieces.push(piece);
    return pieces;
  },
  tools: async () => {
    const tools = { weather: tool({ description: 'Look up the weather.', inputSchema: z.object({ city: z.string() }), execute: weather }) };
    const asked = { model: model(), prompt: ASK, tools, stopWhen: stepCountIs(5) };
    const streamed = await streamText(asked).text;
    const { text } = await generateText(asked);
    return text === streamed ? text : { text, streamed };
  },
  structured,
  typed: () => structured('typed'),
});
