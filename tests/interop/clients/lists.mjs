// Lists everything on a gateway with the official TypeScript clients; prints {kind: [name or URI, …]} as JSON.
//
// Arguments: v1 | v2 | v2-modern, and the URL.
const [line, url] = process.argv.slice(2);
const info = { name: 'field', version: '1' };

async function connected() {
  if (line === 'v1') {
    const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
    const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
    const client = new Client(info);
    await client.connect(new StreamableHTTPClientTransport(new URL(url)));
    return client;
  }
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
  const mode = line === 'v2-modern' ? { pin: '2026-07-28' } : 'legacy';
  const client = new Client(info, { versionNegotiation: { mode } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  return client;
}

const client = await connected();
const methods = {
  tools: 'listTools',
  resources: 'listResources',
  resourceTemplates: 'listResourceTemplates',
  prompts: 'listPrompts',
};
const seen = {};
for (const [kind, method] of Object.entries(methods)) {
  seen[kind] = [];
  let cursor;
  do {
    const page = await client[method](cursor === undefined ? {} : { cursor });
    seen[kind].push(...page[kind].map((item) => item.uri ?? item.uriTemplate ?? item.name));
    cursor = page.nextCursor;
  } while (cursor !== undefined);
}
console.log(JSON.stringify(seen));
await client.close();
