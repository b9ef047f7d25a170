// The official client for node.
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { ASK, BASE, KEY, TRIP, keyFor, run, weather } from './cells.mjs';

const client = new OpenAI({ baseURL: BASE, apiKey: KEY });
const Trip = z.object({ city: z.string(), days: z.number().int() });
const question = (content, model = 'agent') => ({ model, messages: [{ role: 'user', content }] });
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };

async function structured(model = 'agent') {
  const asked = { ...question(TRIP, model), response_format: zodResponseFormat(Trip, 'trip') };
  return (await client.chat.completions.parse(asked)).choices[0].message.parsed;
}

await run('openai', (model) => new OpenAI({ baseURL: BASE, apiKey: keyFor(model) }).chat.completions.create(question(ASK, model)), {
  text: async () => (await client.chat.completions.create(question(ASK))).choices[0].message.content,
  stream: async () => {
    const pieces = [];
    for await (const chunk of await client.chat.completions.create({ ...question(ASK), stream: true })) {
      pieces.push(chunk.choices[0].delta.content ?? '');
    }
    return pieces;
  },
  tools: async () => {
    const weatherTool = { type: 'function', function: { name: 'weather', function: weather, parse: JSON.parse, parameters } };
    const asked = { ...question(ASK), tools: [weatherTool] };
    const streamed = await client.chat.completions.runTools({ ...asked, stream: true }).finalContent();
    const text = await client.chat.completions.runTools(asked).finalContent();
    return text === streamed ? text : { text, streamed };
  },
  structured,
  typed: () => structured('typed'),
});
