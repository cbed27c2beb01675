// What both TypeScript clients do against one server: prints {feature: "ok" | "absent" | "FAIL: why"}.
//
// Arguments: [flags] TARGET PREFIX PROFILE.json. TARGET is an URL, or `stdio:` and a JSON array with a command.
// PREFIX stands before tool and prompt names. PROFILE names what the server offers; what it does not
// name is reported as absent. The two SDKs differ in a few signatures, which `sdk` evens out:
// `connect(target, capabilities, handlers by method)`, `callTool(client, params, options)` and `setLevel(client)`.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import assert from 'node:assert/strict';

const FEATURE_MS = 15_000;
const ANSWER = 'forty-two, says the typescript client';

async function every(list, member) {
  const items = [];
  let cursor;
  do {
    const page = await list(cursor === undefined ? {} : { cursor });
    items.push(...page[member]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return items;
}

export async function main(sdk) {
  const [target, prefix, path] = process.argv.slice(-3);
  const profile = JSON.parse(readFileSync(path, 'utf8'));
  const asked = [];
  const logs = [];
  const client = await sdk.connect(target, {
    sampling: {},
    elicitation: { form: {} },
    roots: { listChanged: true },
  }, {
    'sampling/createMessage': ({ params }) => {
      asked.push([params.messages[0].content].flat()[0].text);
      return { role: 'assistant', model: 'interop', content: { type: 'text', text: ANSWER } };
    },
    'elicitation/create': ({ params }) => {
      asked.push(params.message);
      return { action: 'accept', content: { name: ANSWER } };
    },
    'roots/list': () => ({ roots: [{ uri: `file://${profile.root}`, name: 'interop' }] }),
    'notifications/message': ({ params }) => logs.push(JSON.stringify(params.data)),
  });

  const call = async (spec, options) => {
    const result = await sdk.callTool(client, { name: prefix + spec.tool, arguments: spec.arguments }, options);
    const text = result.content.filter((block) => block.type === 'text').map((block) => block.text).join('\n');
    assert(!result.isError, `${spec.tool} answered an error: ${text}`);
    return text;
  };
  const includes = (whole, part) => assert(whole.includes(part), `${JSON.stringify(part)} is not in ${JSON.stringify(whole)}`);
  const named = (items) => {
    const names = items.map((item) => item.name);
    assert.equal(new Set(names).size, names.length, 'a name is listed twice');
    assert(names.every((name) => name.includes('__') === (prefix !== '')), `prefixes are wrong: ${names}`);
    return names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  };
  const until = async (condition, signal) => {
    while (!(await condition())) await sleep(50, undefined, { signal });
  };
  const callChecked = async (spec) => includes(await call(spec), spec.text);
  const read = async (spec) => {
    const { contents } = await client.readResource({ uri: spec.uri });
    assert.equal(contents[0].uri, spec.uri);
    includes(contents[0].text, spec.text);
  };
  const complete = async (ref, spec) => {
    const { completion } = await client.complete({ ref, argument: { name: spec.argument, value: spec.value } });
    assert.deepEqual(completion.values, spec.values);
  };
  const ask = async (spec) => {
    asked.length = 0;
    includes(await call(spec), ANSWER);
    assert.equal(asked.length, 1);
    includes(asked[0], spec.asked);
  };

  const features = {
    'tools/list': ['tools', async (wanted) => {
      const names = named(await every((page) => client.listTools(page), 'tools'));
      for (const name of wanted) includes(names, name);
    }],
    'tools/call': ['call', callChecked],
    'resources/list': ['resource', async (spec) => {
      includes((await every((page) => client.listResources(page), 'resources')).map((item) => item.uri), spec.uri);
    }],
    'resources/read': ['resource', read],
    templates: ['template', async (spec) => {
      const listed = await every((page) => client.listResourceTemplates(page), 'resourceTemplates');
      includes(listed.map((item) => item.uriTemplate), spec.uriTemplate);
      await read(spec);
    }],
    'prompts/list': ['prompt', async (spec) => {
      includes(named(await every((page) => client.listPrompts(page), 'prompts')), spec.name);
    }],
    'prompts/get': ['prompt', async (spec) => {
      const { messages } = await client.getPrompt({ name: prefix + spec.name, arguments: spec.arguments });
      assert.equal(messages[0].content.text, spec.text);
    }],
    'complete prompt': ['complete_prompt', (spec) => complete({ type: 'ref/prompt', name: prefix + spec.name }, spec)],
    'complete resource': ['complete_resource', (spec) => complete({ type: 'ref/resource', uri: spec.uri }, spec)],
    progress: ['progress', async (spec) => {
      const seen = [];
      // The SDK itself reports each round of a call that asked something, without a total.
      const note = (progress) => progress.total !== undefined && seen.push(progress);
      includes(await call(spec, { onprogress: note }), spec.text);
      const steps = seen.map(({ progress }) => progress);
      assert(steps.length >= 2 && steps.every((step, i) => i === 0 || step > steps[i - 1]), `progress was ${steps}`);
      assert(seen.every(({ total }) => total === spec.total), 'a total is wrong');
    }],
    logs: ['logs', async (spec, signal) => {
      await sdk.setLevel(client);
      logs.length = 0;
      await call(spec);
      await until(() => logs.some((line) => line.includes(spec.text)), signal);
    }],
    cancel: ['cancel', async (spec, signal) => {
      const abort = new AbortController();
      await assert.rejects(call(spec, { onprogress: () => abort.abort('interop has seen enough'), signal: abort.signal }));
      assert(abort.signal.aborted, 'the call failed before it was cancelled');
      await callChecked(profile.call);
      if (spec.proof) await until(async () => (await call(spec.proof)).includes(spec.proof.text), signal);
    }],
    sampling: ['sampling', ask],
    elicitation: ['elicitation', ask],
    // A server asks for roots some time after the handshake.
    roots: ['roots', (spec, signal) => until(async () => (await call(spec)).includes(spec.text), signal)],
  };

  const outcome = {};
  for (const [feature, [key, check]] of Object.entries(features)) {
    if (!(key in profile)) {
      outcome[feature] = 'absent';
      continue;
    }
    const timeout = AbortSignal.timeout(FEATURE_MS);
    const late = new Promise((_, reject) => {
      timeout.addEventListener('abort', () => reject(new Error(`nothing after ${FEATURE_MS / 1000} s`)));
    });
    outcome[feature] = await Promise.race([check(profile[key], timeout), late]).then(
      () => 'ok',
      (error) => `FAIL: ${error.name}: ${error.message}`.slice(0, 400),
    );
  }
  console.log(JSON.stringify(outcome));
  await client.close();
  process.exit(0);
}
