// The official TypeScript client, doing what a scenario of the suite wants of a client.
//
// Usage: everything.mjs URL. MCP_CONFORMANCE_SCENARIO, MCP_CONFORMANCE_PROTOCOL_VERSION and
// MCP_CONFORMANCE_CONTEXT (JSON) come from the suite. CONFORMANCE_GATEWAY is the gateway before the suite's server, if there is one.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { GatewayLogin, OwnLogin } from './login.mjs';

const scenario = process.env.MCP_CONFORMANCE_SCENARIO ?? '';
const version = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION ?? '2025-11-25';
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const modern = version >= '2026';
const gateway = process.env.CONFORMANCE_GATEWAY;
// What happens when a server wants to be authorized.
const login = !scenario.startsWith('auth/') ? undefined : gateway ? new GatewayLogin(gateway, context) : new OwnLogin(context);
let transport;

// What is called with, by the name of the tool; other tools are called without arguments.
const ARGUMENTS = {
  add_numbers: { a: 5, b: 3 },
  valid_tool: { region: 'us-west1' },
};

function createClient() {
  const client = new Client(
    { name: 'conformance-client', version: '1.0.0' },
    {
      capabilities: { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: {} },
      versionNegotiation: { mode: modern ? { pin: version } : 'legacy' },
    },
  );
  client.setRequestHandler('elicitation/create', ({ params }) => {
    const confirmed = params.requestedSchema?.properties?.confirmed !== undefined;
    return { action: 'accept', content: confirmed ? { confirmed: true } : {} };
  });
  client.setRequestHandler('sampling/createMessage', () => ({
    role: 'assistant',
    content: { type: 'text', text: 'an answer' },
    model: 'conformance',
  }));
  client.setRequestHandler('roots/list', () => ({ roots: [] }));
  return client;
}

// Tries again after each login that may help.
async function letIn(attempt) {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(await login?.after(error, transport))) throw error;
    }
  }
}

// A client that was told to speak one version tells its caller when a server refuses it once.
async function connected(url) {
  return letIn(async () => {
    const client = createClient();
    transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: login?.authProvider });
    await client.connect(transport);
    return client;
  });
}

// Tools are called one by one: a scenario may look at their order.
async function callAll(client, tools) {
  const given = context.toolCalls ?? tools.map(({ name }) => ({ name, arguments: ARGUMENTS[name] ?? {} }));
  for (const call of given) {
    await letIn(() => client.callTool(call)).catch((error) => console.error(`${call.name}: ${error.message}`));
  }
  const focal = tools.find(({ name }) => name === 'json_schema_2020_12_tool');
  if (focal) await client.callTool({ name: 'json_schema_echo', arguments: { schema: focal.inputSchema } });
}

async function main(url) {
  await login?.before();
  const client = await connected(url);
  const { tools } = await letIn(() => client.listTools());
  if (scenario !== 'initialize') await callAll(client, tools);
  const offered = client.getServerCapabilities() ?? {};
  if (offered.resources) {
    const { resources } = await client.listResources();
    for (const { uri } of resources) await client.readResource({ uri });
  }
  if (offered.prompts) {
    const { prompts } = await client.listPrompts();
    for (const { name } of prompts) await client.getPrompt({ name });
  }
  await client.close();
}

main(process.argv[2]).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
