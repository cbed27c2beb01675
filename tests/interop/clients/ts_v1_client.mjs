// The first generation of the TypeScript SDK (`@modelcontextprotocol/sdk`); arguments and output: ts_checks.mjs.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { main } from './ts_checks.mjs';

await main({
  async connect(target, capabilities, handlers) {
    const client = new Client({ name: 'interop-ts-v1', version: '1.0.0' }, { capabilities });
    client.setRequestHandler(CreateMessageRequestSchema, handlers['sampling/createMessage']);
    client.setRequestHandler(ElicitRequestSchema, handlers['elicitation/create']);
    client.setRequestHandler(ListRootsRequestSchema, handlers['roots/list']);
    client.setNotificationHandler(LoggingMessageNotificationSchema, handlers['notifications/message']);
    if (target.startsWith('stdio:')) {
      const [command, ...args] = JSON.parse(target.slice('stdio:'.length));
      await client.connect(new StdioClientTransport({ command, args }));
    } else {
      await client.connect(new StreamableHTTPClientTransport(new URL(target)));
    }
    return client;
  },
  callTool: (client, params, options) => client.callTool(params, undefined, options),
  setLevel: (client) => client.setLoggingLevel('debug'),
});
