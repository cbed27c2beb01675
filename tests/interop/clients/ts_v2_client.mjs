// The second generation of the TypeScript SDK (`@modelcontextprotocol/client`); arguments and output: ts_checks.mjs.
// Its default is the legacy handshake; --auto asks first which era the server speaks, --modern speaks 2026-07-28 only.
import { Client, LOG_LEVEL_META_KEY, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { main } from './ts_checks.mjs';

const flags = process.argv.slice(2, -3);
const mode = flags.includes('--modern') ? { pin: '2026-07-28' } : flags.includes('--auto') ? 'auto' : 'legacy';
// In the modern era each request says which log messages it wants; there is no level to set.
const wanted = (client) => (client.getProtocolEra() === 'modern' ? { _meta: { [LOG_LEVEL_META_KEY]: 'debug' } } : {});

await main({
  async connect(target, capabilities, handlers) {
    const client = new Client({ name: 'interop-ts-v2', version: '1.0.0' }, { capabilities, versionNegotiation: { mode } });
    for (const [method, handler] of Object.entries(handlers)) {
      if (method.startsWith('notifications/')) client.setNotificationHandler(method, handler);
      else client.setRequestHandler(method, handler);
    }
    if (target.startsWith('stdio:')) {
      const [command, ...args] = JSON.parse(target.slice('stdio:'.length));
      await client.connect(new StdioClientTransport({ command, args }));
    } else {
      await client.connect(new StreamableHTTPClientTransport(new URL(target)));
    }
    return client;
  },
  callTool: (client, params, options) => client.callTool({ ...params, ...wanted(client) }, options),
  setLevel: async (client) => {
    if (client.getProtocolEra() !== 'modern') await client.setLoggingLevel('debug');
  },
});
