// The first generation of the TypeScript SDK (`@modelcontextprotocol/sdk`) over HTTP+SSE of 2024-11-05; arguments and output: ts_checks.mjs.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
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
    await client.connect(new SSEClientTransport(new URL(target)));
    return client;
  },
  callTool: (client, params, options) => client.callTool(params, undefined, options),
  setLevel: (client) => client.setLoggingLevel('debug'),
});
