// What the client scripts share, as in cells.py. They run in a folder of their own, beside `node_modules`.
import { readFileSync } from 'node:fs';

export const KEY = 'sk-interop';
export const BASE = process.env.AGENTKIT_INTEROP_URL;
export const ASK = 'How is the weather in Paris?';
export const TRIP = 'Plan a weekend in Rome.';
const REFUSALS = ['wrong-key', 'unknown', 'refused', 'busy', 'down'];

export const keyFor = (model) => (model === 'wrong-key' ? 'sk-wrong' : KEY);
export const weather = ({ city }) => `Light rain in ${city}.`;

function statusOf(error) {
  for (let each = error; each; each = each.cause ?? each.lastError) {
    const status = each.status ?? each.statusCode;
    if (typeof status === 'number') return status;
  }
  return null;
}

export async function run(name, ask, cells) {
  const version = JSON.parse(readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;
  const results = { version, errors: {} };
  for (const [cell, work] of Object.entries(cells)) {
    try {
      results[cell] = await work();
    } catch (error) {
      results[cell] = { failed: `${error?.name}: ${error?.message}`.slice(0, 500) };
    }
  }
  for (const model of REFUSALS) {
    try {
      results.errors[model] = { answer: String(await ask(model)).slice(0, 200) };
    } catch (error) {
      results.errors[model] = { type: error?.name === 'Error' ? error.constructor.name : error?.name, status: statusOf(error) };
    }
  }
  console.log(JSON.stringify(results));
}
