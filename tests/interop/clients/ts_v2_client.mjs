// The second generation of the TypeScript SDK (`@modelcontextprotocol/client`) with its default, the
// legacy handshake; arguments and output: ts_checks.mjs.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { main } from './ts_checks.mjs';

await main({
  async connect(target, capabilities, handlers) {
    const client = new Client({ name: 'interop-ts-v2', version: '1.0.0' }, { capabilities });
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
  callTool: (client, params, options) => client.callTool(params, options),
});
